"""Whether an extractor sees the tissue or its preparation: neighbourhoods across sites, and perturbed tiles."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import ConfigError
from embedstore.store import Store
from heads.evaluation.bootstrap import GroupSums, Statistic, measure
from heads.evaluation.report import Metric

_BLOCK_ROWS = 1024
_ALIKE = 1e-6  # a mean cosine nearer to 1 than this: one vector for all tiles, rounded to float16


def site_index(
    vectors: NDArray[np.float16], classes: NDArray[np.intp], site: NDArray[np.intp], group: NDArray[np.intp], *,
    neighbours: int, resamples: int, seed: int,
) -> tuple[Metric | None, str]:  # fmt: skip
    """The robustness index of PathoROB (Kömen et al. 2025, arXiv 2507.17845).

    Among the nearest neighbours of each tile, from other patients: those of its class from another site (SO) against
    those of another class from its own site (OS), as SO / (SO + OS) over all tiles. 1: neighbourhoods follow the
    tissue; 0: they follow the site. Only tiles whose class occurs at another site, and whose site has another class,
    take part: how the others would count does not depend on the extractor (the package croma counts them; else its
    index is the same). The value that random neighbours would give depends on how many tiles of each class each site
    has; the note states it.

    Args:
        vectors: (n, dim).
        site: (n,) code of each tile's site; -1 where it is unknown, and the tile is left out.
        group: (n,) code of each tile's patient, resampled for the interval.
    Returns:
        The index, None where it is undefined, and a note: the reason, or what random neighbours would give.
    """
    known = np.flatnonzero(site >= 0)
    sites = len(np.unique(site[known]))
    if sites < 2:
        return None, f"the labelled tiles are of {sites} site(s); expected two or more for the robustness index"
    rows = known[_crossed(classes[known], site[known])]
    if not len(rows):
        return None, (
            "no robustness index: each site has tiles of one class alone, or each class tiles of one site, so class "
            "and site cannot be told apart"
        )
    group = np.unique(group[rows], return_inverse=True)[1]
    groups = int(group.max()) + 1
    counts, chance = _across_sites(vectors[rows], classes[rows], site[rows], group, neighbours)
    cell = np.repeat([0, 1], len(rows))
    sums = GroupSums(np.tile(group, 2), cell, counts.ravel(), groups=groups, cells=2)

    def index(total: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return {"index": total[..., 0] / total.sum(axis=-1)}

    notes = [f"robustness index: neighbours at random would give {chance:.2f}"]
    if left_out := len(known) - len(rows):
        notes.append(f"{left_out:,} tiles are left out of it, as their site has one class, or their class one site")
    return _bootstrapped(Statistic(sums=[sums], metrics=index), "index", groups, resamples, seed), "; ".join(notes)


def site_codes(store: Store, column: str) -> dict[str, int]:
    """Code of the site of each slide whose site is known, by slide.

    Args:
        column: Of the slides; it names their site or scanner.
    Raises:
        ConfigError: slides have no such column.
    """
    records = [slide.as_record() for slide in store.ledger.slides()]
    columns = sorted({name for record in records for name in record})
    if column not in columns:
        raise ConfigError(f"slides have no column {column!r} for --site; they have {', '.join(columns)}")
    codes: dict[str, int] = {}
    return {
        record["slide_id"]: codes.setdefault(str(record[column]), len(codes))
        for record in records
        if record[column] is not None
    }


def _crossed(classes: NDArray[np.intp], site: NDArray[np.intp]) -> NDArray[np.intp]:
    """Rows whose class is at two sites and whose site has two classes, counting such rows alone."""
    rows, before = np.arange(len(classes)), -1
    while len(rows) not in (0, before):
        before = len(rows)
        pairs = np.unique(np.stack([classes[rows], site[rows]]), axis=1)
        of_class, of_site = (np.bincount(codes) for codes in pairs)
        rows = rows[(of_class[classes[rows]] > 1) & (of_site[site[rows]] > 1)]
    return rows


def _across_sites(
    vectors: NDArray[np.float16], classes: NDArray[np.intp], site: NDArray[np.intp], group: NDArray[np.intp],
    neighbours: int,
) -> tuple[NDArray[np.intp], float]:  # fmt: skip
    """How many nearest neighbours of each tile are SO and OS, (2, n); and the index of neighbours drawn at random."""
    unit, n = _unit(vectors), len(vectors)
    count = min(neighbours, n - 1)
    counts, chance = np.zeros((2, n), np.intp), np.zeros(2)
    for start in range(0, n, _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        others = group[rows, None] != group
        similar = np.where(others, unit[rows] @ unit.T, -np.inf)
        near = np.argpartition(-similar, count - 1, axis=1)[:, :count]
        same_class, same_site = classes[rows, None] == classes, site[rows, None] == site
        for i, kind in enumerate((same_class & ~same_site & others, ~same_class & same_site & others)):
            counts[i, rows] = np.take_along_axis(kind, near, axis=1).sum(axis=1)
            chance[i] += (kind.sum(axis=1) / np.maximum(others.sum(axis=1), 1)).sum()
    return counts, float(chance[0] / max(chance.sum(), 1e-9))


def consistency(
    vectors: NDArray[np.float16], perturbed: Mapping[str, NDArray[np.float16]], rows: NDArray[np.intp],
    group: NDArray[np.intp], *, resamples: int, seed: int,
) -> dict[str, Metric]:  # fmt: skip
    """How far a perturbation moves a tile's vector, on scales that all extractors share.

    Raw cosines of different extractors cannot be compared: one may hold all of its vectors within a narrow cone.

    Args:
        vectors: (n, dim) of the sample.
        perturbed: For each perturbation, (m, dim) of the tiles in `rows`.
        group: (n,) patient of each tile.
    Returns:
        For each perturbation `NAME`, the cosine of a tile and its perturbed copy, scaled to 0 where they are as far
        apart as tiles of different patients and 1 where they are the same; and `NAME_found`, the share of perturbed
        tiles whose nearest vector in the sample is their own, with no other tile as near. Undefined where all vectors
        are alike.
    """
    unit, groups = _unit(vectors), int(group.max()) + 1
    sums = np.stack([np.bincount(group, column, groups) for column in unit.T], axis=1)
    sizes = np.bincount(group, minlength=groups)
    across = (sums.sum(axis=0) ** 2).sum() - (sums**2).sum()
    random = float(across / max(len(unit) ** 2 - (sizes**2).sum(), 1))
    metrics: dict[str, Metric] = {}
    for name, perturbed_vectors in perturbed.items():
        similar = _unit(perturbed_vectors) @ unit.T
        own = similar[np.arange(len(rows)), rows]
        scaled = (own - random) / (1 - random) if 1 - random > _ALIKE else np.full(len(rows), np.nan)
        similar[np.arange(len(rows)), rows] = -np.inf
        first = own > similar.max(axis=1)
        for key, values in ((name, scaled), (f"{name}_found", first.astype(np.float64))):
            total = GroupSums(group[rows], np.zeros(len(rows), np.intp), values, groups=groups, cells=1)
            count = GroupSums(group[rows], np.zeros(len(rows), np.intp), groups=groups, cells=1)
            statistic = Statistic(sums=[total, count], metrics=_mean)
            metrics[key] = _bootstrapped(statistic, "mean", groups, resamples, seed)
    return metrics


def _mean(total: NDArray[np.float64], count: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return {"mean": total[..., 0] / count[..., 0]}


def _bootstrapped(statistic: Statistic, key: str, groups: int, resamples: int, seed: int) -> Metric:
    return measure([statistic], groups, resamples=resamples, seed=seed)[key]


def _unit(vectors: NDArray[np.float16]) -> NDArray[np.float32]:
    x = np.asarray(vectors, np.float32)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
