"""Scores of candidates with intervals, and whether one is ahead by more than noise: paired, by patient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from heads.evaluation.bootstrap import GroupSums, Statistic, bootstrap, interval
from heads.evaluation.metrics import evaluate
from heads.evaluation.report import Metric
from heads.examples import Examples
from heads.select.probes import ProbeResult
from heads.select.selection_report import Agreement

Key = tuple[str, str]  # candidate, probe


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """Balanced accuracy of every candidate and probe.

    Attributes:
        values: Over all tested rows.
        samples: For each resample of patients; the same resamples for all.
    """

    values: Mapping[Key, float]
    samples: Mapping[Key, NDArray[np.float64]]

    def metric(self, candidate: str, probe: str) -> Metric:
        return _metric(self.values[candidate, probe], self.samples[candidate, probe])

    def difference(self, one: str, other: str, probe: str) -> Metric:
        """How much better one candidate is than another, with the interval of the paired difference."""
        value = self.values[one, probe] - self.values[other, probe]
        return _metric(value, self.samples[one, probe] - self.samples[other, probe])

    def ranked(self, candidates: Sequence[str], probe: str) -> list[str]:
        """From the best down; ties as they stand."""
        return sorted(candidates, key=lambda name: -self.values[name, probe])

    def first_shares(self, candidates: Sequence[str], probe: str) -> dict[str, float]:
        """Share of the resamples in which each comes first; those that tie share it."""
        drawn = np.stack([self.samples[name, probe] for name in candidates])
        drawn = drawn[:, np.isfinite(drawn).all(axis=0)]  # a resample without a class says nothing of who is first
        if not drawn.shape[1]:
            return {}
        first = drawn >= drawn.max(axis=0) - 1e-12
        return dict(zip(candidates, (first / first.sum(axis=0)).mean(axis=1).tolist(), strict=True))


def compare(
    outcomes: Mapping[str, Mapping[str, ProbeResult]], examples: Examples, *, resamples: int, seed: int
) -> Scores:
    """Score every candidate on every probe.

    Balanced accuracy is a mean over rows within each class, so resampling patients is adding their sums up anew. It is
    over the classes that are tested, and the patients that are.

    Args:
        outcomes: Of each candidate, by probe; all of the same tested rows.
    """
    pairs = {(one, name): outcome for one, probes in outcomes.items() for name, outcome in probes.items()}
    truth = next(iter(pairs.values())).truth
    tested = np.flatnonzero(truth >= 0)
    codes, group = np.unique(examples.group[tested], return_inverse=True)
    classes, cell = np.unique(truth[tested], return_inverse=True)
    count = GroupSums(group, cell, groups=len(codes), cells=len(classes))
    statistics = [
        _statistic(key, GroupSums(group, cell, outcome.correct[tested], groups=len(codes), cells=len(classes)), count)
        for key, outcome in pairs.items()
    ]
    values = {key: value for each in statistics for key, value in each.whole().items()}
    drawn = bootstrap(statistics, len(codes), resamples=resamples if len(codes) > 1 else 0, seed=seed)
    return Scores(values=values, samples={key: drawn.get(key, np.empty(0)) for key in values})


def _statistic(key: Key, right: GroupSums, count: GroupSums) -> Statistic:
    def balanced(right: NDArray[np.float64], count: NDArray[np.float64]) -> dict[Key, NDArray[np.float64]]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return {key: (right / count).mean(axis=-1)}  # a resample without a class has no balanced accuracy

    return Statistic(sums=[right, count], metrics=balanced)


def auroc(outcome: ProbeResult, examples: Examples, *, resamples: int, seed: int) -> Metric:
    """AUROC of the linear probe, of more than two classes the mean over them."""
    assert outcome.probability is not None
    rows = np.flatnonzero(outcome.truth >= 0)
    k = len(examples.classes[0])
    found = outcome.probability[rows]
    report = evaluate(
        found, examples.targets[0][rows], np.arange(k) == found.argmax(axis=1)[:, None],
        examples.group[rows], classes=examples.classes[0], multi_label=False,
        positive=examples.classes[0][1] if k == 2 else None, resamples=resamples, seed=seed,
    )  # fmt: skip
    return report.metrics["auroc"]


def agreement(proxy: Scores, task: Scores, candidates: Sequence[str], probe: str) -> Agreement:
    """Kendall's τ-b between the scores of candidates on two tasks, and how much patients of both move it.

    The scores must be of resamples drawn apart: patients of two tasks are taken to be different people.

    With few candidates even a τ of 1 says little: among four, one order in 24 is right by chance.
    """
    if len(candidates) < 2:
        return Agreement(tau=None)
    found = kendalltau(*([scores.values[name, probe] for name in candidates] for scores in (proxy, task)))
    if not np.isfinite(found.statistic):
        return Agreement(tau=None)
    both = [np.stack([scores.samples[name, probe] for name in candidates], axis=1) for scores in (proxy, task)]
    drawn = np.array([kendalltau(a, b).statistic for a, b in zip(*both, strict=True)])
    low, high = (interval(drawn) if len(drawn) else None) or (None, None)
    return Agreement(tau=float(found.statistic), p=float(found.pvalue), low=low, high=high)


def _metric(value: float, samples: NDArray[np.float64]) -> Metric:
    low, high = (interval(samples) if len(samples) else None) or (None, None)
    return Metric(value=float(value), low=low, high=high)
