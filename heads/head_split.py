"""The split of a stored head: which tiles are in which part of each fold, for audits and as CSV."""

import csv
from collections.abc import Sequence
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import HeadMismatchError
from embedstore.export.benchmarks import GivenSplit
from embedstore.search.audits.groups import GroupsBySplit
from embedstore.sorted_ids import positions_in
from embedstore.store import Store, StoredHead, read_tile_locations
from embedstore.store.patients import patients_of_task
from embedstore.tile_id import tile_ids
from heads.record import HeadRecord
from heads.splitting.splits import PART_NAMES, UNUSED
from heads.stored_examples import StoredExamples


def split_groups(store: Store, head: StoredHead) -> GroupsBySplit:
    """The parts of a head's examples by tile; all tiles of a slide or patient are in its part.

    Tiles that have left the collection are in no part.

    Raises:
        HeadMismatchError: none of its examples is in the collection any more, or it was made of words.
    """
    if HeadRecord.from_record(head.record).words is not None:
        raise HeadMismatchError(
            f"head {head.name!r} was made of words and not fitted, so it has no split that could leak; leave the head "
            "out to compare patients"
        )
    examples = StoredExamples.from_bytes(head.examples)
    tiles = read_tile_locations(store.collection(head.collection))
    example = tiles.tile_id if head.level == "tile" else _ids_of_slides(store, head, tiles.slides)[tiles.slide]
    at = positions_in(examples.ids, example, order=np.argsort(examples.ids))
    present = at >= 0
    if not present.any():
        raise HeadMismatchError(
            f"none of the {len(examples):,} {head.level}s that head {head.name!r} was fitted on is in collection "
            f"{head.collection!r} any more; fit a new one with `embedstore fit-head --task {head.task} --replace`"
        )
    tile, part, slide = tiles.tile_id[present], examples.parts[:, at[present]].T, tiles.slide[present]
    by_id = np.argsort(tile)
    return GroupsBySplit(
        tile_ids=tile[by_id],
        parts=part[by_id],
        part_names=PART_NAMES,
        fold_names=HeadRecord.from_record(head.record).fold_names,
        whole=frozenset(tiles.slides[s] for s in np.unique(slide) if len(np.unique(part[slide == s], axis=0)) == 1),
    )


def _ids_of_slides(store: Store, head: StoredHead, slides: Sequence[str]) -> NDArray[np.int64]:
    """(slides,) id of the example that each slide belongs to; 0 where it belongs to none."""
    patient = patients_of_task(store, head.task)
    names = [slide if head.level == "slide" else patient.get(slide) or "" for slide in slides]
    ids = tile_ids(head.level, names)
    return np.where([bool(name) for name in names], ids, 0)


def slide_split(store: Store, head: StoredHead) -> GivenSplit:
    """The part of each slide in every fold of a head of slides or patients.

    Raises:
        HeadMismatchError: it is a head of tiles.
    """
    if head.level == "tile":
        raise HeadMismatchError(
            f"head {head.name!r} classifies tiles, whose slides may be in several parts; name a head of slides or "
            "patients, such as `embedstore fit-head --model mean` fits"
        )
    examples = StoredExamples.from_bytes(head.examples)
    patients = patients_of_task(store, head.task)
    names = [slide if head.level == "slide" else patient or "" for slide, patient in patients.items()]
    at = positions_in(examples.ids, tile_ids(head.level, names), order=np.argsort(examples.ids))
    words = {**PART_NAMES, UNUSED: ""}
    return GivenSplit(
        source=f"head {head.name!r}",
        folds=HeadRecord.from_record(head.record).fold_names,
        parts={
            slide: tuple(words[int(part)] for part in examples.parts[:, place])
            for slide, name, place in zip(patients, names, at, strict=True)
            if name and place >= 0
        },
    )


def write_split(store: Store, head: StoredHead, out: TextIO) -> None:
    """Write which part each example is in, one line per example: fold, part, slide, patient, and the tile's place.

    Names come from the store as it is now; an example that is no longer there has none.
    """
    examples = StoredExamples.from_bytes(head.examples)
    descriptions = _descriptions(store, head)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["fold", "split", "group", "slide_id", "patient", "x", "y", "name"])
    ids, group = examples.ids.tolist(), examples.group.tolist()
    for fold, parts in zip(HeadRecord.from_record(head.record).fold_names, examples.parts, strict=True):
        for i in np.flatnonzero(parts >= 0):
            writer.writerow([fold, PART_NAMES[int(parts[i])], group[i], *descriptions.get(ids[i], [""] * 5)])


def _descriptions(store: Store, head: StoredHead) -> dict[int, list[object]]:
    """Slide, patient, x, y and name by the id of an example."""
    patient = {slide: name or "" for slide, name in sorted(patients_of_task(store, head.task).items())}
    if head.level == "slide":
        slides = list(patient)
        ids = tile_ids("slide", slides).tolist()
        return {key: [slide, patient[slide], "", "", ""] for key, slide in zip(ids, slides, strict=True)}
    if head.level == "patient":
        patients = sorted({name for name in patient.values() if name})
        ids = tile_ids("patient", patients).tolist()
        return {key: ["", name, "", "", ""] for key, name in zip(ids, patients, strict=True)}
    tiles = read_tile_locations(store.collection(head.collection))
    descriptions: dict[int, list[object]] = {}
    for i, key in enumerate(tiles.tile_id.tolist()):
        slide = tiles.slides[tiles.slide[i]]
        name = "" if tiles.names is None else tiles.names[i] or ""
        x, y = ("", "") if name else tiles.xy_l0[i].tolist()
        descriptions[key] = [slide, patient.get(slide, ""), x, y, name]
    return descriptions
