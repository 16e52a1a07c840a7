"""Examples: labelled tiles, slides or patients of a collection, with the targets of every task and their patients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import LabelError, SplitError
from embedstore.labels import SlideTargets, join_labels, slide_targets
from embedstore.store import Collection, Patients, SlideRow, Store, TileLocations, read_tile_locations
from embedstore.store.patients import group_by_patient
from embedstore.tile_id import tile_ids
from heads.bags import Bags
from heads.config import FitConfig, SplitConfig
from heads.splitting.split_file import read_split_file
from heads.splitting.splits import Split, make_split


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """n labelled places, and what T tasks say of them.

    Attributes:
        version: Of the collection's table.
        ids: (n,) int64: `tile_id`, or the like of a slide or patient.
        bags: Rows of the table of each example, ascending; one row each where examples are tiles.
        tasks, classes: Names of the tasks, and of each task's classes.
        targets: (n, classes) bool of each task.
        known: (n,) bool of each task.
        group: (n,) int32 index into `group_names`; a split keeps rows of a group together.
        notes: What the user should know.
    """

    version: int
    ids: NDArray[np.int64]
    bags: "Bags"
    tasks: tuple[str, ...]
    classes: tuple[tuple[str, ...], ...]
    targets: tuple[NDArray[np.bool_], ...]
    known: tuple[NDArray[np.bool_], ...]
    group: NDArray[np.int32]
    group_names: tuple[str, ...]
    split: Split
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


def gather_examples(
    store: Store, collection: Collection, tasks: Sequence[str], config: FitConfig, where: str | None = None
) -> Examples:
    """Join the labels of some tasks with a collection, and part the result.

    Args:
        where: SQL over the slides' columns; only slides that it holds for. All when None.
    Raises:
        TaskNotFoundError, LabelError, SplitError: see `join_labels`, `slide_targets` and `make_split`.
    """
    slide_rows = store.ledger.slides(where=where)
    patients = {slide.slide_id: slide.patient for slide in slide_rows}
    if where is not None and not slide_rows:
        raise LabelError(f"no slide of {store.uri} is such that {where}; `embedstore status` lists the slides")
    slides = None if where is None else patients.keys()
    places = read_tile_locations(collection, slides=slides)
    labels = store.labels.table()
    described: _Described
    answers: Sequence[Any]
    if config.level == "tile":
        answers = [
            join_labels(
                places, labels, patients,
                task=task, config=config.join, classes=config.classes, multi_label=config.multi_label,
            )
            for task in tasks
        ]  # fmt: skip
        described = _Tiles(places, answers, slide_rows, Patients(store))
    else:
        answers = [
            slide_targets(
                patients, labels, task=task, level=config.level, slides=places.slides,
                classes=config.classes, multi_label=config.multi_label,
            )
            for task in tasks
        ]  # fmt: skip
        described = _Entries(places, answers, slide_rows)
    labelled = np.flatnonzero(np.any([answer.labelled for answer in answers], axis=0))
    group, group_names, notes = described.groups(labelled, config.split.group_by)
    targets = tuple(answer.targets[labelled] for answer in answers)
    known = tuple(answer.labelled[labelled] for answer in answers)
    names = [f"{task}: {c}" if len(tasks) > 1 else c for task, a in zip(tasks, answers, strict=True) for c in a.classes]
    values, value_names, split_notes = described.values(labelled, config.split)
    split = make_split(
        config.split, groups=group, strata=np.concatenate(targets, axis=1), classes=names,
        values=values, value_names=value_names, group_names=group_names,
    )  # fmt: skip
    return Examples(
        version=places.version,
        ids=described.ids(labelled),
        bags=described.bags(labelled),
        tasks=tuple(tasks),
        classes=tuple(answer.classes for answer in answers),
        targets=targets,
        known=known,
        group=group,
        group_names=group_names,
        split=split,
        notes=(*(note for answer in answers for note in _what_was_left(answer)), *notes, *split_notes, *split.notes),
    )


def _what_was_left(answer: Any) -> list[str]:
    notes = []
    if answer.conflicts:
        notes.append(
            f"task {answer.task!r}: {answer.conflicts:,} place(s) are left out, as their labels contradict each other: "
            f"{'; '.join(answer.conflict_examples)}"
        )
    if answer.weak:
        notes.append(f"task {answer.task!r}: {answer.weak:,} place(s) have the label of their whole slide or patient")
    if answer.missed:
        notes.append(f"task {answer.task!r}: no place is of {', '.join(answer.missed)}, which labels name")
    if getattr(answer, "without_patient", 0):
        notes.append(f"task {answer.task!r}: {answer.without_patient:,} slide(s) of no known patient are left out")
    return notes


class _Described:
    """What tiles and whole slides share: who an example is of."""

    def __init__(self, answers: Sequence[Any], slide_rows: Sequence[SlideRow]):
        self._answers = answers
        self._slide = {slide.slide_id: slide.as_record() for slide in slide_rows}
        self.slide_names: Sequence[str] = ()

    def slide_of(self, labelled: NDArray[np.intp]) -> NDArray[np.int32]:
        """Index into `slide_names` of each example."""
        raise NotImplementedError

    def ids(self, labelled: NDArray[np.intp]) -> NDArray[np.int64]:
        raise NotImplementedError

    def bags(self, labelled: NDArray[np.intp]) -> Bags:
        raise NotImplementedError

    def ready_made(self, labelled: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether each example is a ready-made tile."""
        return np.zeros(len(labelled), bool)

    def patients(self, labelled: NDArray[np.intp]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """Patient of each example, by the first task that knows it; -1 where none does."""
        names: dict[str, int] = {}
        code = np.full(len(labelled), -1, np.int32)
        for answer in self._answers:
            table = np.array([names.setdefault(name, len(names)) for name in answer.patients] + [-1], np.int32)
            code = np.where(code >= 0, code, table[answer.patient[labelled]])
        return code, tuple(names)

    def groups(
        self, labelled: NDArray[np.intp], group_by: str
    ) -> tuple[NDArray[np.int32], tuple[str, ...], tuple[str, ...]]:
        if group_by == "tile":
            return np.arange(len(labelled), dtype=np.int32), tuple(map(str, range(len(labelled)))), ()
        if group_by != "patient":
            code, names = self.column(labelled, group_by)
            if (code < 0).any():
                raise SplitError(
                    f"{int((code < 0).sum()):,} of {len(code):,} labelled places are of slides without {group_by!r}; "
                    "expected one for each slide to group by it; give it in the list of slides and ingest again"
                )
            return code, names, ()
        patient, patients = self.patients(labelled)
        groups = group_by_patient(
            patient,
            patients,
            slide=self.slide_of(labelled),
            slides=self.slide_names,
            ready_made=self.ready_made(labelled),
            things="labelled places",
            consequence="the metrics are too good",
        )
        return groups.code, groups.names, groups.notes

    def column(self, labelled: NDArray[np.intp], name: str) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """A column of the slides, as codes into its values; -1 where a slide has none."""
        if name == "slide_id":
            return self.slide_of(labelled), tuple(self.slide_names)
        columns = sorted({column for row in self._slide.values() for column in row})
        if name not in columns:
            raise SplitError(f"slides have no column {name!r}; they have {', '.join(columns)}")
        values: dict[str, int] = {}
        of_slide = []
        for slide in self.slide_names:
            value = self._slide.get(slide, {}).get(name)
            of_slide.append(-1 if value is None else values.setdefault(str(value), len(values)))
        return np.array(of_slide, np.int32)[self.slide_of(labelled)], tuple(values)

    def values(
        self, labelled: NDArray[np.intp], split: SplitConfig
    ) -> tuple[NDArray[np.int32] | None, tuple[str, ...], tuple[str, ...]]:
        """What `make_split` takes as values, their names, and notes."""
        if split.kind == "column":
            return *self.column(labelled, split.column or ""), ()
        if split.kind == "given":
            return *self._given(labelled), ()
        if split.kind == "file":
            given = read_split_file(split.file or "")
            if given.by == "slide_id":
                return given.place(self.slide_of(labelled), tuple(self.slide_names))
            return given.place(*self.patients(labelled))
        return None, (), ()

    def _given(self, labelled: NDArray[np.intp]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        names: dict[str, int] = {}
        code = np.full(len(labelled), -1, np.int32)
        for answer in self._answers:
            table = np.array([names.setdefault(name, len(names)) for name in answer.split_names] + [-1], np.int32)
            mine = table[answer.split[labelled].astype(np.int64)]
            differ = (code >= 0) & (mine >= 0) & (code != mine)
            if differ.any():
                raise SplitError(
                    f"{int(differ.sum()):,} places are in one given split by task {answer.task!r} and in another by an "
                    "earlier task; fit these tasks one by one, or pass --split kfold"
                )
            code = np.where(code >= 0, code, mine)
        return code, tuple(names)


class _Tiles(_Described):
    def __init__(
        self,
        places: TileLocations,
        answers: Sequence[Any],
        slide_rows: Sequence[SlideRow],
        patients: Patients,
    ):
        super().__init__(answers, slide_rows)
        self._places, self.slide_names, self._patients = places, places.slides, patients

    def slide_of(self, labelled: NDArray[np.intp]) -> NDArray[np.int32]:
        return self._places.slide[labelled]

    def ids(self, labelled: NDArray[np.intp]) -> NDArray[np.int64]:
        return self._places.tile_id[labelled]

    def bags(self, labelled: NDArray[np.intp]) -> Bags:
        return Bags.single(self._places.row[labelled])

    def ready_made(self, labelled: NDArray[np.intp]) -> NDArray[np.bool_]:
        return self._places.is_ready_made[labelled]

    def patients(self, labelled: NDArray[np.intp]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        """As the labels of these tasks have it; of ready-made tiles also as those of other tasks do."""
        patient, names = super().patients(labelled)
        unknown = np.flatnonzero(patient < 0)
        if self._places.names is None or not len(unknown):
            return patient, names
        others, other_names = self._patients.of_tiles(self._places, labelled[unknown])
        index = {name: i for i, name in enumerate(dict.fromkeys((*names, *other_names)))}
        patient[unknown] = np.array([*(index[name] for name in other_names), -1], np.int32)[others]
        return patient, tuple(index)


class _Entries(_Described):
    def __init__(self, places: TileLocations, answers: Sequence[SlideTargets], slide_rows: Sequence[SlideRow]):
        super().__init__(answers, slide_rows)
        self._entry = answers[0]
        self.slide_names = sorted({slide for slides in self._entry.slides for slide in slides})
        self._places = places

    def slide_of(self, labelled: NDArray[np.intp]) -> NDArray[np.int32]:
        code = {slide: i for i, slide in enumerate(self.slide_names)}
        return np.array([code[self._entry.slides[i][0]] for i in labelled], np.int32)

    def ids(self, labelled: NDArray[np.intp]) -> NDArray[np.int64]:
        return tile_ids(self._entry.level, [self._entry.ids[i] for i in labelled])

    def bags(self, labelled: NDArray[np.intp]) -> Bags:
        return Bags.of_slides(self._places, [self._entry.slides[i] for i in labelled])
