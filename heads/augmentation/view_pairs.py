"""Tiles and their stored views: what a latent augmenter is trained and judged on, parted by patient."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import LabelError, SplitError, ViewsNotFoundError
from embedstore.store import Collection, Store, TileLocations, read_tile_locations, read_vectors, read_views
from heads.config import AugmenterConfig
from heads.splitting.groups import deal
from heads.splitting.splits import PART_NAMES, TEST, TRAIN, VALID

#: Most views that are read: what a network of this size learns from more was not worth their memory (512 MB at 1,280
#: dimensions).
MOST_VIEWS = 200_000
#: Patients that there must be: one to train on, one to validate on, two to be judged on, for an interval.
_LEAST_GROUPS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class ViewPairs:
    """n tiles and their views.

    Attributes:
        version, views_version: Of the collection's table and of that of its views.
        vectors: (n, dim) of the tiles.
        views: (n, count, dim) of their views.
        parameters: (n, count, P): what was done to each.
        part: (n,) int8 of TRAIN, VALID, TEST.
        group: (n,) patient of each tile, 0 … groups − 1.
        notes: What the user should know.
    """

    version: int
    views_version: int
    vectors: NDArray[np.float16]
    views: NDArray[np.float16]
    parameters: NDArray[np.float32]
    part: NDArray[np.int8]
    group: NDArray[np.intp]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.vectors)

    def counts(self) -> dict[str, dict[str, int]]:
        """Tiles and patients of each part."""
        found = {}
        for part, name in PART_NAMES.items():
            mine = self.part == part
            found[name] = {"tiles": int(mine.sum()), "groups": len(np.unique(self.group[mine]))}
        return found


def gather_pairs(store: Store, collection: Collection, config: AugmenterConfig, where: str | None = None) -> ViewPairs:
    """Read tiles that have all their views, `MOST_VIEWS` views at most, and part them by patient.

    The tiles of a sample, and their parts, hang on their ids, on their patients and on the seed, not on the order of
    the table.

    Args:
        where: SQL over the slides' columns; only slides that it holds for.
    Raises:
        ViewsNotFoundError: the collection has no views, or none of these slides has.
        SplitError: too few patients.
        VectorError: a vector holds NaN or infinity.
    """
    views = store.views(collection.name)
    count = views.config().count
    slide_rows = store.ledger.slides(where=where)
    if where is not None and not slide_rows:
        raise LabelError(f"no slide of {store.uri} is such that {where}; `embedstore status` lists the slides")
    with_views = views.slides()
    wanted = with_views.keys() if where is None else with_views.keys() & {row["slide_id"] for row in slide_rows}
    places = read_tile_locations(collection, slides=sorted(wanted))
    notes = []
    chosen = np.argsort(places.tile_id)
    if len(chosen) * count > MOST_VIEWS:
        chosen = np.random.default_rng(config.seed).permutation(chosen)[: MOST_VIEWS // count]
        notes.append(f"a sample of {len(chosen):,} of {len(places):,} tiles is looked at: {MOST_VIEWS:,} views")
    chosen = np.sort(chosen)
    read = read_views(views, places.tile_id[chosen])
    if not read.found.any():
        raise ViewsNotFoundError(
            f"no tile of collection {collection.name!r}{'' if where is None else f' on slides such that {where}'} has "
            "all its stored views; `embedstore ingest … --views 4` over the slides makes them"
        )
    if not read.found.all():
        notes.append(f"{int((~read.found).sum()):,} of {len(chosen):,} tiles lack views and are left out")
    chosen = chosen[read.found]
    group, said = _patients(store, places, chosen, slide_rows)
    return ViewPairs(
        version=places.version,
        views_version=read.version,
        vectors=read_vectors(collection, places.row[chosen], version=places.version),
        views=read.vectors if read.found.all() else read.vectors[read.found],
        parameters=read.parameters[read.found],
        part=part_by_group(group, places.tile_id[chosen], config, collection.name),
        group=group,
        notes=(*notes, *said),
    )


def part_by_group(
    group: NDArray[np.intp], tile_id: NDArray[np.int64], config: AugmenterConfig, collection: str
) -> NDArray[np.int8]:
    """(n,) part of each tile: no patient is in two, and at least two are in the one to be judged on.

    Raises:
        SplitError: fewer than four patients.
    """
    sizes = np.bincount(group)
    if len(sizes) < _LEAST_GROUPS:
        raise SplitError(
            f"tiles of collection {collection!r} with stored views are of {len(sizes)} patient"
            f"{'' if len(sizes) == 1 else 's'} (or slides, where no patient is known); expected at least "
            f"{_LEAST_GROUPS}: one to train on, one to validate on, two to be judged on; ingest more of them with "
            "--views, or say in the list of slides who the patients are"
        )
    # Patients in an order that is theirs, whatever the order of the table: that of their first tile's id.
    first = np.full(len(sizes), np.iinfo(np.int64).max)
    np.minimum.at(first, group, tile_id)
    order = np.argsort(first)
    shares = (1 - config.valid_share - config.test_share, config.valid_share, config.test_share)
    part = np.empty(len(sizes), np.int8)
    part[order] = deal(sizes[order, None].astype(np.float64), shares, np.random.default_rng(config.seed))
    if (part == TEST).sum() < 2:  # the smallest patient of a part that has another to spare
        spare = np.flatnonzero((part == TRAIN) & ((part == TRAIN).sum() > 1))
        spare = spare if len(spare) else np.flatnonzero(part == VALID)
        part[spare[np.lexsort([first[spare], sizes[spare]])[0]]] = TEST
    return part[group]


def _patients(
    store: Store, places: TileLocations, chosen: NDArray[np.intp], slide_rows: list[dict[str, Any]]
) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    """Patient of each chosen tile, and a note where none is known: slides, or ready-made tiles, then stand for them."""
    of_slide = {row["slide_id"]: row["patient"] for row in slide_rows if row["patient"] is not None}
    of_tile = _labelled_patients(store) if places.names is not None else {}
    codes: dict[tuple[str, ...], int] = {}
    group = np.empty(len(chosen), np.intp)
    unknown = {"each ready-made tile": 0, "each slide": 0}
    for i, at in enumerate(chosen.tolist()):
        slide = places.slides[places.slide[at]]
        name = None if places.names is None else places.names[at]
        patient = (of_tile.get((slide, name)) if name else None) or of_slide.get(slide)
        if patient is None:
            unknown["each slide" if name is None else "each ready-made tile"] += 1
        key = ("patient", patient) if patient else ("slide", slide) if name is None else ("tile", slide, name)
        group[i] = codes.setdefault(key, len(codes))
    if not any(unknown.values()):
        return group, ()
    words = [f"{word} counts as a patient" for word, n in unknown.items() if n]
    note = (
        f"NO PATIENT IS KNOWN for {sum(unknown.values()):,} of {len(chosen):,} tiles: {', '.join(words)}. If some are "
        "of one patient, what is said of unseen tiles is too good; give a column `patient` in the list of slides (or "
        "`group` in labels.csv) and ingest again"
    )
    return group, (note,)


def _labelled_patients(store: Store) -> Mapping[tuple[str, str], str]:
    """Patients of ready-made tiles, as their labels name them, by slide and name."""
    table = store.labels.table(columns=["slide_id", "name", "patient"])
    columns = (table.column(name).to_pylist() for name in ("slide_id", "name", "patient"))
    return {(s, n): p for s, n, p in zip(*columns, strict=True) if s and n and p}
