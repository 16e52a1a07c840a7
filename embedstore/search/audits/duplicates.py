"""Duplicate slides: the same slide under two names."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from embedstore.progress import OnProgress, no_progress
from embedstore.search.audits.audit import Audit
from embedstore.search.audits.near_duplicate import check_distance, near_duplicate_distance
from embedstore.search.audits.nearest_elsewhere import nearest_elsewhere
from embedstore.search.parallel import parallel_map
from embedstore.search.tile_sample import TileSample, sample_tiles
from embedstore.store import Collection, Store, nearest_tiles
from embedstore.store.sql import sql_string

#: Tiles of a slide that are compared with another slide that has a near-duplicate of one of its tiles.
CHECKED = 32
#: Share of these that must have a near-duplicate: two scans of one glass slide cover nearly the same tissue, while a
#: blank tile has near-duplicates anywhere.
MIN_SHARE = 0.5
#: Neighbours fetched for each tile, which are the slides it can point to.
FETCH = 16


@dataclass(frozen=True, kw_only=True)
class DuplicateSlides:
    """Two slides that are the same.

    Attributes:
        slide_id, other: Most tiles of the first have a near-duplicate in the second.
        share: Share of the checked tiles of the first that have one; None where no tile was compared.
        same_file: The ledger has the same fingerprint for both.
    """

    slide_id: str
    other: str
    share: float | None
    same_file: bool

    def __str__(self) -> str:
        alike = "the same file" if self.same_file else f"{self.share or 0:.0%} of the checked tiles alike"
        return f"{self.slide_id} and {self.other}: {alike}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Duplicates(Audit):
    """Pairs of duplicate slides.

    Attributes:
        pairs: Most alike first.
        distance: Cosine distance within which two tiles are near-duplicates.
    """

    pairs: tuple[DuplicateSlides, ...]
    distance: float

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        return self._shown(f"{len(self):,} pairs of duplicate slides", [str(pair) for pair in self.pairs])


def find_duplicates(
    store: Store,
    collection: Collection,
    *,
    distance: float | None = None,
    sample: int = 2_000,
    on_progress: OnProgress = no_progress,
) -> Duplicates:
    """Find slides that are in a collection twice: the same file, or the same tissue tile by tile.

    Near-duplicates of the tiles of a sample give pairs of slides. CHECKED tiles of the first slide of a pair are then
    searched for in the second. Where MIN_SHARE of them have a near-duplicate, the two slides are the same.

    Args:
        distance: Cosine distance within which two tiles are near-duplicates; `near_duplicate_distance` when None.
        sample: Tiles to examine, at least one of each slide; 0 for all.
    Raises:
        ConfigError: the sample or the distance is negative.
    """
    check_distance(distance)
    collection = collection.pinned()
    present = collection.slides()
    drawn = sample_tiles(collection, max(sample, len(present)) if sample else 0)
    slides = np.array(drawn.tiles.column("slide_id").to_pylist(), object)
    if not len(drawn):
        return Duplicates(pairs=(), sampled=0, candidates=drawn.candidates, distance=distance or 0.0)
    within = near_duplicate_distance(drawn, slides) if distance is None else distance
    shares = {}
    for pair in sorted(_candidate_pairs(collection, drawn, within, on_progress)):
        share = _share(collection, *pair, within)
        if share >= MIN_SHARE:
            shares[pair] = share
    return Duplicates(
        pairs=_pairs(shares, _same_files(store, set(present))),
        sampled=len(drawn),
        candidates=drawn.candidates,
        distance=within,
    )


def _candidate_pairs(
    collection: Collection, drawn: TileSample, within: float, on_progress: OnProgress
) -> set[tuple[str, str]]:
    """(slide, other slide) for each near-duplicate of a tile of the sample."""
    slides = drawn.tiles["slide_id"].to_pylist()
    excluded = [(slide,) for slide in slides]
    nearest = nearest_elsewhere(collection, drawn, excluded, k=FETCH, stage="duplicates", on_progress=on_progress)
    return {
        (slide, other)
        for slide, tiles in zip(slides, nearest, strict=True)
        for other, distance in zip(tiles["slide_id"].to_pylist(), tiles["distance"].to_pylist(), strict=True)
        if distance <= within
    }


def _share(collection: Collection, slide_id: str, other: str, within: float) -> float:
    """Share of a slide's tiles that have a near-duplicate in another."""
    checked = sample_tiles(collection, CHECKED, slides=[slide_id])
    if not len(checked):
        return 0.0  # nearly all of its vectors are zero
    where = f"slide_id = {sql_string(other)}"

    def has_near_duplicate(i: int) -> bool:
        nearest = nearest_tiles(collection, checked.vectors[i], k=1, where=where, columns=("slide_id",))
        return bool(len(nearest)) and nearest.column("distance")[0].as_py() <= within

    return float(np.mean(list(parallel_map(has_near_duplicate, range(len(checked))))))


def _same_files(store: Store, present: set[str]) -> set[tuple[str, str]]:
    """Pairs of slides whose files have the same fingerprint in the ledger.

    Args:
        present: Slides of the collection.
    """
    by_file = defaultdict(list)
    for slide in store.ledger.slides():
        if slide.fingerprint and slide.slide_id in present:
            by_file[slide.fingerprint].append(slide.slide_id)
    return {pair for slides in by_file.values() for pair in combinations(sorted(slides), 2)}


def _pairs(shares: dict[tuple[str, str], float], same: set[tuple[str, str]]) -> tuple[DuplicateSlides, ...]:
    """Each pair once, in the order of the two slides that has the larger share."""
    best: dict[frozenset[str], tuple[str, str]] = {}
    for pair in sorted(shares, key=lambda pair: (-shares[pair], pair)):
        best.setdefault(frozenset(pair), pair)
    for pair in sorted(same):
        best.setdefault(frozenset(pair), pair)
    pairs = [
        DuplicateSlides(slide_id=a, other=b, share=shares.get((a, b)), same_file=bool(same & {(a, b), (b, a)}))
        for a, b in best.values()
    ]
    return tuple(sorted(pairs, key=lambda d: (not d.same_file, -(d.share or 0), d.slide_id, d.other)))
