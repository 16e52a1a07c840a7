"""Intervals by resampling groups (patients): metrics from sums over rows, added up again for each resample."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from heads.evaluation.report import Metric

LEVEL = (2.5, 97.5)  # percentiles: the ends of a 95 % interval
_DRAWS = 4_000_000  # groups drawn at a time, resamples × groups: 32 MB an array
_DENSE_CELLS = 4_000_000  # groups × cells up to which sums are kept dense (32 MB): BLAS is ten times the sparse product
_SUM_CELLS = 4_000_000  # resamples × cells worked on at a time: 32 MB an array


class GroupSums:
    """Sums over the rows of each group, cell by cell.

    Args:
        group: (n,) index of each row's group.
        cell: (n,) index of the cell that the row is added to.
        weight: (n,) what is added; 1 when None.
        groups: How many groups there are.
        cells: How many cells.
    """

    def __init__(
        self,
        group: NDArray[Any],
        cell: NDArray[Any],
        weight: NDArray[Any] | None = None,
        *,
        groups: int,
        cells: int,
    ):
        self.cells = cells
        if groups * cells <= _DENSE_CELLS:
            flat = np.bincount(group * cells + cell, weight, groups * cells)
            self._sums: Any = flat.astype(np.float64).reshape(groups, cells)
        else:
            values = np.ones(len(group)) if weight is None else weight.astype(np.float64)
            self._sums = sparse.coo_array((values, (group, cell)), shape=(groups, cells)).tocsr()

    def total(self) -> NDArray[np.float64]:
        """(cells,) over all rows."""
        return np.asarray(self._sums.sum(axis=0)).reshape(self.cells)

    def resampled(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """(resamples, cells), given how often each group was drawn, (resamples, groups)."""
        return counts @ self._sums


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistic:
    """Metrics that follow from sums over rows.

    Attributes:
        sums: What is summed.
        metrics: From an array (…, cells) for each of `sums` to an array (…,) for each metric; NaN where undefined.
        exact: Values over all rows that are known better than from `sums`.
    """

    sums: Sequence[GroupSums]
    metrics: Callable[..., dict[Any, NDArray[np.float64]]]
    exact: Mapping[Any, float] | None = None

    def whole(self) -> dict[Any, float]:
        """Each metric over all rows."""
        if self.exact is not None:
            return dict(self.exact)
        return {key: float(value) for key, value in self.metrics(*(sums.total() for sums in self.sums)).items()}

    def resampled(self, counts: NDArray[np.float64]) -> dict[Any, NDArray[np.float64]]:
        """Each metric for each resample, (resamples,)."""
        step = max(1, _SUM_CELLS // max(sums.cells for sums in self.sums))
        blocks = []
        for start in range(0, len(counts), step):
            block = counts[start : start + step]
            blocks.append(self.metrics(*(sums.resampled(block) for sums in self.sums)))
        return {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}


def resample(groups: int, *, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Draw as many groups as there are, with replacement, `resamples` times.

    Yields:
        (some resamples, groups): how often each group was drawn.
    """
    rng = np.random.default_rng(seed)
    step = max(1, _DRAWS // groups)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = rng.integers(0, groups, (size, groups)) + np.arange(size)[:, None] * groups
        yield np.bincount(drawn.ravel(), minlength=size * groups).reshape(size, groups).astype(np.float64)


def bootstrap(
    statistics: Sequence[Statistic], groups: int, *, resamples: int, seed: int
) -> dict[Any, NDArray[np.float64]]:
    """Every metric of every statistic for each resample of the groups, (resamples,); none where there is one group.

    The same seed gives the same resamples, whatever the statistics.
    """
    if groups < 2 or not resamples:
        return {}
    blocks: list[dict[Any, NDArray[np.float64]]] = []
    for counts in resample(groups, resamples=resamples, seed=seed):
        blocks.append({key: values for statistic in statistics for key, values in statistic.resampled(counts).items()})
    return {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}


def metric_of(value: float, samples: NDArray[np.float64] | None) -> Metric:
    """A metric with its interval, from its values in each resample, (resamples,); undefined where it is not finite."""
    if not np.isfinite(value):
        return Metric(value=None)
    low, high = (None if samples is None else interval(samples)) or (None, None)
    return Metric(value=float(value), low=low, high=high)


def interval(samples: NDArray[np.float64]) -> tuple[float, float] | None:
    """The 2.5th and 97.5th percentile of the defined values, or None where more than half are undefined."""
    defined = samples[np.isfinite(samples)]
    if not len(defined) or 2 * len(defined) < len(samples):
        return None
    low, high = np.percentile(defined, LEVEL)
    return float(low), float(high)
