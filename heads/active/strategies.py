"""Query strategies of active learning: which of many unlabelled tiles to label next (Settles 2009 is the survey)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heads.config import Strategy

#: `uncertain-diverse` chooses among so many times n of the most uncertain tiles, and this share of the pool at most:
#: the others are not uncertain.
UNCERTAIN_AMONG, UNCERTAIN_SHARE = 10, 0.25
#: `typical` clusters so many tiles of the pool at most, and into so many clusters: in a third of a second.
CLUSTERED, CLUSTERS = 2_000, 200
ROUNDS = 5  # of k-means
#: Labelled tiles that are compared with the pool at once: their similarities take 20 MB.
MARKED_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """m unlabelled tiles, among which some are chosen.

    Attributes:
        vectors: (m, dim) float32, length 1.
        slide: (m,) code of its slide.
        patient: (m,) code of its patient, or of what counts as one.
        marked: (l, dim) float32, length 1, of tiles that are labelled already, or a sample of them.
        uncertainty: (m,) float32, 0 to 1; None without a head.
    """

    vectors: NDArray[np.float32]
    slide: NDArray[np.int32]
    patient: NDArray[np.int32]
    marked: NDArray[np.float32]
    uncertainty: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.vectors)


def uncertainty_of(probabilities: NDArray[np.float32], *, multi_label: bool) -> NDArray[np.float32]:
    """(m,) entropy of (m, classes) probabilities, as a share of the largest; multi-label of the least certain class."""
    p = np.clip(probabilities.astype(np.float64), 1e-9, 1 - 1e-9)
    if multi_label:
        return (-(p * np.log2(p) + (1 - p) * np.log2(1 - p))).max(axis=1).astype(np.float32)
    return (-(p * np.log(p)).sum(axis=1) / np.log(p.shape[1])).astype(np.float32)


def choose_tiles(
    pool: Pool, n: int, strategy: Strategy, *, rng: np.random.Generator, per_slide: int, per_patient: int
) -> NDArray[np.intp]:
    """Choose up to n tiles of a pool by a strategy; fewer where slides and patients may have no more.

    Args:
        strategy: One of `POOL_STRATEGIES`; the uncertain ones need `pool.uncertainty`.
        per_slide, per_patient: Most tiles of one of them.
    Returns:
        (k,) rows of the pool, in the order in which they were chosen.
    """
    if not len(pool):
        return np.empty(0, np.intp)
    shares = _Shares(len(pool), (pool.slide, per_slide), (pool.patient, per_patient))
    chosen = POOL_STRATEGIES[strategy](pool, n, shares, rng)
    return np.array(chosen, np.intp)


def choose_first(n: int, slide: NDArray[np.int32], per_slide: int) -> NDArray[np.intp]:
    """The first n of m tiles, with at most so many of one slide; (m,) `slide` is the code of each one's."""
    return np.array(_in_order(np.arange(len(slide)), n, _Shares(len(slide), (slide, per_slide))), np.intp)


class _Shares:
    """What may still be chosen of a pool: no tile twice, and of a slide or patient no more than its share.

    Attributes:
        free: (m,) bool.
    """

    def __init__(self, n: int, *limits: tuple[NDArray[np.int32], int]):
        self.limits = limits
        self.free = np.ones(n, bool)
        self._counts = [np.zeros(codes.max(initial=-1) + 1, np.int64) for codes, _ in limits]

    def of(self, rows: NDArray[np.intp]) -> "_Shares":
        """The same limits for some rows; nothing of them is taken yet."""
        return _Shares(len(rows), *((codes[rows], most) for codes, most in self.limits))

    def take(self, row: int) -> None:
        self.free[row] = False
        for (codes, most), counts in zip(self.limits, self._counts, strict=True):
            code = codes[row]
            counts[code] += 1
            if counts[code] >= most:
                self.free[codes == code] = False


def _in_order(order: NDArray[np.intp], n: int, shares: _Shares) -> list[int]:
    """The first n of an order that are free when their turn comes."""
    chosen: list[int] = []
    at = 0
    while len(chosen) < n:
        rest = np.flatnonzero(shares.free[order[at:]])
        if not len(rest):
            break
        at += int(rest[0])
        chosen.append(int(order[at]))
        shares.take(chosen[-1])
    return chosen


def _random(pool: Pool, n: int, shares: _Shares, rng: np.random.Generator) -> list[int]:
    return _in_order(rng.permutation(len(pool)), n, shares)


def _uncertainty(pool: Pool, n: int, shares: _Shares, rng: np.random.Generator) -> list[int]:
    """The most uncertain (uncertainty sampling by entropy, Lewis & Gale 1994)."""
    assert pool.uncertainty is not None
    return _in_order(np.argsort(-pool.uncertainty, kind="stable"), n, shares)


