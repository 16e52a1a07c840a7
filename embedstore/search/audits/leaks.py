"""Leaks: the same place on two sides of what must be kept apart."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.search.audits.groups import PartSides, PatientSides, Sides
from embedstore.search.audits.near_duplicate import check_distance, near_duplicate_distance
from embedstore.search.audits.nearest_elsewhere import COLUMNS, elsewhere_sql, nearest_elsewhere
from embedstore.search.parallel import ask_many
from embedstore.search.tile_sample import TileSample, sample_tiles
from embedstore.store import Collection, Store, nearest_tiles
from embedstore.store.patients import no_patient_note

#: Neighbours asked for at first, and at most: a tile whose own side has so many that are nearer is given up.
FETCH, FETCH_MOST = 16, 1_024
_TYPES = {"tile_id": pa.int64(), "slide_id": pa.string(), "x": pa.int64(), "y": pa.int64(), "name": pa.string()}
PAIRS = pa.schema(
    [
        pa.field("distance", pa.float64()),
        pa.field("side", pa.string()),
        *(pa.field(name, _TYPES[name]) for name in COLUMNS),
        pa.field("other_side", pa.string()),
        *(pa.field(f"other_{name}", _TYPES[name]) for name in COLUMNS),
    ]
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Leaks:
    """What was found.

    Attributes:
        pairs: A row a tile of the sample that has a near-duplicate on another side, with the nearest such: PAIRS,
            nearest first.
        sampled, of: Tiles that were looked at, of so many.
        distance: What counted as a near-duplicate: this cosine distance or less.
        notes: What the user should know.
    """

    pairs: pa.Table
    sampled: int
    of: int
    distance: float
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def between(self) -> list[tuple[str, str, int]]:
        """Pairs of sides with their tiles found, the most first."""
        sides = zip(self.pairs.column("side").to_pylist(), self.pairs.column("other_side").to_pylist(), strict=True)
        counts = Counter(tuple(sorted(pair)) for pair in sides)
        return [(one, other, n) for (one, other), n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def find_leaks(
    store: Store,
    collection: Collection,
    *,
    parts: PartSides | None = None,
    distance: float | None = None,
    sample: int = 2_000,
    tell: Callable[[int], None] | None = None,
) -> Leaks:
    """Look for near-duplicate tiles of different patients, or in different parts of a split.

    Tiles of flat colour, such as fat or empty glass, are alike everywhere, and are found too: look at the pairs.

    Args:
        parts: The split; patients when None.
        distance: What counts as a near-duplicate, cosine distance; see `near_duplicate_distance` when None.
        sample: Tiles to look at, spread evenly over slides; 0 for all. With `parts`, tiles that are in one.
        tell: Called with the number of tiles looked at so far.
    Raises:
        ConfigError: the sample or the distance is negative.
    """
    check_distance(distance)
    patients = PatientSides(store)
    sides: Sides = patients if parts is None else parts
    drawn = sample_tiles(collection, sample, tile_ids=None if parts is None else parts.tile_ids)
    notes = _notes(drawn, patients, parts)
    if not len(drawn):
        return Leaks(pairs=PAIRS.empty_table(), sampled=0, of=drawn.of, distance=distance or 0.0, notes=notes)
    within = near_duplicate_distance(drawn, patients.of(drawn.tiles)[:, 0]) if distance is None else distance
    own = sides.of(drawn.tiles)
    rows = drawn.tiles.to_pylist()

    away_from = [sides.own_slides(row) for row in rows]
    first = nearest_elsewhere(collection, drawn, away_from, k=FETCH, tell=tell)

    def ask(i: int) -> tuple[dict[str, Any] | None, bool]:
        return _other_side(collection, rows[i], drawn.vectors[i], own[i], sides, first[i], within)

    answers = ask_many(ask, range(len(rows)))
    given_up = sum(gave_up for _, gave_up in answers)
    if given_up:
        notes += (
            f"{given_up:,} tile(s) have {FETCH_MOST:,} near-duplicates on their own side (blank tiles, mostly); what "
            "lies behind these was not looked at; a smaller --distance looks further",
        )
    pairs = sorted((pair for pair, _ in answers if pair is not None), key=lambda p: (p["distance"], p["tile_id"]))
    return Leaks(
        pairs=pa.Table.from_pylist(pairs, schema=PAIRS),
        sampled=len(drawn),
        of=drawn.of,
        distance=within,
        notes=notes,
    )


def _other_side(
    collection: Collection,
    tile: Mapping[str, Any],
    vector: NDArray[np.float32],
    own: NDArray[Any],
    sides: Sides,
    found: pa.Table,
    within: float,
) -> tuple[dict[str, Any] | None, bool]:
    """A tile with its near-duplicate on another side, or None; and whether the search was given up."""
    fetch = FETCH
    where = elsewhere_sql(tile["tile_id"], sides.own_slides(tile))
    while True:
        away, theirs = found.column("distance").to_numpy(), sides.of(found)
        hits = np.flatnonzero(sides.apart(own, theirs) & (away <= within))
        if len(hits):
            return _pair(tile, found.slice(int(hits[0]), 1).to_pylist()[0], *sides.names(own, theirs[hits[0]])), False
        if len(found) < fetch or away[-1] > within:
            return None, False
        if fetch >= FETCH_MOST:
            return None, True
        fetch *= 4
        found = nearest_tiles(collection, vector, k=fetch, where=where, columns=COLUMNS)


def _pair(tile: Mapping[str, Any], other: Mapping[str, Any], side: str, other_side: str) -> dict[str, Any]:
    return {
        "distance": max(0.0, float(other["distance"])),
        "side": side,
        **{name: tile[name] for name in COLUMNS},
        "other_side": other_side,
        **{f"other_{name}": other[name] for name in COLUMNS},
    }


def _notes(drawn: TileSample, patients: PatientSides, parts: PartSides | None) -> tuple[str, ...]:
    notes = drawn.notes
    unknown = patients.patients.unknown_among(sorted(set(drawn.tiles.column("slide_id").to_pylist())))
    if parts is None and unknown:
        names = f"{', '.join(unknown[:3])}{', …' if len(unknown) > 3 else ''}"
        slides = f"{drawn.slides:,} slide(s) ({names})"
        consequence = "they count as leaks"
        notes += (no_patient_note(len(unknown), slides, slides=True, tiles=True, consequence=consequence),)
    return notes
