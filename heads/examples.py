"""Examples: labelled tiles, slides or patients of a collection, with the targets of every task and their patients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.class_names import alike_note
from embedstore.errors import SplitError
from embedstore.labels import SlideTargets, Targets, TileTargets, join_labels, slide_targets
from embedstore.search.filters import slides_where
from embedstore.store import Collection, Patients, Store, TileLocations, read_tile_locations
from embedstore.store.patients import group_by_patient
from embedstore.tile_id import tile_ids
from heads.bags import Bags
from heads.config import FitConfig, SplitConfig
from heads.splitting.split_file import read_split_file
from heads.splitting.splits import Split, make_split

#: What `auto` keeps together, the best first, and what metrics then are.
AUTO_GROUPS = {
    "patient": "metrics are those on new patients",
    "slide_id": "metrics are measured on other slides of the same patients, and are better than on new patients",
    "tile": "metrics are measured on other tiles of the same slides, and are better than on new slides",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """n labelled tiles, slides or patients, with their targets in T tasks.

    Attributes:
        version: Version of the collection's table.
        ids: (n,) int64 id of each tile (`tile_id`), slide or patient.
        bags: Rows of the table that each example consists of, ascending; one row each where examples are tiles.
        tasks, classes: Names of the tasks, and of the classes of each task.
        targets: For each task (n, classes) bool.
        known: For each task (n,) bool: whether the task labels the example.
        group: (n,) int32 index into `group_names`; a split keeps examples of a group together.
        group_by: What groups are: `SplitConfig.group_by`, but never `auto`.
        split: Which part each example is in, fold by fold.
        notes: What the user should know.
    """

    version: int
    ids: NDArray[np.int64]
    bags: Bags
    tasks: tuple[str, ...]
    classes: tuple[tuple[str, ...], ...]
    targets: tuple[NDArray[np.bool_], ...]
    known: tuple[NDArray[np.bool_], ...]
    group: NDArray[np.int32]
    group_names: tuple[str, ...]
    split: Split
    group_by: str = "patient"
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.intp]) -> "Examples":
        """The examples of some rows, with the classes that occur in them; examples are tiles."""
        present = [np.flatnonzero(targets[rows].any(axis=0)) for targets in self.targets]
        return replace(
            self,
            ids=self.ids[rows],
            bags=Bags.single(self.bags.rows[rows]),
            classes=tuple(tuple(names[k] for k in kept) for names, kept in zip(self.classes, present, strict=True)),
            targets=tuple(targets[rows][:, kept] for targets, kept in zip(self.targets, present, strict=True)),
            known=tuple(known[rows] for known in self.known),
            group=self.group[rows],
            split=Split(parts=self.split.parts[:, rows], names=self.split.names, notes=self.split.notes),
        )


def gather_examples(
    store: Store, collection: Collection, tasks: Sequence[str], config: FitConfig, where: str | None = None
) -> Examples:
    """Join the labels of some tasks with a collection, and split the labelled examples.

    Args:
        where: Only slides that fulfil this condition, see `select_slides`; all when None.
    Raises:
        ConfigError, SlideNotInStoreError: `where` is not a valid condition on slides, or true for none.
        TaskNotFoundError, LabelError, SplitError: see `join_labels`, `slide_targets` and `make_split`.
    """
    slide_rows = slides_where(store, collection, where)
    slide_columns = {slide.slide_id: slide.as_record() for slide in slide_rows}
    patients = {slide.slide_id: slide.patient for slide in slide_rows}
    locations = read_tile_locations(collection, slides=None if where is None else patients.keys())
    labels = store.labels.table()
    if config.level == "tile":
        tile_targets = [
            join_labels(
                locations, labels, patients,
                task=task, config=config.join, classes=config.classes, multi_label=config.multi_label,
            )
            for task in tasks
        ]  # fmt: skip
        labelled = _labelled_tiles(tile_targets, locations, Patients(store), slide_columns)
    else:
        bag_targets = [
            slide_targets(
                patients, labels, task=task, level=config.level, slides=locations.slides,
                classes=config.classes, multi_label=config.multi_label,
            )
            for task in tasks
        ]  # fmt: skip
        labelled = _labelled_bags(bag_targets, locations, slide_columns)

    targets = tuple(task.targets[labelled.rows] for task in labelled.tasks)
    grouped = _split_finely(labelled, targets, config.split) if config.split.group_by == "auto" else None
    grouped = grouped or _split(labelled, targets, config.split)
    join_notes = (note for task in labelled.tasks for note in _join_notes(task))
    return Examples(
        version=locations.version,
        ids=labelled.ids,
        bags=labelled.bags,
        tasks=tuple(tasks),
        classes=tuple(task.classes for task in labelled.tasks),
        targets=targets,
        known=tuple(task.labelled[labelled.rows] for task in labelled.tasks),
        group=grouped.group,
        group_names=grouped.names,
        group_by=grouped.by,
        split=grouped.split,
        notes=(*join_notes, *grouped.notes),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Grouped:
    """A split of what is labelled, and the groups that it keeps together.

    Attributes:
        by: As `SplitConfig.group_by`, but never `auto`.
        group, names: As in `Examples`.
    """

    by: str
    group: NDArray[np.int32]
    names: tuple[str, ...]
    split: Split
    notes: tuple[str, ...]


def _split(labelled: "_Labelled", targets: Sequence[NDArray[np.bool_]], config: SplitConfig) -> _Grouped:
    group, names, group_notes = labelled.groups(config.group_by)
    values, value_names, value_notes = labelled.split_values(config)
    several = len(labelled.tasks) > 1
    columns = [f"{t.task}: {label}" if several else label for t in labelled.tasks for label in t.classes]
    split = make_split(
        config, groups=group, strata=np.concatenate(targets, axis=1), classes=columns,
        values=values, value_names=value_names, group_names=names,
    )  # fmt: skip
    notes = (*group_notes, *value_notes, *split.notes)
    return _Grouped(by=config.group_by, group=group, names=names, split=split, notes=notes)


def _split_finely(labelled: "_Labelled", targets: Sequence[NDArray[np.bool_]], config: SplitConfig) -> _Grouped:
    """Split by patients; where they cannot be divided, by slides, or else by tiles, with a note that says so.

    Raises:
        SplitError: not even tiles can be divided.
    """
    too_few: list[str] = []
    for by, consequence in AUTO_GROUPS.items():
        try:
            grouped = _split(labelled, targets, replace(config, group_by=by))
        except SplitError as error:
            if by == [*AUTO_GROUPS][-1]:
                raise
            too_few.append(str(error))
            continue
        if not too_few:
            return grouped
        note = f"{consequence}; patients cannot be kept apart yet: {too_few[0]}"
        return replace(grouped, notes=(note, *grouped.notes))
    raise AssertionError


@dataclass(frozen=True, kw_only=True, eq=False)
class _Labelled:
    """The n tiles, slides or patients that at least one task labels.

    Attributes:
        tasks: The targets of each task, of all tiles or bags.
        rows: (n,) index into these of what is labelled.
        ids, bags: As in `Examples`.
        slide, slides: (n,) index of the slide into the ids of slides; of a patient the first slide.
        ready_made: (n,) whether it is a ready-made tile.
        patient, patients: (n,) index of the patient into the names of patients; -1 where unknown.
        slide_columns: The columns of each slide, by its id.
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

    def groups(self, group_by: str) -> tuple[NDArray[np.int32], tuple[str, ...], tuple[str, ...]]:
        """(n,) index of the group that a split keeps together, the names of the groups, and notes."""
        n = len(self.rows)
        if group_by == "tile":
            return np.arange(n, dtype=np.int32), tuple(map(str, range(n))), ()
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
            return groups.code, groups.names, groups.notes
        code, names = self.column(group_by)
        if (code < 0).any():
            raise SplitError(
                f"{int((code < 0).sum()):,} of {n:,} labelled places are of slides without {group_by!r}; "
                "expected one for each slide to group by it; give it in the list of slides and ingest again"
            )
        return code, names, ()

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
        """A column of the slides: (n,) index into its values, -1 where a slide has none; and the values."""
        if name == "slide_id":
            return self.slide, tuple(self.slides)
        columns = sorted({column for row in self.slide_columns.values() for column in row})
        if name not in columns:
            raise SplitError(f"slides have no column {name!r}; they have {', '.join(columns)}")
        values = [self.slide_columns.get(slide, {}).get(name) for slide in self.slides]
        index = {value: i for i, value in enumerate(dict.fromkeys(str(v) for v in values if v is not None))}
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