def _diverse(pool: Pool, n: int, shares: _Shares, rng: np.random.Generator) -> list[int]:
    """Each next one is the farthest from all that are labelled or chosen (k-centre greedy, Sener & Savarese 2018)."""
    distance = np.full(len(pool), np.inf, np.float32)
    for start in range(0, len(pool.marked), MARKED_AT_ONCE):
        similarity = pool.vectors @ pool.marked[start : start + MARKED_AT_ONCE].T
        distance = np.minimum(distance, 1 - similarity.max(axis=1))
    chosen: list[int] = []
    while len(chosen) < n and shares.free.any():
        first = not chosen and not len(pool.marked)
        row = int(rng.choice(np.flatnonzero(shares.free))) if first else int(_best(distance, shares.free))
        chosen.append(row)
        shares.take(row)
        distance = np.minimum(distance, 1 - pool.vectors @ pool.vectors[row])
    return chosen


def _uncertain_diverse(pool: Pool, n: int, shares: _Shares, rng: np.random.Generator) -> list[int]:
    """The tiles that best stand for groups of the most uncertain ones, weighted by uncertainty (Zhdanov 2019)."""
    assert pool.uncertainty is not None
    most = min(UNCERTAIN_AMONG * n, max(n, round(UNCERTAIN_SHARE * len(pool))))
    among = np.argsort(-pool.uncertainty, kind="stable")[:most]
    chosen = _seeds(pool.vectors[among], pool.uncertainty[among], n, shares.of(among), rng)
    return [int(among[row]) for row in chosen]


def _seeds(
    vectors: NDArray[np.float32], weight: NDArray[np.float32], n: int, shares: _Shares, rng: np.random.Generator
) -> list[int]:
    """k-means++ seeding: the heaviest first, then each by weight times squared distance to the nearest one chosen."""
    nearest = np.ones(len(vectors), np.float32)
    chosen: list[int] = []
    while len(chosen) < n and shares.free.any():
        mass = np.where(shares.free, weight.astype(np.float64) * nearest, 0)
        total = mass.sum()
        if not chosen:
            row = int(np.argmax(mass))
        elif total > 0:
            row = int(rng.choice(len(mass), p=mass / total))
        else:
            row = int(np.argmax(shares.free))
        chosen.append(row)
        shares.take(row)
        nearest = np.minimum(nearest, np.maximum(1 - vectors @ vectors[row], 0))
    return chosen


def _typical(pool: Pool, n: int, shares: _Shares, rng: np.random.Generator) -> list[int]:
    """The tiles nearest to the centres of the largest groups that hold no labelled tile (Hacohen et al. 2022)."""
    rows = np.arange(len(pool))
    if len(rows) > CLUSTERED:
        rows = np.sort(rng.choice(rows, CLUSTERED, replace=False))
    clusters = min(len(pool.marked) + n, CLUSTERS, len(rows))
    centres, group = _k_means(pool.vectors[rows], clusters, rng)
    sizes = np.bincount(group, minlength=clusters)
    if len(pool.marked):
        marked = np.unique(_nearest_centre(pool.marked, centres))
        sizes[marked] = 0
    distance = ((pool.vectors[rows] - centres[group]) ** 2).sum(axis=1)
    chosen: list[int] = []
    for cluster in np.argsort(-sizes, kind="stable"):
        inside = np.flatnonzero((group == cluster) & shares.free[rows])
        if len(chosen) < n and len(inside):
            chosen.append(int(rows[inside[np.argmin(distance[inside])]]))
            shares.take(chosen[-1])
    return [*chosen, *_in_order(rows[np.argsort(distance, kind="stable")], n - len(chosen), shares)]


def _k_means(
    vectors: NDArray[np.float32], clusters: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Centres (clusters, dim), and the cluster (m,) of each vector; an empty cluster keeps its centre.

    SciPy's warns of empty clusters, which are usual here, by a filter that all threads share.
    """
    seeds = _seeds(vectors, np.ones(len(vectors), np.float32), clusters, _Shares(len(vectors)), rng)
    centres = vectors[seeds]
    group = _nearest_centre(vectors, centres)
    for _ in range(ROUNDS):
        order = np.argsort(group, kind="stable")
        filled, start = np.unique(group[order], return_index=True)
        sums = np.add.reduceat(vectors[order], start, axis=0)
        centres[filled] = sums / np.diff([*start, len(order)])[:, None]
        group = _nearest_centre(vectors, centres)
    return centres, group


def _nearest_centre(vectors: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.intp]:
    return np.argmax(2 * vectors @ centres.T - (centres**2).sum(axis=1), axis=1)


def _best(value: NDArray[np.float32], free: NDArray[np.bool_]) -> np.intp:
    return np.argmax(np.where(free, value, -np.inf))


#: Those that choose among a pool: {strategy: (pool, n, shares, rng) -> rows}.
POOL_STRATEGIES: dict[Strategy, Callable[[Pool, int, _Shares, np.random.Generator], list[int]]] = {
    "random": _random,
    "uncertainty": _uncertainty,
    "diverse": _diverse,
    "uncertain-diverse": _uncertain_diverse,
    "typical": _typical,
}
