"""The split of a stored head, as an audit takes it: which tiles are in which part of each fold."""

import csv
from typing import TextIO

import numpy as np
import pyarrow as pa

from embedstore.errors import HeadMismatchError
from embedstore.search.audits.groups import GroupsBySplit
from embedstore.sorted_ids import positions_in
from embedstore.store import Store, StoredHead, read_tile_locations
from embedstore.tile_id import tile_ids
from heads.splitting.splits import PART_NAMES


def split_groups(store: Store, head: StoredHead) -> GroupsBySplit:
    """The parts of a head's examples by tile; all tiles of a slide or patient are in its part.

    Tiles that have left the collection are in no part.

    Raises:
        HeadMismatchError: none of its examples is in the collection any more.
    """
    examples = pa.ipc.open_stream(head.examples).read_all()
    ids = examples.column("id").to_numpy()
    folds = head.record["split"]["names"]
    parts = np.stack([examples.column(f"part_{f}").to_numpy() for f in range(len(folds))], axis=1)
    places = read_tile_locations(store.collection(head.collection))
    entry = places.tile_id if head.level == "tile" else _entries(store, head.level, places.slides)[places.slide]
    at = positions_in(ids, entry, order=np.argsort(ids))
    found = at >= 0
    if not found.any():
        raise HeadMismatchError(
            f"none of the {len(ids):,} {head.level}s that head {head.name!r} was fitted on is in collection "
            f"{head.collection!r} any more; fit a new one with `embedstore fit-head --task {head.task} --replace`"
        )
    tile, part, slide = places.tile_id[found], parts[at[found]].astype(np.int8), places.slide[found]
    by_id = np.argsort(tile)
    return GroupsBySplit(
        tile_ids=tile[by_id],
        parts=part[by_id],
        part_names=PART_NAMES,
        fold_names=tuple(folds),
        whole=frozenset(places.slides[s] for s in np.unique(slide) if len(np.unique(part[slide == s], axis=0)) == 1),
    )


def _entries(store: Store, level: str, slides: tuple[str, ...]) -> np.ndarray:
    """(slides,) int64 id of the example that each slide belongs to; 0 where it belongs to none."""
    patient = store.ledger.patients()
    names = [slide if level == "slide" else patient.get(slide) or "" for slide in slides]
    ids = tile_ids(level, names)
    return np.where([bool(name) for name in names], ids, 0)


def write_split(store: Store, head: StoredHead, out: TextIO) -> None:
    """Write which part each example is in, a line an example: fold, part, slide, patient, and the tile's place.

    Names come from the store as it is now; an example that is no longer there has none.
    """
    examples = pa.ipc.open_stream(head.examples).read_all()
    described = _places(store, head)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["fold", "split", "group", "slide_id", "patient", "x", "y", "name"])
    ids, group = examples.column("id").to_pylist(), examples.column("group").to_pylist()
    for f, fold in enumerate(head.record["split"]["names"]):
        parts = examples.column(f"part_{f}").to_numpy()
        for i in np.flatnonzero(parts >= 0):
            writer.writerow([fold, PART_NAMES[int(parts[i])], group[i], *described.get(ids[i], [""] * 5)])


def _places(store: Store, head: StoredHead) -> dict[int, list[object]]:
    """Slide, patient, x, y and name by the id of an example."""
    patient = {slide: patient or "" for slide, patient in sorted(store.ledger.patients().items())}
    if head.level == "slide":
        names = list(patient)
        return {key: [s, patient[s], "", "", ""] for key, s in zip(_ids("slide", names), names, strict=True)}
    if head.level == "patient":
        names = sorted({name for name in patient.values() if name})
        return {key: ["", p, "", "", ""] for key, p in zip(_ids("patient", names), names, strict=True)}
    places = read_tile_locations(store.collection(head.collection))
    found = {}
    for i, key in enumerate(places.tile_id.tolist()):
        slide = places.slides[places.slide[i]]
        name = "" if places.names is None else places.names[i] or ""
        x, y = ("", "") if name else places.xy_l0[i].tolist()
        found[key] = [slide, patient.get(slide, ""), x, y, name]
    return found


def _ids(level: str, names: list[str]) -> list[int]:
    return tile_ids(level, names).tolist()
