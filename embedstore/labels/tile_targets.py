"""The targets of tiles: what the labels of a task say of each tile of a collection."""

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
from embedstore.labels.task_labels import TaskLabels, candidate_classes, classes_with_targets, task_labels
from embedstore.store.tile_locations import TileLocations

EXAMPLES = 5  # conflicts that are described one by one
KINDS = ("tile", "point", "area", "rest", "slide", "patient")


@dataclass(frozen=True, kw_only=True, eq=False)
class TileTargets:
    """What the labels of a task say of each of n tiles.

    Attributes:
        task: The task.
        classes: The K classes that tiles are of.
        targets: (n, K) bool.
        labelled: (n,) bool; False where no label of a class says anything, and where labels contradict each other.
        split: (n,) int8 index into `split_names`, -1 where the labels give none.
        split_names: As the labels have them.
        patient: (n,) int32 index into `patients`, -1 where unknown; a label's own patient wins over the slide's.
        patients: Names of the patients.
        conflicts: Tiles that are left out because their labels contradict each other.
        conflict_examples: A few of them.
        weak: Tiles that have their answer from a label of the whole slide or patient.
        ignored: Labels of classes that were not asked for.
        missed: Classes that labels name and no tile is of.
    """

    task: str
    classes: tuple[str, ...]
    targets: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    split: NDArray[np.int8]
    split_names: tuple[str, ...]
    patient: NDArray[np.int32]
    patients: tuple[str, ...]
    conflicts: int
    conflict_examples: tuple[str, ...]
    weak: int
    ignored: int
    missed: tuple[str, ...]


