"""The targets of tiles: the classes that the labels of a task give to each tile of a collection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from embedstore.config import JoinConfig
from embedstore.errors import LabelError
from embedstore.labels.geometry import concatenate
from embedstore.labels.join import match_labels, single_values
from embedstore.labels.targets import EXAMPLES, Targets
from embedstore.labels.task_labels import TaskLabels, candidate_classes, classes_with_targets, task_labels
from embedstore.store.tile_locations import TileLocations

KINDS = ("tile", "point", "area", "rest", "slide", "patient")


class TileTargets(Targets):
    """The targets of the n tiles of a collection, in the order of its `TileLocations`."""


def join_labels(
    locations: TileLocations,
    labels: pa.Table,
    patients: Mapping[str, str | None],
    *,
    task: str,
    config: JoinConfig,
    classes: Sequence[str] | None = None,
    multi_label: bool = False,
    min_classes: int | None = None,
) -> TileTargets:
    """Join labels with tiles.

    By its kind, a label is about

    - tile: the tile with its file name, or with exactly its square. If no tile has that square, it is an area.
    - point: the tiles that hold the point.
    - area: the tiles that lie in it by the rule of `config`.
    - rest: the tiles of its area, or of its slide, that none of the labels above is about, of whatever class.
    - slide: the tiles of the slide that have no label of a kind above.
    - patient: the tiles of the patient's slides that have no label of a kind above.

    A tile with two classes, two parts of a split, or two patients is left out and counted. With `multi_label`, a tile
    may have several classes, and a rest label means that a tile is of none.

    Args:
        locations: Where the tiles lie.
        labels: Rows of the table of labels (`Labels.table`), of this task and perhaps others.
        patients: {slide: its patient}, as `Ledger.patients` gives them.
        task: The task.
        config: The rule by which a tile lies in an area.
        classes: The classes, in order; labels of others are ignored. When None, all classes of tiles, sorted.
        multi_label: A tile may be of several classes.
        min_classes: How many classes must have tiles; when None, what a head needs: two, or one with `multi_label`.
            With 0, the labels need not be about any tile.
    Raises:
        TaskNotFoundError: no label is of the task.
        LabelError: a class is unknown, no label is about a tile, or fewer than `min_classes` have tiles.
    """
    of_task = task_labels(labels, task)
    candidates = candidate_classes(of_task, classes, multi_label=multi_label, kinds=KINDS)
    code = of_task.codes_in("label", candidates)
    rest = of_task.rows_of("rest") if multi_label else np.empty(0, np.int64)
    code[rest] = -1
    slide_patient, patient_names = _patients(locations, of_task, patients)
    pairs, weak_pairs, patient = match_labels(locations, of_task, config, slide_patient, patient_names)
    tiles, rows = concatenate([pairs, weak_pairs])
    if not len(tiles) and min_classes != 0:
        raise LabelError(_no_match_reason(locations, of_task))

    n = len(locations)
    targets = np.zeros((n, len(candidates)), bool)
    named = code[rows] >= 0
    targets[tiles[named], code[rows[named]]] = True
    labelled: NDArray[np.bool_] = np.asarray(targets.any(axis=1))
    of_classes = named | np.isin(rows, rest)
    labelled[tiles[of_classes]] = True
    split, split_conflict = single_values(n, tiles[of_classes], of_task.codes["split"][rows[of_classes]])
    label_patient, patient_conflict = single_values(
        n, tiles[of_classes], of_task.codes_in("patient", patient_names)[rows[of_classes]]
    )
    conflict = split_conflict | patient_conflict
    if not multi_label:
        conflict |= targets.sum(axis=1) > 1
    conflict &= labelled
    examples = _conflict_examples(
        locations, of_task, conflict, tiles[of_classes], rows[of_classes], multi_label=multi_label
    )
    labelled &= ~conflict
    targets[~labelled] = False

    kept = classes_with_targets(
        of_task,
        candidates,
        targets.sum(axis=0),
        conflicts=int(conflict.sum()),
        given=classes is not None,
        multi_label=multi_label,
        min_classes=min_classes,
    )
    weak = np.zeros(n, bool)
    weak[weak_pairs[0]] = True
    return TileTargets(
        task=task,
        classes=kept,
        targets=targets[:, [candidates.index(name) for name in kept]],
        labelled=labelled,
        split=np.where(labelled, split, -1).astype(np.int32),
        split_names=of_task.values["split"],
        patient=np.where(label_patient >= 0, label_patient, patient).astype(np.int32),
        patients=patient_names,
        conflicts=int(conflict.sum()),
        conflict_examples=examples,
        weak=int((weak & labelled).sum()),
        ignored=int(np.isin(np.flatnonzero(code < 0), rest, invert=True).sum()),
        missed=tuple(name for name in candidates if name not in kept),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledTiles:
    """Which labels of places are about which tiles of a collection, p pairs.

    Attributes:
        tile: (p,) index into the `TileLocations`.
        row: (p,) row of `table`, a label that is about the tile.
        table: The labels of the task.
    """

    tile: NDArray[np.int64]
    row: NDArray[np.int64]
    table: pa.Table


def labelled_tiles(
    locations: TileLocations, labels: pa.Table, patients: Mapping[str, str | None], *, task: str, config: JoinConfig
) -> LabelledTiles:
    """The tiles that labels of a task are about, also where these contradict each other.

    Labels of whole slides and patients do not count: a tile of theirs may still be labelled itself. Arguments as of
    `join_labels`.

    Raises:
        TaskNotFoundError: no label is of the task.
    """
    of_task = task_labels(labels, task)
    (tile, row), _, _ = match_labels(locations, of_task, config, *_patients(locations, of_task, patients))
    return LabelledTiles(tile=tile, row=row, table=of_task.table)


def _patients(
    locations: TileLocations, labels: TaskLabels, patient_of: Mapping[str, str | None]
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """(n,) index of the patient of each tile's slide, -1 if unknown; and the names of all patients."""
    of_slides = [patient_of.get(slide) for slide in locations.slides]
    patients = tuple(sorted({patient for patient in of_slides if patient is not None} | {*labels.values["patient"]}))
    index: dict[str | None, int] = {name: i for i, name in enumerate(patients)}
    of_slide = np.array([index.get(patient, -1) for patient in of_slides], np.int32)
    return (of_slide[locations.slide] if len(of_slide) else np.empty(0, np.int32)), patients


