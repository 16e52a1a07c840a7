"""Leaks: the same place in two groups that must be kept apart, such as two patients or two parts of a split."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.progress import OnProgress, no_progress
from embedstore.quantities import first_few
from embedstore.search.audits.audit import Audit
from embedstore.search.audits.groups import AuditGroups, GroupsByPatient, GroupsBySplit
from embedstore.search.audits.near_duplicate import check_distance, near_duplicate_distance
from embedstore.search.audits.nearest_elsewhere import COLUMNS, elsewhere_sql, nearest_elsewhere
from embedstore.search.parallel import parallel_map
from embedstore.search.tile_sample import TileSample, sample_tiles
from embedstore.store import Collection, Store, TileLocation, nearest_tiles
from embedstore.store.patients import no_patient_note

#: Neighbours fetched at first, and at most: a tile with so many nearer ones in its own group is given up.
FETCH, MAX_FETCH = 16, 1_024
_TYPES = {"tile_id": pa.int64(), "slide_id": pa.string(), "x": pa.int64(), "y": pa.int64(), "name": pa.string()}
#: Two tiles and their groups, which stand as `side` and `other_side`.
PAIRS = pa.schema(
    [
        pa.field("distance", pa.float64()),
        pa.field("side", pa.string()),
        *(pa.field(name, _TYPES[name]) for name in _TYPES),
        pa.field("other_side", pa.string()),
        *(pa.field(f"other_{name}", _TYPES[name]) for name in _TYPES),
    ]
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Leaks(Audit):
    """Near-duplicate tiles in different groups.

    Attributes:
        pairs: A row for each tile of the sample that has a near-duplicate in another group, with the nearest one:
            PAIRS, nearest first.
        distance: Cosine distance within which two tiles are near-duplicates.
    """

    pairs: pa.Table
    distance: float

    def __len__(self) -> int:
        return len(self.pairs)

    def __repr__(self) -> str:
        between = [f"{a} and {b}: {tiles:,} tiles" for a, b, tiles in self.between]
        return self._shown(f"{len(self):,} near-duplicate tiles within a distance of {self.distance:.3g}", between)

    @property
    def between(self) -> list[tuple[str, str, int]]:
        """Pairs of groups with their number of tiles, the most first."""
        groups = zip(self.pairs.column("side").to_pylist(), self.pairs.column("other_side").to_pylist(), strict=True)
        counts = Counter(tuple(sorted(pair)) for pair in groups)
        return [(a, b, tiles) for (a, b), tiles in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def find_leaks(
    store: Store,
    collection: Collection,
    *,
    split: GroupsBySplit | None = None,
    distance: float | None = None,
    sample: int = 2_000,
    on_progress: OnProgress = no_progress,
) -> Leaks:
    """Find near-duplicate tiles of different patients, or in different parts of a split.

    Tiles of uniform colour, such as fat or background, are alike everywhere and are found too: look at the pairs.

    Args:
        split: Compare the parts of this split; patients when None.
        distance: Cosine distance within which two tiles are near-duplicates; `near_duplicate_distance` when None.
        sample: Tiles to examine, spread evenly over slides; 0 for all. With `split`, only tiles that are in a part.
    Raises:
        ConfigError: the sample or the distance is negative.
    """
    check_distance(distance)
    collection = collection.pinned()
    patients = GroupsByPatient(store)
    groups: AuditGroups = patients if split is None else split
    drawn = sample_tiles(collection, sample, tile_ids=None if split is None else split.tile_ids)
    notes = drawn.notes + (_patient_notes(drawn, patients) if split is None else ())
    if not len(drawn):
        return Leaks(
            pairs=PAIRS.empty_table(), sampled=0, candidates=drawn.candidates, distance=distance or 0.0, notes=notes
        )
    within = near_duplicate_distance(drawn, patients.of_tiles(drawn.tiles)[:, 0]) if distance is None else distance
    tiles, group = TileLocation.from_table(drawn.tiles), groups.of_tiles(drawn.tiles)
    excluded = [groups.slides_within(tile.slide_id, tile.name) for tile in tiles]
    nearest = nearest_elsewhere(collection, drawn, excluded, k=FETCH, stage="leaks", on_progress=on_progress)

    def find(i: int) -> "_Leak | _GivenUp | None":
        return _find_leak(collection, tiles[i], drawn.vectors[i], group[i], groups, nearest[i], within)

    outcomes = list(parallel_map(find, range(len(tiles))))
    given_up = sum(isinstance(outcome, _GivenUp) for outcome in outcomes)
    if given_up:
        notes += (
            f"{given_up:,} tile(s) have {MAX_FETCH:,} near-duplicates on their own side (blank tiles, mostly); tiles "
            "farther away were not compared; a smaller --distance compares them",
        )
    leaks = sorted(outcome for outcome in outcomes if isinstance(outcome, _Leak))
    return Leaks(
        pairs=_pairs_table(leaks), sampled=len(drawn), candidates=drawn.candidates, distance=within, notes=notes
    )


class _Leak(NamedTuple):
    """Two near-duplicates in different groups."""

    distance: float
    tile: TileLocation
    group: str
    other: TileLocation
    other_group: str


class _GivenUp:
    """Too many near-duplicates are in the tile's own group."""


def _find_leak(
    collection: Collection,
    tile: TileLocation,
    vector: NDArray[np.float32],
    group: NDArray[Any],
    groups: AuditGroups,
    nearest: pa.Table,
    within: float,
) -> _Leak | _GivenUp | None:
    """The nearest near-duplicate of a tile in another group; None where there is none.

    Args:
        group: (partitions,) groups of the tile.
        nearest: Its FETCH nearest neighbours.
        within: Distance of near-duplicates.
    """
    fetch = FETCH
    where = elsewhere_sql(tile.tile_id, groups.slides_within(tile.slide_id, tile.name))
    while True:
        distance, neighbour_groups = nearest.column("distance").to_numpy(), groups.of_tiles(nearest)
        leaks = np.flatnonzero(groups.differ(group, neighbour_groups) & (distance <= within))
        if len(leaks):
            first = int(leaks[0])
            (other,) = TileLocation.from_table(nearest.slice(first, 1))
            own_name, other_name = groups.names(group, neighbour_groups[first])
            return _Leak(max(0.0, float(distance[first])), tile, own_name, other, other_name)
        if len(nearest) < fetch or distance[-1] > within:
            return None
        if fetch >= MAX_FETCH:
            return _GivenUp()
        fetch *= 4
        nearest = nearest_tiles(collection, vector, k=fetch, where=where, columns=COLUMNS)


def _pairs_table(leaks: list[_Leak]) -> pa.Table:
    columns: dict[str, list[Any]] = {
        "distance": [leak.distance for leak in leaks],
        "side": [leak.group for leak in leaks],
        **{name: [getattr(leak.tile, name) for leak in leaks] for name in _TYPES},
        "other_side": [leak.other_group for leak in leaks],
        **{f"other_{name}": [getattr(leak.other, name) for leak in leaks] for name in _TYPES},
    }
    return pa.table(columns, schema=PAIRS)


def _patient_notes(drawn: TileSample, patients: GroupsByPatient) -> tuple[str, ...]:
    unknown = patients.patients.unknown_among(sorted(set(drawn.tiles.column("slide_id").to_pylist())))
    if not unknown:
        return ()
    slides = f"{drawn.slides:,} slide(s) ({first_few(unknown)})"
    return (no_patient_note(len(unknown), slides, slides=True, tiles=True, consequence="they count as leaks"),)
