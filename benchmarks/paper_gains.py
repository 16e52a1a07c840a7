"""From what heads said to scores with intervals, and what selection and augmentation bring: paired by patient, seed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from paper_grid import BUDGETS, Answers, Family

from heads.evaluation.bootstrap import interval, resample
from heads.evaluation.ranking import rank_metrics

RESAMPLES = 1000
METRICS = ("f1", "auroc")
Key = tuple[str, str, int, str]  # task, extractor, budget, family


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A score over all test tiles and seeds, and over each resample of patients and seeds.

    Attributes:
        value: Mean over the seeds.
        seeds: (seeds,) of each.
        samples: (resamples,): test patients and seeds drawn anew, the same for all heads of a task.
    """

    value: float
    seeds: NDArray[np.float64]
    samples: NDArray[np.float64]

    @property
    def interval(self) -> tuple[float, float]:
        return interval(self.samples) or (np.nan, np.nan)


Scores = Mapping[Key, Drawn]


def scores_of(answers: Sequence[Answers]) -> dict[str, dict[Key, Drawn]]:
    """F1 and AUROC of each of some answers."""
    found: dict[str, dict[Key, Drawn]] = {metric: {} for metric in METRICS}
    for task in dict.fromkeys(one.task for one in answers):
        mine = [one for one in answers if one.task == task]
        counts = np.concatenate(list(resample(int(mine[0].group.max()) + 1, resamples=RESAMPLES, seed=0)))
        n_seeds = len(mine[0].decided)
        seeds = np.random.default_rng(1).integers(0, n_seeds, (RESAMPLES, n_seeds))
        for one in mine:
            for metric, of in (("f1", _f1), ("auroc", _auroc)):
                whole, drawn = of(one, counts)
                samples = np.take_along_axis(drawn, seeds, axis=1).mean(axis=1)
                key = (one.task, one.extractor, one.budget, one.family)
                found[metric][key] = Drawn(value=float(whole.mean()), seeds=whole, samples=samples)
    return found


def budgets_of(scores: Scores, task: str) -> list[int]:
    """Budgets that a task's classes can fill, in their order; 0 is all."""
    found = {budget for of, _, budget, _ in scores if of == task}
    return [budget for budget in BUDGETS if budget in found]


def _f1(one: Answers, counts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(seeds,) over all rows and (resamples, seeds)."""

    def f1(hit, said, true):
        return 2 * hit / np.maximum(said + true, 1)

    true = np.broadcast_to(one.truth, one.decided.shape)
    groups = counts.shape[1]
    sums = [
        np.stack([np.bincount(one.group, each, groups) for each in flags])
        for flags in (one.decided & one.truth, one.decided, true)
    ]
    return f1(*(each.sum(axis=1) for each in sums)), f1(*(counts @ each.T for each in sums))


def _auroc(one: Answers, counts: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(seeds,) over all rows and (resamples, seeds)."""
    both = weighted_auroc(one.score, one.truth, one.group, counts)
    return both[0], both[1:]


def weighted_auroc(
    scores: NDArray[Any], truth: NDArray[np.bool_], group: NDArray[np.intp], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(1 + resamples, seeds) AUROC of scores (seeds, n): over all rows, and with groups as often as they were drawn."""
    drawn = []
    for score in scores:
        order = np.argsort(-score, kind="stable")
        starts = np.flatnonzero(np.diff(score[order], prepend=np.inf))  # rows of one score are one grade
        weight, true = np.vstack([np.ones(len(score)), counts[:, group[order]]]), truth[order]
        sides = (np.add.reduceat(weight * side, starts, axis=1) for side in (true, ~true))
        drawn.append(rank_metrics(*sides)[0])
    return np.stack(drawn, axis=1)


def difference(one: Sequence[Drawn], other: Sequence[Drawn]) -> dict[str, Any]:
    """The mean of some less that of others, in points and per cent of the others, with the 95 % interval in points."""
    values, samples = (
        [np.mean([getattr(each, name) for each in side], axis=0) for side in (one, other)]
        for name in ("value", "samples")
    )
    low, high = interval(samples[0] - samples[1]) or (np.nan, np.nan)
    points = 100 * (values[0] - values[1])
    return {
        "points": round(float(points), 1),
        "low": round(100 * low, 1),
        "high": round(100 * high, 1),
        "per_cent": round(float(points / values[1]), 1),
    }


def gains(scores: Scores, task: str, budget: int, selected: str, reference: str, family: str) -> dict[str, Any]:
    """What selection alone, augmentation alone, and both bring over the reference extractor without augmentation."""
    plain = [scores[task, reference, budget, "none"]]
    return {
        "selection": difference([scores[task, selected, budget, "none"]], plain),
        "augmentation": difference([scores[task, reference, budget, family]], plain),
        "both": difference([scores[task, selected, budget, family]], plain),
    }


def family_gains(
    scores: Scores, task: str, names: Sequence[str], families: Mapping[str, Family]
) -> Iterator[dict[str, Any]]:
    """What a family brings over its base: the mean of some extractors, and of how many it raised the score."""
    for budget in budgets_of(scores, task):
        for family, how in families.items():
            if family.startswith("none"):
                continue
            one, other = ([scores[task, name, budget, of] for name in names] for of in (family, how.base))
            better = sum(a.value > b.value for a, b in zip(one, other, strict=True))
            yield {
                "target": task, "budget": budget or "all", "augmentation": family, **difference(one, other),
                "better": better, "extractors": len(names),
            }  # fmt: skip