def _labelled_tiles(
    tasks: Sequence[TileTargets],
    locations: TileLocations,
    store_patients: Patients,
    slide_columns: Mapping[str, Mapping[str, Any]],
) -> _Labelled:
    rows = np.flatnonzero(np.any([task.labelled for task in tasks], axis=0))
    patient, patients = _labelled_patients(tasks, rows)
    unknown = np.flatnonzero(patient < 0)
    if locations.names is not None and len(unknown):  # labels of other tasks may name the patient of a ready-made tile
        store_patient, store_names = store_patients.of_tiles(locations, rows[unknown])
        index = {name: i for i, name in enumerate(dict.fromkeys((*patients, *store_names)))}
        patient[unknown] = np.array([*(index[name] for name in store_names), -1], np.int32)[store_patient]
        patients = tuple(index)
    return _Labelled(
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
    )


def _labelled_bags(
    tasks: Sequence[SlideTargets], locations: TileLocations, slide_columns: Mapping[str, Mapping[str, Any]]
) -> _Labelled:
    """Slides or patients, which are the same for all tasks."""
    rows = np.flatnonzero(np.any([task.labelled for task in tasks], axis=0))
    bags = tasks[0]
    patient, patients = _labelled_patients(tasks, rows)
    slides = sorted({slide for of_bag in bags.slides for slide in of_bag})
    index = {slide: i for i, slide in enumerate(slides)}
    return _Labelled(
        tasks=tasks,
        rows=rows,
        ids=tile_ids(bags.level, [bags.ids[i] for i in rows]),
        bags=Bags.of_slides(locations, [bags.slides[i] for i in rows]),
        slide=np.array([index[bags.slides[i][0]] for i in rows], np.int32),
        slides=slides,
        ready_made=np.zeros(len(rows), bool),
        patient=patient,
        patients=patients,
        slide_columns=slide_columns,
    )


def _labelled_patients(tasks: Sequence[Targets], rows: NDArray[np.intp]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Index of the patient by the first task that knows it, -1 where none does; and the names of patients."""
    index: dict[str, int] = {}
    code = np.full(len(rows), -1, np.int32)
    for task in tasks:
        code_of = np.array([index.setdefault(name, len(index)) for name in task.patients] + [-1], np.int32)
        code = np.where(code >= 0, code, code_of[task.patient[rows]])
    return code, tuple(index)


def _join_notes(task: Targets) -> list[str]:
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
