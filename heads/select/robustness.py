"""Whether an extractor sees tissue or the way it was prepared: neighbourhoods across sites, and changed tiles."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from heads.bootstrap import GroupSums, Statistic, bootstrap, interval
from heads.report import Metric

_BLOCK_ROWS = 1024
_ALIKE = 1e-6  # a mean cosine nearer to 1 than this is one vector for all tiles, rounded to float16


def site_index(
    vectors: NDArray[np.float16], classes: NDArray[np.intp], site: NDArray[np.intp], group: NDArray[np.intp], *,
    neighbours: int, resamples: int, seed: int,
) -> tuple[Metric | None, str]:  # fmt: skip
    """The robustness index of PathoROB (Kömen et al. 2025, arXiv 2507.17845).

    Among the nearest neighbours of each tile, from other patients: those of its class from another site (SO) against
    those of another class from its own site (OS), as SO / (SO + OS) over all tiles. 1: neighbourhoods follow the
    tissue; 0: they follow the site.

    Args:
        vectors: (n, dim).
        site: (n,) code of each tile's site; -1 where it is not known, and the tile is left out.
        group: (n,) code of each tile's patient, resampled for the interval.
    Returns:
        The index, and a note where it cannot be told (then None) or is to be read with care.
    """
    known = np.flatnonzero(site >= 0)
    classes, site, group = classes[known], site[known], np.unique(group[known], return_inverse=True)[1]
    pairs = {(s, c) for s, c in zip(site.tolist(), classes.tolist(), strict=True)}
    sites = np.unique(site)
    if len(sites) < 2:
        return None, f"the labelled tiles are of {len(sites)} site(s); expected two or more for the robustness index"
    if all(len({c for s, c in pairs if s == one}) < 2 for one in sites.tolist()):
        return None, "each site has tiles of one class alone, so class and site cannot be told apart"
    unit = _unit(vectors[known])
    count = min(neighbours, len(known) - 1)
    so, os = np.zeros(len(known), np.intp), np.zeros(len(known), np.intp)
    for start in range(0, len(known), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        similar = unit[rows] @ unit.T
        similar[group[rows, None] == group] = -np.inf
        near = np.argpartition(-similar, count - 1, axis=1)[:, :count]
        real = np.isfinite(np.take_along_axis(similar, near, axis=1))
        same_class, same_site = classes[near] == classes[rows, None], site[near] == site[rows, None]
        so[rows] = (same_class & ~same_site & real).sum(axis=1)
        os[rows] = (~same_class & same_site & real).sum(axis=1)
    cell = np.repeat([0, 1], len(known))
    sums = GroupSums(np.tile(group, 2), cell, np.concatenate([so, os]), groups=int(group.max()) + 1, cells=2)

    def index(total: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return {"index": total[..., 0] / total.sum(axis=-1)}

    statistic = Statistic(sums=[sums], metrics=index)
    lone = [s for s in sites.tolist() if len({c for t, c in pairs if t == s}) < 2]
    note = f"{len(lone)} of {len(sites)} sites have tiles of one class alone" if lone else ""
    return _bootstrapped(statistic, "index", int(group.max()) + 1, resamples, seed), note


def consistency(
    vectors: NDArray[np.float16], changed: Mapping[str, NDArray[np.float16]], rows: NDArray[np.intp],
    group: NDArray[np.intp], *, resamples: int, seed: int,
) -> dict[str, Metric]:  # fmt: skip
    """How far changing a tile moves its vector, on scales that two extractors share.

    Raw cosines of different extractors cannot be compared: one may hold all of its vectors within a narrow cone.

    Args:
        vectors: (n, dim) of the sample.
        changed: Of each change, (m, dim) of the tiles in `rows`.
        group: (n,) patient of each tile.
    Returns:
        For each change `CHANGE`, the cosine of a tile and its changed self, 0 where they are as far apart as tiles of
        different patients are and 1 where they are the same; and `CHANGE_found`, the share of changed tiles whose
        nearest vector in the sample is their own, not that of another tile that is just as near. Undefined where all
        vectors are alike.
    """
    unit, groups = _unit(vectors), int(group.max()) + 1
    sums = np.stack([np.bincount(group, column, groups) for column in unit.T], axis=1)
    sizes = np.bincount(group, minlength=groups)
    across = (sums.sum(axis=0) ** 2).sum() - (sums**2).sum()
    random = float(across / max(len(unit) ** 2 - (sizes**2).sum(), 1))
    found: dict[str, Metric] = {}
    for name, these in changed.items():
        other = _unit(these)
        similar = other @ unit.T
        own = similar[np.arange(len(rows)), rows]
        scaled = (own - random) / (1 - random) if 1 - random > _ALIKE else np.full(len(rows), np.nan)
        similar[np.arange(len(rows)), rows] = -np.inf
        first = own > similar.max(axis=1)
        for key, values in ((name, scaled), (f"{name}_found", first.astype(np.float64))):
            total = GroupSums(group[rows], np.zeros(len(rows), np.intp), values, groups=groups, cells=1)
            count = GroupSums(group[rows], np.zeros(len(rows), np.intp), groups=groups, cells=1)
            statistic = Statistic(sums=[total, count], metrics=_mean)
            found[key] = _bootstrapped(statistic, "mean", groups, resamples, seed)
    return found


def _mean(total: NDArray[np.float64], count: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"mean": total[..., 0] / count[..., 0]}


def _bootstrapped(statistic: Statistic, key: str, groups: int, resamples: int, seed: int) -> Metric:
    value = statistic.whole()[key]
    drawn = bootstrap([statistic], groups, resamples=resamples if groups > 1 else 0, seed=seed)
    low, high = (interval(drawn[key]) if key in drawn else None) or (None, None)
    return Metric(value=value if np.isfinite(value) else None, low=low, high=high)


def _unit(vectors: NDArray[np.float16]) -> NDArray[np.float32]:
    x = np.asarray(vectors, np.float32)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
