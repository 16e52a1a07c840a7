"""Scores of candidates with intervals; differences are paired, by patient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from heads.evaluation.bootstrap import (
    GroupSums,
    Statistic,
    bootstrap,
    count_groups,
    interval,
    leave_groups_out,
    metric_of,
)
from heads.evaluation.metrics import evaluate
from heads.evaluation.report import Metric
from heads.examples import Examples
from heads.select.probes import ProbeResult
from heads.select.selection_report import RankAgreement

Key = tuple[str, str]  # candidate, probe


@dataclass(frozen=True, kw_only=True, eq=False)
class CandidateScores:
    """Balanced accuracy of every candidate and probe.

    Attributes:
        values: Over all tested rows.
        samples: For each resample of patients; the same resamples for all.
        without: Without each patient.
        patients: How many patients they rest on: those of the class that fewest have.
    """

    values: Mapping[Key, float]
    samples: Mapping[Key, NDArray[np.float64]]
    without: Mapping[Key, NDArray[np.float64]]
    patients: int

    def metric(self, candidate: str, probe: str) -> Metric:
        key = candidate, probe
        return metric_of(self.values[key], self.samples[key], self.without.get(key), groups=self.patients)

    def difference(self, candidate: str, other: str, probe: str) -> Metric:
        """How much better a candidate is than another, with the interval of the paired difference."""
        one, two = (candidate, probe), (other, probe)
        without = self.without[one] - self.without[two] if self.without else None
        return metric_of(
            self.values[one] - self.values[two],
            self.samples[one] - self.samples[two],
            without,
            groups=self.patients,
            top=None,
        )

    def ranked(self, candidates: Sequence[str], probe: str) -> list[str]:
        """From the best down; tied candidates keep their order."""
        return sorted(candidates, key=lambda name: -self.values[name, probe])

    def first_shares(self, candidates: Sequence[str], probe: str) -> dict[str, float]:
        """Share of the resamples in which each candidate comes first; tied candidates share it equally."""
        scores = np.stack([self.samples[name, probe] for name in candidates])
        scores = scores[:, np.isfinite(scores).all(axis=0)]  # a resample without a class does not tell who is first
        if not scores.shape[1]:
            return {}
        first = scores >= scores.max(axis=0) - 1e-12
        return dict(zip(candidates, (first / first.sum(axis=0)).mean(axis=1).tolist(), strict=True))


def score_candidates(
    probes: Mapping[str, Mapping[str, ProbeResult]], examples: Examples, *, resamples: int, seed: int
) -> CandidateScores:
    """Score every candidate on every probe.

    Balanced accuracy is a mean over rows within each class, so a resample of patients only adds up their sums. It is
    taken over the classes and the patients that are tested.

    Args:
        probes: Results by candidate and probe, all of the same tested rows.
    """
    results = {(candidate, probe): result for candidate, row in probes.items() for probe, result in row.items()}
    truth = next(iter(results.values())).truth
    tested = np.flatnonzero(truth >= 0)
    patients, group = np.unique(examples.group[tested], return_inverse=True)
    classes, cell = np.unique(truth[tested], return_inverse=True)

    def sums(weight: NDArray[np.float64] | None = None) -> GroupSums:
        return GroupSums(group, cell, weight, groups=len(patients), cells=len(classes))

    count = sums()
    statistics = [_balanced_accuracy(key, sums(result.correct[tested]), count) for key, result in results.items()]
    values = {key: value for statistic in statistics for key, value in statistic.whole().items()}
    samples = bootstrap(statistics, len(patients), resamples=resamples, seed=seed)
    return CandidateScores(
        values=values,
        samples={key: samples.get(key, np.empty(0)) for key in values},
        without=leave_groups_out(statistics, len(patients), seed=seed) if resamples else {},
        patients=min(count_groups(group, cell == k) for k in range(len(classes))),
    )


def _balanced_accuracy(key: Key, correct: GroupSums, count: GroupSums) -> Statistic:
    def balanced(correct: NDArray[np.float64], count: NDArray[np.float64]) -> dict[Key, NDArray[np.float64]]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return {key: (correct / count).mean(axis=-1)}  # a resample without a class has no balanced accuracy

    return Statistic(sums=[correct, count], metrics=balanced)


def auroc(result: ProbeResult, examples: Examples, *, resamples: int, seed: int) -> Metric:
    """AUROC of the linear probe; of more than two classes the mean over them."""
    assert result.probability is not None
    rows = np.flatnonzero(result.truth >= 0)
    classes = examples.classes[0]
    probability = result.probability[rows]
    predicted = np.arange(len(classes)) == probability.argmax(axis=1)[:, None]
    report = evaluate(
        probability, examples.targets[0][rows], predicted, examples.group[rows], classes=classes, multi_label=False,
        positive=classes[1] if len(classes) == 2 else None, resamples=resamples, seed=seed,
    )  # fmt: skip
    return report.metrics["auroc"]


def rank_agreement(
    proxy: CandidateScores, other: CandidateScores, candidates: Sequence[str], probe: str
) -> RankAgreement:
    """Kendall's τ-b between the scores of candidates on two tasks, with an interval from resampled patients of both.

    The resamples of the two tasks must be independent: their patients are taken to be different people. With few
    candidates even a τ of 1 says little: among four, one order in 24 is right by chance.
    """
    if len(candidates) < 2:
        return RankAgreement(tau=None)
    test = kendalltau(*([scores.values[name, probe] for name in candidates] for scores in (proxy, other)))
    if not np.isfinite(test.statistic):
        return RankAgreement(tau=None)
    pair = [np.stack([scores.samples[name, probe] for name in candidates], axis=1) for scores in (proxy, other)]
    taus = np.array([kendalltau(a, b).statistic for a, b in zip(*pair, strict=True)])
    low, high = interval(taus) or (None, None)
    return RankAgreement(tau=float(test.statistic), p=float(test.pvalue), low=low, high=high)
