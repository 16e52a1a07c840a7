"""Examples: labelled tiles, slides or patients of a collection, with the targets of every task and their patients."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import SplitError
from embedstore.labels.task_labels import JOINED
from embedstore.search.filters import slides_where
from embedstore.store import Collection, Store, read_tile_locations
from heads.bags import Bags
from heads.config import FitConfig, SplitConfig
from heads.labelled import Labelled, gather_labelled, join_notes
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
        """Some of the examples, with the classes that occur in them."""
        present = [np.flatnonzero(targets[rows].any(axis=0)) for targets in self.targets]
        return replace(
            self,
            ids=self.ids[rows],
            bags=self.bags.take(rows),
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
    slides = slides_where(store, collection, where)
    locations = read_tile_locations(collection, slides=None if where is None else {row.slide_id for row in slides})
    labelled = gather_labelled(
        store, slides, locations, store.labels.table(columns=JOINED), tasks, level=config.level, join=config.join,
        classes=config.classes, multi_label=config.multi_label,
    )  # fmt: skip
    targets = tuple(task.targets[labelled.rows] for task in labelled.tasks)
    grouped = _split_finely(labelled, targets, config.split) if config.split.group_by == "auto" else None
    grouped = grouped or _split(labelled, targets, config.split)
    notes = (note for task in labelled.tasks for note in join_notes(task))
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
        notes=(*notes, *grouped.notes),
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


def _split(labelled: Labelled, targets: Sequence[NDArray[np.bool_]], config: SplitConfig) -> _Grouped:
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


def _split_finely(labelled: Labelled, targets: Sequence[NDArray[np.bool_]], config: SplitConfig) -> _Grouped:
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
