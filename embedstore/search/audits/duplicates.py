"""Slides that are there twice, under two names."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from embedstore.search.audits.near_duplicate import check_distance, near_duplicate_distance
from embedstore.search.audits.nearest_elsewhere import nearest_elsewhere
from embedstore.search.parallel import ask_many
from embedstore.search.tile_sample import TileSample, sample_tiles
from embedstore.store import Collection, Store, nearest_tiles
from embedstore.store.table import sql_string

#: Tiles of a slide that are looked for in a slide that one of its tiles was found in.
CHECKED = 32
#: Share of these that must be found: scans of one glass cover nearly the same tissue, a blank tile is found anywhere.
MOST = 0.5
#: Slides that a tile may point to: neighbours asked for each tile.
FETCH = 16


@dataclass(frozen=True, kw_only=True)
class DuplicateSlides:
    """Two slides that are the same.

    Attributes:
        slide_id, other: The two; most tiles of the first are found in the second.
        share: Share of the checked tiles of the first that are; None where no tile was compared.
        same_file: The ledger's fingerprints agree.
    """

    slide_id: str
    other: str
    share: float | None
    same_file: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Duplicates:
    """What was found.

    Attributes:
        pairs: Most alike first.
        sampled, of: Tiles that were looked at, of so many.
        distance: What counted as a near-duplicate, cosine distance.
        notes: What the user should know.
    """

    pairs: tuple[DuplicateSlides, ...]
    sampled: int
    of: int
    distance: float
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pairs)


def find_duplicates(
    store: Store,
    collection: Collection,
    *,
    distance: float | None = None,
    sample: int = 2_000,
    tell: Callable[[int], None] | None = None,
) -> Duplicates:
    """Look for slides that are in a collection twice: the same file, or the same tissue tile by tile.

    Tiles of a sample point to slides that have near-duplicates of them; of each slide so pointed to, CHECKED tiles of
    the first are then looked for in the second. Where MOST are found, the two are the same.

    Args:
        distance: What counts as a near-duplicate; see `near_duplicate_distance` when None.
        sample: Tiles to look at, and at least one a slide; 0 for all.
        tell: Called with the number of tiles looked at so far.
    Raises:
        ConfigError: the sample or the distance is negative.
    """
    check_distance(distance)
    drawn = sample_tiles(collection, max(sample, len(collection.slides())) if sample else 0)
    slides = np.array(drawn.tiles.column("slide_id").to_pylist(), object)
    if not len(drawn):
        return Duplicates(pairs=(), sampled=0, of=drawn.of, distance=distance or 0.0)
    within = near_duplicate_distance(drawn, slides) if distance is None else distance
    shares = {}
    for pair in sorted(_pointed_to(collection, drawn, within, tell)):
        share = _share(collection, *pair, within)
        if share >= MOST:
            shares[pair] = share
    return Duplicates(
        pairs=_pairs(shares, _same_files(store, set(collection.slides()))),
        sampled=len(drawn),
        of=drawn.of,
        distance=within,
    )


def _pointed_to(
    collection: Collection, drawn: TileSample, within: float, tell: Callable[[int], None] | None
) -> set[tuple[str, str]]:
    slides = drawn.tiles["slide_id"].to_pylist()
    nearest = nearest_elsewhere(collection, drawn, [(slide,) for slide in slides], k=FETCH, tell=tell)
    return {
        (slide, other)
        for slide, found in zip(slides, nearest, strict=True)
        for other, distance in zip(found["slide_id"].to_pylist(), found["distance"].to_pylist(), strict=True)
        if distance <= within
    }


def _share(collection: Collection, slide_id: str, other: str, within: float) -> float:
    """Share of a slide's tiles that have a near-duplicate in another."""
    checked = sample_tiles(collection, CHECKED, slides=[slide_id])
    if not len(checked):
        return 0.0  # it was taken out meanwhile, or nearly all of its vectors are zero
    where = f"slide_id = {sql_string(other)}"

    def ask(i: int) -> bool:
        found = nearest_tiles(collection, checked.vectors[i], k=1, where=where, columns=("slide_id",))
        return bool(len(found)) and found.column("distance")[0].as_py() <= within

    return float(np.mean(ask_many(ask, range(len(checked)))))


def _same_files(store: Store, present: set[str]) -> set[tuple[str, str]]:
    """Pairs of slides of a collection whose files are the same, by the ledger's fingerprints."""
    by_file = defaultdict(list)
    for row in store.ledger.slides():
        if row["fingerprint"] and row["slide_id"] in present:
            by_file[row["fingerprint"]].append(row["slide_id"])
    return {pair for slides in by_file.values() for pair in combinations(sorted(slides), 2)}


def _pairs(shares: dict[tuple[str, str], float], same: set[tuple[str, str]]) -> tuple[DuplicateSlides, ...]:
    """Each pair once, the way round in which more of it was found."""
    best: dict[frozenset[str], tuple[str, str]] = {}
    for pair in sorted(shares, key=lambda pair: (-shares[pair], pair)):
        best.setdefault(frozenset(pair), pair)
    for pair in sorted(same):
        best.setdefault(frozenset(pair), pair)
    found = [
        DuplicateSlides(slide_id=a, other=b, share=shares.get((a, b)), same_file=bool(same & {(a, b), (b, a)}))
        for a, b in best.values()
    ]
    return tuple(sorted(found, key=lambda d: (not d.same_file, -(d.share or 0), d.slide_id, d.other)))
