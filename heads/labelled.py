"""What the labels of some tasks are about in a collection: tiles, slides or patients, with their targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.class_names import alike_note
from embedstore.config import JoinConfig
from embedstore.errors import SplitError
from embedstore.labels import SlideTargets, Targets, TileTargets, join_labels, slide_targets
from embedstore.labels.join import single_values
from embedstore.store import Patients, SlideRow, Store, TileLocations
from embedstore.store.patients import group_by_patient
from embedstore.tile_id import tile_ids
from heads.bags import Bags
from heads.config import SplitConfig
from heads.splitting.split_file import read_split_file


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """The n tiles, slides or patients that at least one task labels.

    Attributes:
        tasks: The targets of each task, of all tiles or bags.
        rows: (n,) index into these of what is labelled.
        ids, bags: As in `Examples`.
        slide, slides: (n,) index of the slide into the ids of slides; of a patient the first slide.
        ready_made: (n,) whether it is a ready-made tile.
        patient, patients: (n,) index of the patient into the names of patients; -1 where unknown.
        slide_columns: The columns of each slide, by its id.
        locations: Where the tiles lie; examples that are tiles are `rows` of it.
        members: The slides of each slide or patient; () of tiles.
    """

    tasks: Sequence[Targets]
    rows: NDArray[np.intp]
    ids: NDArray[np.int64]
    bags: Bags
    slide: NDArray[np.int32]
    slides: Sequence[str]
    ready_made: NDArray[np.bool_]
    patient: NDArray[np.int32]
    patients: tuple[str, ...]
    slide_columns: Mapping[str, Mapping[str, Any]]
    locations: TileLocations
    members: tuple[tuple[str, ...], ...] = ()

    def groups(self, group_by: str) -> tuple[NDArray[np.int32], tuple[str, ...], tuple[str, ...]]:
        """(n,) index of the group that a split keeps together, the names of the groups, and notes.

        The order of groups decides where a split puts those that are alike. It does not depend on that of the table, in
        which slides stand as they were ingested.
        """
        n = len(self.rows)
        if group_by == "tile":
            return np.argsort(np.argsort(self.ids)).astype(np.int32), tuple(map(str, range(n))), ()
        if group_by == "patient":
            groups = group_by_patient(
                self.patient,
                self.patients,
                slide=self.slide,
                slides=self.slides,
                ready_made=self.ready_made,
                things="labelled places",
                consequence="the metrics are too good",
            )
            code, notes = self._joined_by_slides(groups.code)
            return code, groups.names, (*groups.notes, *notes)
        code, names = self.column(group_by)
        if (code < 0).any():
            raise SplitError(
                f"{int((code < 0).sum()):,} of {n:,} labelled places are of slides without {group_by!r}; "
                "expected one for each slide to group by it; give it in the list of slides and ingest again"
            )
        return code, names, ()

    def _joined_by_slides(self, code: NDArray[np.int32]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """Groups by patient, (n,), where the patient that the list of slides names and those that labels name on these
        slides are one; and a note if there are such.

        Else a slide whose labels name its patient otherwise than the list does, or only some of them, would be divided.
        """
        index: dict[str | None, int] = {name: i for i, name in enumerate(self.patients)}
        of_slide = [index.get(self.slide_columns.get(slide, {}).get("patient"), -1) for slide in self.slides]
        example, slide = np.flatnonzero(~self.ready_made), self.slide[~self.ready_made]
        if self.members:
            at = {slide_id: i for i, slide_id in enumerate(self.slides)}
            example = np.repeat(np.arange(len(code)), [len(slides) for slides in self.members])
            slide = np.array([at[slide_id] for slides in self.members for slide_id in slides], np.int32)
        pairs = np.unique(np.stack([code[example], np.array(of_slide, np.int32)[slide]]), axis=1)
        named, listed = pairs[:, (pairs[1] >= 0) & (pairs[0] != pairs[1])]
        if not len(named):
            return code, ()
        from scipy.sparse import coo_array  # 50 ms, which hardly any fit needs
        from scipy.sparse.csgraph import connected_components

        links = coo_array((np.ones(len(named)), (named, listed)), shape=2 * [int(code.max(initial=len(index))) + 1])
        _, component = connected_components(links, directed=False)
        first = np.unique(component, return_index=True)[1].astype(np.int32)
        note = (
            f"labels name another patient than the list of slides does, such as {self.patients[named[0]]!r} and "
            f"{self.patients[listed[0]]!r}; these count as one patient"
        )
        return first[component[code]], (note,)

    def split_values(self, split: SplitConfig) -> tuple[NDArray[np.int32] | None, tuple[str, ...], tuple[str, ...]]:
        """`values` and `value_names` for `make_split`, and notes."""
        if split.kind == "column":
            return *self.column(split.column or ""), ()
        if split.kind == "given":
            return *self._given_parts(), ()
        if split.kind == "file":
            file = read_split_file(split.file or "")
            by_slide = file.by == "slide_id"
            return file.place(self.slide, self.slides) if by_slide else file.place(self.patient, self.patients)
        return None, (), ()

    def column(self, name: str) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """A column of the slides: (n,) index into its values, -1 where a slide has none; and the values, sorted."""
        if name == "slide_id":
            order = np.argsort(self.slides)
            return np.argsort(order).astype(np.int32)[self.slide], tuple(self.slides[i] for i in order)
        columns = sorted({column for row in self.slide_columns.values() for column in row})
        if name not in columns:
            raise SplitError(f"slides have no column {name!r}; they have {', '.join(columns)}")
        values = [self.slide_columns.get(slide, {}).get(name) for slide in self.slides]
        index = {value: i for i, value in enumerate(sorted({str(v) for v in values if v is not None}))}
        code = np.array([-1 if value is None else index[str(value)] for value in values], np.int32)
        return code[self.slide], tuple(index)

    def _given_parts(self) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """(n,) index into the names of the parts or folds that the labels give, -1 where they give none."""
        index: dict[str, int] = {}
        code = np.full(len(self.rows), -1, np.int32)
        for task in self.tasks:
            code_of = np.array([index.setdefault(name, len(index)) for name in task.split_names] + [-1], np.int32)
            task_code = code_of[task.split[self.rows].astype(np.int64)]
            differ = (code >= 0) & (task_code >= 0) & (code != task_code)
            if differ.any():
                raise SplitError(
                    f"{int(differ.sum()):,} places are in one given split by task {task.task!r} and in another by an "
                    "earlier task; fit these tasks one by one, or pass --split kfold"
                )
            code = np.where(code >= 0, code, task_code)
        return code, tuple(index)


def gather_labelled(
    store: Store,
    slide_rows: Sequence[SlideRow],
    locations: TileLocations,
    labels: pa.Table,
    tasks: Sequence[str],
    *,
    level: Literal["tile", "slide", "patient"],
    join: JoinConfig,
    classes: Sequence[str] | None,
    multi_label: bool,
    min_classes: int | None = None,
) -> Labelled:
    """Join the labels of some tasks with the tiles of a collection, or their slides or patients.

    Args:
        slide_rows: The slides in question.
        locations: Where their tiles lie.
        labels: Rows of a table of labels, of these tasks and perhaps others.
        level, join, classes, multi_label: As of `FitConfig`.
        min_classes: As of `join_labels`.
    Raises:
        TaskNotFoundError, LabelError: see `join_labels` and `slide_targets`.
    """
    slide_columns = {slide.slide_id: slide.as_record() for slide in slide_rows}
    patients = {slide.slide_id: slide.patient for slide in slide_rows}
    if level == "tile":
        tile_targets = [
            join_labels(
                locations, labels, patients, task=task, config=join, classes=classes, multi_label=multi_label,
                min_classes=min_classes,
            )
            for task in tasks
        ]  # fmt: skip
        return _labelled_tiles(tile_targets, locations, Patients(store), slide_columns)
    bag_targets = [
        slide_targets(
            patients, labels, task=task, level=level, slides=locations.slides, classes=classes,
            multi_label=multi_label, min_classes=min_classes,
        )
        for task in tasks
    ]  # fmt: skip
    return _labelled_bags(bag_targets, locations, slide_columns)


def _labelled_tiles(
    tasks: Sequence[TileTargets],
    locations: TileLocations,
    store_patients: Patients,
    slide_columns: Mapping[str, Mapping[str, Any]],
) -> Labelled:
    rows = np.flatnonzero(np.any([task.labelled for task in tasks], axis=0))
    patient, patients = _labelled_patients(tasks, rows)
    unknown = np.flatnonzero(patient < 0)
    if locations.names is not None and len(unknown):  # labels of other tasks may name the patient of a ready-made tile
        store_patient, store_names = store_patients.of_tiles(locations, rows[unknown])
        index = {name: i for i, name in enumerate(dict.fromkeys((*patients, *store_names)))}
        patient[unknown] = np.array([*(index[name] for name in store_names), -1], np.int32)[store_patient]
        patients = tuple(index)
    patient = _of_whole_slides(patient, locations.slide[rows], locations.is_ready_made[rows])
    return Labelled(
        tasks=tasks,
        rows=rows,
        ids=locations.tile_id[rows],
        bags=Bags.single(locations.row[rows]),
        slide=locations.slide[rows],
        slides=locations.slides,
        ready_made=locations.is_ready_made[rows],
        patient=patient,
        patients=patients,
        slide_columns=slide_columns,
        locations=locations,
    )


def _labelled_bags(
    tasks: Sequence[SlideTargets], locations: TileLocations, slide_columns: Mapping[str, Mapping[str, Any]]
) -> Labelled:
    """Slides or patients, which are the same for all tasks."""
    rows = np.flatnonzero(np.any([task.labelled for task in tasks], axis=0))
    bags = tasks[0]
    patient, patients = _labelled_patients(tasks, rows)
    members = tuple(bags.slides[i] for i in rows)
    slides = sorted({slide for of_bag in members for slide in of_bag})
    index = {slide: i for i, slide in enumerate(slides)}
    return Labelled(
        tasks=tasks,
        rows=rows,
        ids=tile_ids(bags.level, [bags.ids[i] for i in rows]),
        bags=Bags.of_slides(locations, members),
        slide=np.array([index[of_bag[0]] for of_bag in members], np.int32),
        slides=slides,
        ready_made=np.zeros(len(rows), bool),
        patient=patient,
        patients=patients,
        slide_columns=slide_columns,
        locations=locations,
        members=members,
    )


def _labelled_patients(tasks: Sequence[Targets], rows: NDArray[np.intp]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Index of the patient by the first task that knows it, -1 where none does; and the names of patients."""
    index: dict[str, int] = {}
    code = np.full(len(rows), -1, np.int32)
    for task in tasks:
        code_of = np.array([index.setdefault(name, len(index)) for name in task.patients] + [-1], np.int32)
        code = np.where(code >= 0, code, code_of[task.patient[rows]])
    return code, tuple(index)