def join_labels(
    places: TileLocations,
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

    A tile's label is the tile's by its file's name or by the same place; at another place it is an area, a square. A
    point is about the tiles that hold it; an area about the tiles that lie in it by the rule. `rest` is about the tiles
    of its area, or slide, that none of these is about, whatever their class. A slide's label is about its tiles that
    have no other, a patient's about those that have not even that.

    A tile with two classes, two splits or two patients is left out and counted; with `multi_label` classes add up, and
    a rest label says that a tile is of none.

    Args:
        places: Where the tiles lie.
        labels: Rows of the table of labels (`Labels.table`), of this task and perhaps others.
        patients: {slide: its patient}, as `Ledger.patients` gives them.
        task: The task.
        config: When a tile lies in an area.
        classes: The classes in order; those that tiles are of, sorted, when None. Labels of others are ignored.
        multi_label: A tile may be of several classes.
        min_classes: How many classes tiles must be of; what a head needs when None, two or with `multi_label` one.
            With 0 labels may hit no tile at all.
    Raises:
        TaskNotFoundError: no label is of the task.
        LabelError: an unknown class; no tile is hit; fewer than `min_classes` are left.
    """
    own = task_labels(labels, task)
    candidates = candidate_classes(own, classes, multi_label=multi_label, kinds=KINDS)
    code = own.codes_in("label", candidates)
    rest = own.rows_of("rest") if multi_label else np.empty(0, np.int64)
    code[rest] = -1
    slide_patient, patient_names = _patients(places, own, patients)
    pairs, weak_pairs, patient = match_labels(places, own, config, slide_patient, patient_names)
    tiles, rows = concatenate([pairs, weak_pairs])
    if not len(tiles) and min_classes != 0:
        raise LabelError(_why_no_hit(places, own))

    n = len(places)
    targets = np.zeros((n, len(candidates)), bool)
    named = code[rows] >= 0
    targets[tiles[named], code[rows[named]]] = True
    labelled: NDArray[np.bool_] = np.asarray(targets.any(axis=1))
    wanted = named | np.isin(rows, rest)
    labelled[tiles[wanted]] = True
    split, split_clash = single_values(n, tiles[wanted], own.codes["split"][rows[wanted]])
    own_patient, patient_clash = single_values(n, tiles[wanted], own.codes_in("patient", patient_names)[rows[wanted]])
    clash = split_clash | patient_clash
    if not multi_label:
        clash |= targets.sum(axis=1) > 1
    clash &= labelled
    examples = _conflict_examples(places, own, clash, tiles[wanted], rows[wanted], multi_label=multi_label)
    labelled &= ~clash
    targets[~labelled] = False

    kept = classes_with_targets(
        own,
        candidates,
        targets.sum(axis=0),
        conflicts=int(clash.sum()),
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
        split=np.where(labelled, split, -1).astype(np.int8),
        split_names=own.values["split"],
        patient=np.where(own_patient >= 0, own_patient, patient).astype(np.int32),
        patients=patient_names,
        conflicts=int(clash.sum()),
        conflict_examples=examples,
        weak=int((weak & labelled).sum()),
        ignored=int(np.isin(np.flatnonzero(code < 0), rest, invert=True).sum()),
        missed=tuple(name for name in candidates if name not in kept),
    )


def _patients(
    places: TileLocations, labels: TaskLabels, patient_of: Mapping[str, str | None]
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """(tile's patient by its slide, -1 where unknown), and the names of all patients."""
    known = {slide: patient for slide, patient in patient_of.items() if patient is not None}
    patients = tuple(sorted({known[slide] for slide in places.slides if slide in known} | {*labels.values["patient"]}))
    index = {name: i for i, name in enumerate(patients)}
    of_slide = np.array([index[known[slide]] if slide in known else -1 for slide in places.slides], np.int32)
    return (of_slide[places.slide] if len(of_slide) else np.empty(0, np.int32)), patients


def _conflict_examples(
    places: TileLocations,
    labels: TaskLabels,
    clash: NDArray[np.bool_],
    tiles: NDArray[np.int64],
    rows: NDArray[np.int64],
    *,
    multi_label: bool,
) -> tuple[str, ...]:
    columns = [("split", "split "), ("patient", "patient ")]
    if not multi_label:
        columns.insert(0, ("label", ""))
    examples = []
    for tile in np.flatnonzero(clash)[:EXAMPLES]:
        rows_of_tile = rows[tiles == tile]
        contradictions = []
        for column, noun in columns:
            codes = np.unique(labels.codes[column][rows_of_tile])
            names = [labels.values[column][i] for i in codes if i >= 0]
            if len(names) > 1:
                contradictions.append(noun + " and ".join(names))
        examples.append(f"{places.describe(int(tile))}: {'; '.join(contradictions)}")
    return tuple(examples)


def _why_no_hit(places: TileLocations, labels: TaskLabels) -> str:
    """How many labels there are, where they lie and where the tiles do, so that a drift is seen."""
    kinds = ", ".join(f"{len(labels.rows_of(kind))} of kind {kind}" for kind in labels.values["kind"])
    slide = labels.codes_in("slide_id", places.slides)
    named = [name for name in labels.values["slide_id"] if name is not None]
    there = np.unique(slide[slide >= 0])
    text = (
        f"task {labels.task!r}: its labels ({kinds}; on {len(named)} slides) hit no tile of collection "
        f"{places.collection!r}, which has {len(there)} of these slides"
    )
    if not len(there):
        close = ", ".join(sorted(named)[:3])
        theirs = ", ".join(sorted(places.slides)[:3])
        text += f"; labels are on {close or 'no slide'}, tiles on {theirs or 'no slide'}"
        if len(labels.rows_of("patient")):
            named = list(labels.values["patient"])
            text += f"; patients with labels are {', '.join(named[:3])}, and none of these slides is known to be theirs"
            return f"{text}; ingest the slides with a list that has the column patient"
        return f"{text}; ingest the slides first"
    box = _label_box(labels, np.flatnonzero(slide == there[0]))
    if box is None:
        return f"{text}; `embedstore label ls` shows what they are about"
    tiles = np.flatnonzero(places.slide == there[0])
    low = places.xy_l0[tiles].min(axis=0)
    high = (places.xy_l0[tiles] + places.edge_l0[tiles, None]).max(axis=0)
    return (
        f"{text}; on {places.slides[there[0]]} labels lie in x {box[0]:.0f} to {box[2]:.0f}, y {box[1]:.0f} to "
        f"{box[3]:.0f}, tiles in x {low[0]} to {high[0]}, y {low[1]} to {high[1]} (level-0 pixels); where the one is "
        "shifted against the other, import the file again with another --origin; areas smaller than a tile want "
        "the rule 'overlap' with a small share"
    )


def _label_box(labels: TaskLabels, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """(left, top, right, bottom) of what is drawn, level-0 pixels."""
    areas = shapely.from_wkb(labels.table.column("geometry").take(rows).to_numpy())
    x, y = labels.numbers("x")[rows], labels.numbers("y")[rows]
    edge = np.nan_to_num(labels.numbers("edge_l0")[rows])
    corners = np.concatenate([shapely.bounds(areas), np.stack([x, y, x + edge, y + edge], axis=1)])
    corners = corners[np.isfinite(corners).all(axis=1)]
    return None if not len(corners) else np.concatenate([corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)])
