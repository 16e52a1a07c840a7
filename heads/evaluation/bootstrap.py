"""Intervals from groups (patients): metrics from sums over rows, added up again for each resample of the groups, and
without each group."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit, logit, stdtrit

from heads.evaluation.report import Metric

LEVEL = (2.5, 97.5)  # percentiles: the ends of a 95 % interval
#: Groups from which on percentiles of resamples are an interval. Of 10 patients they held an AUROC in 57 to 85 of 100
#: simulated cases, of 50 in 66 to 94 (benchmarks/interval_coverage.py).
MANY_GROUPS = 100
LEAST_GROUPS = 3  # of two groups, an interval is nearly all of 0 to 1
_MOST_PARTS = 1000
_MOST_DRAWN = 50_000  # groups that are drawn one by one: of more, parts cost less
_NO_SPREAD = 1e-9  # what is left of equal values after additions
_DRAWS = 4_000_000  # groups drawn at a time, resamples × groups: 32 MB an array
_DENSE_CELLS = 1 << 22  # groups × cells up to which sums are kept dense (32 MB): BLAS is ten times the sparse product
_SUM_CELLS = 1_000_000  # resamples × cells worked on at a time: 8 MB an array


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
        self.cells, self.groups = cells, groups
        self._group, self._cell, self._weight = group, cell, weight

    @cached_property
    def _sums(self) -> Any:
        """(groups, cells), dense or sparse."""
        if self.groups * self.cells <= _DENSE_CELLS:
            return self._by_part(self._group, self.groups)
        values = np.ones(len(self._group)) if self._weight is None else self._weight.astype(np.float64)
        return sparse.coo_array((values, (self._group, self._cell)), shape=(self.groups, self.cells)).tocsr()

    def _by_part(self, part: NDArray[Any], parts: int) -> NDArray[np.float64]:
        """(parts, cells), given the part of each row, (n,)."""
        flat = np.bincount(part * self.cells + self._cell, self._weight, parts * self.cells)
        return flat.astype(np.float64).reshape(parts, self.cells)

    def without(self, part: NDArray[np.intp], parts: int) -> NDArray[np.float64]:
        """(parts, cells) over all rows but those of each part, given the part of each group, (groups,)."""
        of_parts = self._by_part(part[self._group], parts)
        return of_parts.sum(axis=0) - of_parts

    def of_parts(self, part: NDArray[np.intp], parts: int) -> "GroupSums":
        """The sums of parts of the groups, given the part of each group, (groups,)."""
        return GroupSums(part[self._group], self._cell, self._weight, groups=parts, cells=self.cells)

    def total(self) -> NDArray[np.float64]:
        """(cells,) over all rows."""
        return np.bincount(self._cell, self._weight, self.cells).astype(np.float64)

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

    def of_parts(self, part: NDArray[np.intp], parts: int) -> "Statistic":
        """Of parts of the groups, given the part of each group, (groups,)."""
        return replace(self, sums=[sums.of_parts(part, parts) for sums in self.sums])

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
        (some resamples, groups): how often each group was drawn; resamples of a group lie side by side in
        memory, as sparse products want them.
    """
    rng = np.random.default_rng(seed)
    step = max(1, _DRAWS // groups)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = rng.integers(0, groups, (size, groups)) + np.arange(size)[:, None] * groups
        counts = np.bincount(drawn.ravel(), minlength=size * groups).reshape(size, groups)
        yield np.asfortranarray(counts, np.float64)


def bootstrap(
    statistics: Sequence[Statistic], groups: int, *, resamples: int, seed: int
) -> dict[Any, NDArray[np.float64]]:
    """Every metric of every statistic for each resample of the groups, (resamples,); none where there is one group.

    The same seed gives the same resamples, whatever the statistics. More than 50,000 groups are divided at random into
    1,000 parts of one size, which are drawn instead: a spread from them errs by 2 % (one standard error), and the ends
    of an interval from 1,000 resamples by 4 %, however many groups there are.
    """
    if groups < 2 or not resamples:
        return {}
    if groups > _MOST_DRAWN:
        part = _parts(groups, _MOST_PARTS, seed)
        counts = np.concatenate(list(resample(_MOST_PARTS, resamples=resamples, seed=seed)))
        drawn = (statistic.of_parts(part, _MOST_PARTS).resampled(counts) for statistic in statistics)  # 32 MB a sum
        return {key: values for each in drawn for key, values in each.items()}
    blocks: list[dict[Any, NDArray[np.float64]]] = []
    for counts in resample(groups, resamples=resamples, seed=seed):
        blocks.append({key: values for statistic in statistics for key, values in statistic.resampled(counts).items()})
    return {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}


def _parts(groups: int, parts: int, seed: int) -> NDArray[np.intp]:
    """(groups,) the part of each group, at random; their sizes differ by one at most."""
    return np.random.default_rng(seed).permutation(groups) % parts


def leave_groups_out(statistics: Sequence[Statistic], groups: int, *, seed: int) -> dict[Any, NDArray[np.float64]]:
    """Every metric of every statistic without each group, (groups,); of more than 1,000 groups, without each of 1,000
    parts that they are divided into at random."""
    if groups < 2:
        return {}
    parts = min(groups, _MOST_PARTS)
    part = _parts(groups, parts, seed)
    return {
        key: values
        for statistic in statistics
        for key, values in statistic.metrics(*(sums.without(part, parts) for sums in statistic.sums)).items()
    }


def count_groups(group: NDArray[Any], rows: NDArray[np.bool_]) -> int:
    """How many groups have some of the rows."""
    return int(np.count_nonzero(np.bincount(group[rows])))


def measure(
    statistics: Sequence[Statistic], groups: int, *, resamples: int, seed: int, top: float | None = None
) -> dict[Any, Metric]:
    """Every metric of every statistic, with an interval that rests on all groups; see `metric_of`."""
    many = groups >= MANY_GROUPS
    samples = bootstrap(statistics, groups, resamples=resamples, seed=seed) if many else {}
    without = leave_groups_out(statistics, groups, seed=seed) if resamples and not many else {}
    return {
        key: metric_of(value, samples.get(key), without.get(key), groups=groups, top=top)
        for statistic in statistics
        for key, value in statistic.whole().items()
    }


def metric_of(
    value: float,
    samples: NDArray[np.float64] | None,
    without: NDArray[np.float64] | None,
    *,
    groups: int,
    top: float | None = 1.0,
) -> Metric:
    """A metric with its interval; undefined where it is not finite.

    Args:
        value: Over all rows.
        samples: In each resample, (resamples,), whose percentiles are the interval of a metric of many groups.
        without: Without each group, (groups,), for `t_interval`, which is that of a metric of few groups.
        groups: How many groups the metric rests on.
        top: The best or worst that the metric can be, where the other end is 0; None where it has no ends.
    """
    if not np.isfinite(value):
        return Metric(value=None)
    if groups < MANY_GROUPS:
        ends = None if without is None else t_interval(value, without, groups, top=top)
    else:
        ends = None if samples is None else interval(samples)
    if ends is None:
        return Metric(value=float(value))
    return Metric(value=float(value), low=min(ends[0], float(value)), high=max(ends[1], float(value)))


def interval(samples: NDArray[np.float64]) -> tuple[float, float] | None:
    """The 2.5th and 97.5th percentile of the defined values, or None where more than half are undefined."""
    defined = samples[np.isfinite(samples)]
    if not len(defined) or 2 * len(defined) < len(samples):
        return None
    low, high = np.percentile(defined, LEVEL)
    return float(low), float(high)


def t_interval(
    value: float, without: NDArray[np.float64], groups: int, *, top: float | None = 1.0
) -> tuple[float, float] | None:
    """A 95 % interval of a metric of few groups: Student's t with the jackknife's spread (Efron & Stein 1981, doi
    10.1214/aos/1176345462), on the logit scale where the metric has two ends.

    Args:
        value: Over all rows.
        without: Without each group, (n,).
        groups: How many groups the metric rests on; that many less one are the degrees of freedom.
        top: As of `metric_of`.
    Returns:
        None of fewer than 3 groups, of a metric that needs one of them to be defined, and where nothing varies: a share
        of 0 or 1 says nothing of its spread.
    """
    if groups < LEAST_GROUPS or not np.isfinite(without).all():
        return None
    spread = np.sqrt((len(without) - 1) / len(without) * np.sum((without - without.mean()) ** 2))
    if not spread > _NO_SPREAD or (top is not None and not 0 < value < top):
        return None
    ends = np.array([-1, 1]) * stdtrit(groups - 1, LEVEL[1] / 100) * spread
    if top is None:
        low, high = value + ends
    else:
        share = value / top
        low, high = top * expit(logit(share) + ends / (top * share * (1 - share)))
    return float(low), float(high)