def _of_whole_slides(
    patient: NDArray[np.int32], slide: NDArray[np.int32], ready_made: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """The patients (n,) of tiles, -1 where unknown: where other tiles of the slide are of one patient, that one.

    Labels of some tiles of a slide may name its patient, and those of others not. A folder of ready-made tiles is no
    slide.
    """
    rows = np.flatnonzero(~ready_made)
    only, _ = single_values(int(slide.max(initial=-1)) + 1, slide[rows].astype(np.int64), patient[rows])
    filled = patient.copy()
    filled[rows] = np.where(patient[rows] < 0, only[slide[rows]], patient[rows])
    return filled


def join_notes(task: Targets) -> list[str]:
    """What the user should know of the labels of a task."""
    notes = []
    if task.conflicts:
        notes.append(
            f"task {task.task!r}: {task.conflicts:,} place(s) are left out, as their labels contradict each other: "
            f"{'; '.join(task.conflict_examples)}"
        )
    if task.weak:
        notes.append(f"task {task.task!r}: {task.weak:,} place(s) have the label of their whole slide or patient")
    if task.missed:
        notes.append(f"task {task.task!r}: no place is of {', '.join(task.missed)}, which labels name")
    if isinstance(task, SlideTargets) and task.without_patient:
        notes.append(f"task {task.task!r}: {task.without_patient:,} slide(s) of no known patient are left out")
    notes += [f"task {task.task!r}: {note}" for note in alike_note(task.classes)]
    return notes