def _conflict_examples(
    locations: TileLocations,
    labels: TaskLabels,
    conflict: NDArray[np.bool_],
    tiles: NDArray[np.int64],
    rows: NDArray[np.int64],
    *,
    multi_label: bool,
) -> tuple[str, ...]:
    return tuple(
        f"{locations.describe(int(tile))}: {labels.contradictions(rows[tiles == tile], multi_label=multi_label)}"
        for tile in np.flatnonzero(conflict)[:EXAMPLES]
    )


def _no_match_reason(locations: TileLocations, labels: TaskLabels) -> str:
    """How many labels there are, where they lie and where the tiles lie, so that a shift can be seen."""
    kinds = ", ".join(f"{len(labels.rows_of(kind))} of kind {kind}" for kind in labels.values["kind"])
    slide = labels.codes_in("slide_id", locations.slides)
    named = [name for name in labels.values["slide_id"] if name is not None]
    shared = np.unique(slide[slide >= 0])
    text = (
        f"task {labels.task!r}: its labels ({kinds}; on {len(named)} slides) hit no tile of collection "
        f"{locations.collection!r}, which has {len(shared)} of these slides"
    )
    if not len(shared):
        labelled_slides = ", ".join(sorted(named)[:3])
        tile_slides = ", ".join(sorted(locations.slides)[:3])
        text += f"; labels are on {labelled_slides or 'no slide'}, tiles on {tile_slides or 'no slide'}"
        if len(labels.rows_of("patient")):
            patients = ", ".join(labels.values["patient"][:3])
            text += f"; patients with labels are {patients}, and none of these slides is known to be theirs"
            return f"{text}; ingest the slides with a list that has the column patient"
        return f"{text}; ingest the slides first"
    box = _label_box(labels, np.flatnonzero(slide == shared[0]))
    if box is None:
        return f"{text}; `embedstore label ls` shows what they are about"
    tiles = np.flatnonzero(locations.slide == shared[0])
    low = locations.xy_l0[tiles].min(axis=0)
    high = (locations.xy_l0[tiles] + locations.edge_l0[tiles, None]).max(axis=0)
    return (
        f"{text}; on {locations.slides[shared[0]]} labels lie in x {box[0]:.0f} to {box[2]:.0f}, y {box[1]:.0f} to "
        f"{box[3]:.0f}, tiles in x {low[0]} to {high[0]}, y {low[1]} to {high[1]} (level-0 pixels); where the one is "
        "shifted against the other, import the file again with another --origin; areas smaller than a tile want "
        "the rule 'overlap' with a small share"
    )


def _label_box(labels: TaskLabels, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """(left, top, right, bottom) of the places of labels, level-0 pixels; None if they have none."""
    areas = shapely.from_wkb(labels.table.column("geometry").take(rows).to_numpy())
    x, y = labels.numbers("x")[rows], labels.numbers("y")[rows]
    edge = np.nan_to_num(labels.numbers("edge_l0")[rows])
    corners = np.concatenate([shapely.bounds(areas), np.stack([x, y, x + edge, y + edge], axis=1)])
    corners = corners[np.isfinite(corners).all(axis=1)]
    return None if not len(corners) else np.concatenate([corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)])
