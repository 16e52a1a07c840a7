"""From what heads said to F1 with intervals, and to what selection and augmentation bring: paired, by patient, seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from paper_grid import Answers

from heads.bootstrap import interval, resample

RESAMPLES = 1000
Key = tuple[str, str, int, str]  # task, extractor, budget, family


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """F1 over all test tiles and seeds, and over each resample of patients and seeds.

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


def f1_of(answers: Sequence[Answers]) -> dict[Key, Drawn]:
    """F1 of each of some answers."""
    found: dict[Key, Drawn] = {}
    for task in dict.fromkeys(one.task for one in answers):
        mine = [one for one in answers if one.task == task]
        groups = int(mine[0].group.max()) + 1
        counts = np.concatenate(list(resample(groups, resamples=RESAMPLES, seed=0)))
        n_seeds = len(mine[0].decided)
        seeds = np.random.default_rng(1).integers(0, n_seeds, (RESAMPLES, n_seeds))
        for one in mine:
            hit, said = one.decided & one.truth, one.decided
            true = np.broadcast_to(one.truth, said.shape)
            sums = np.stack([_by_group(flags, one.group, groups) for flags in (hit, said, true)])
            whole = _f1(*sums.sum(axis=2))
            drawn = _f1(*(counts @ each.T for each in sums))  # (resamples, seeds)
            samples = np.take_along_axis(drawn, seeds, axis=1).mean(axis=1)
            key = (one.task, one.extractor, one.budget, one.family)
            found[key] = Drawn(value=float(whole.mean()), seeds=whole, samples=samples)
    return found


def _by_group(flags: NDArray[np.bool_], group: NDArray[np.intp], groups: int) -> NDArray[np.float64]:
    """(seeds, groups): how many of each group's tiles are so."""
    return np.stack([np.bincount(group, each, groups) for each in flags])


def _f1(hit, said, true) -> NDArray[np.float64]:
    return 2 * hit / np.maximum(said + true, 1)


def difference(one: Drawn, other: Drawn) -> dict[str, Any]:
    """One less the other, in points and per cent of the other, with the 95 % interval in points."""
    low, high = interval(one.samples - other.samples) or (np.nan, np.nan)
    points = 100 * (one.value - other.value)
    return {
        "points": round(points, 1),
        "low": round(100 * low, 1),
        "high": round(100 * high, 1),
        "per_cent": round(points / other.value, 1),
    }


def gains(
    f1: Mapping[Key, Drawn], task: str, budget: int, selected: str, reference: str, family: str
) -> dict[str, Any]:
    """What selection alone, augmentation alone, and both bring over the reference extractor without augmentation."""
    plain = f1[task, reference, budget, "none"]
    return {
        "selection": difference(f1[task, selected, budget, "none"], plain),
        "augmentation": difference(f1[task, reference, budget, family], plain),
        "both": difference(f1[task, selected, budget, family], plain),
    }
