"""The labels of one task, as the columns that the join works on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.errors import LabelError
from embedstore.store.labels import no_such_task
from embedstore.store.prediction_schema import require_joinable

#: Text columns that are kept as codes into their distinct values.
CODED = ("kind", "label", "slide_id", "split", "patient")
#: The columns of labels that are read for a join; the keys of a million take as long to read as all of these.
JOINED = ["task", *CODED, "name", "x", "y", "edge_l0", "geometry"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskLabels:
    """The labels of a task.

    Attributes:
        task: Its name.
        table: (m) rows as in the store's table of labels.
        codes: Of each column of CODED: (m,) int32 index into `values`, -1 where there is none.
        values: Of each column of CODED: its distinct values, sorted.
    """

    task: str
    table: pa.Table
    codes: Mapping[str, NDArray[np.int32]]
    values: Mapping[str, tuple[str, ...]]

    def __len__(self) -> int:
        return self.table.num_rows

    def rows_of(self, *kinds: str) -> NDArray[np.int64]:
        """Rows of the labels of some kinds."""
        codes = [i for i, kind in enumerate(self.values["kind"]) if kind in kinds]
        return np.flatnonzero(np.isin(self.codes["kind"], codes))

    def numbers(self, column: str) -> NDArray[np.float64]:
        """(m,) x, y or edge_l0 in level-0 pixels, NaN where there is none."""
        return self.table.column(column).cast(pa.float64()).to_numpy()

    def codes_in(self, column: str, names: Sequence[str]) -> NDArray[np.int32]:
        """(m,) index of each label's value in `names`, -1 where it is not among them."""
        index = {value: i for i, value in enumerate(names)}
        lookup = np.array([*(index.get(value, -1) for value in self.values[column]), -1], np.int32)
        return lookup[self.codes[column]]

    def contradictions(self, rows: NDArray[np.int64] | Sequence[int], *, multi_label: bool) -> str:
        """By which classes, parts of the split and patients some labels contradict each other, as text for users."""
        texts = []
        for column in ("split", "patient") if multi_label else ("label", "split", "patient"):
            names = [self.values[column][code] for code in np.unique(self.codes[column][rows]) if code >= 0]
            if len(names) > 1:
                texts.append(("" if column == "label" else f"{column} ") + " and ".join(names))
        return "; ".join(texts)


def task_labels(labels: pa.Table, task: str) -> TaskLabels:
    """The labels of a task among others.

    Args:
        labels: Rows of the store's table of labels, with the columns JOINED at least.
    Raises:
        TaskNotFoundError: none is of the task.
    """
    of_task = labels.filter(pc.equal(labels.column("task"), task))
    if of_task.num_rows == 0:
        raise no_such_task(task, labels.column("task").unique().to_pylist())
    codes, values = {}, {}
    for name in CODED:
        codes[name], values[name] = _encode(of_task.column(name))
    return TaskLabels(task=task, table=of_task, codes=codes, values=values)


def _encode(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    encoded = column.combine_chunks().dictionary_encode()
    values = encoded.dictionary.to_pylist()
    order = sorted(range(len(values)), key=lambda i: values[i])
    rank = np.empty(len(values) + 1, np.int32)
    rank[order], rank[-1] = np.arange(len(values)), -1
    indices = encoded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    return rank[indices], tuple(values[i] for i in order)


def candidate_classes(
    labels: TaskLabels, classes: Sequence[str] | None, *, multi_label: bool, kinds: Sequence[str]
) -> tuple[str, ...]:
    """The classes that targets may have: those given, or all that labels of these kinds name, sorted.

    With `multi_label` a rest label names no class: its places are of none.

    Raises:
        LabelError: a class is given that no label names; or, with `multi_label`, its name contains '; '.
    """
    naming = [kind for kind in kinds if not (multi_label and kind == "rest")]
    codes = np.unique(labels.codes["label"][labels.rows_of(*naming)])
    named = tuple(labels.values["label"][code] for code in codes if code >= 0)
    if multi_label:
        require_joinable(labels.task, named if classes is None else classes)
    if classes is None:
        return named
    unknown = [name for name in classes if name not in named]
    if unknown or len(set(classes)) < len(classes):
        what = f"no label of class {', '.join(unknown)}" if unknown else f"classes given twice: {', '.join(classes)}"
        raise LabelError(f"task {labels.task!r}: {what}; its labels name {', '.join(named) or 'no class'}")
    return tuple(classes)


def classes_with_targets(
    labels: TaskLabels,
    candidates: tuple[str, ...],
    counts: NDArray[np.int64],
    *,
    conflicts: int,
    given: bool,
    multi_label: bool,
    min_classes: int | None = None,
) -> tuple[str, ...]:
    """The candidates that at least one tile or slide is of.

    Args:
        counts: (K,) how many tiles or slides are of each candidate.
        conflicts: How many are left out because their labels contradict each other.
        given: Whether the user named the classes: each of them is then required.
        min_classes: How many must be left; when None two, with `multi_label` one.
    Raises:
        LabelError: fewer classes are left, or a required one is missing.
    """
    found = ", ".join(f"{name} {count}" for name, count in zip(candidates, counts, strict=True)) or "no class"
    if conflicts:
        found += f", and {conflicts} whose labels contradict each other"
    missed = [name for name, count in zip(candidates, counts, strict=True) if not count]
    if given and missed:
        raise LabelError(
            f"task {labels.task!r}: class {', '.join(missed)} answers nothing without a conflict; found {found}; "
            "import more labels of it, or leave it out of the classes"
        )
    kept = tuple(name for name in candidates if name not in missed)
    if min_classes is None:
        min_classes = 1 if multi_label else 2
    if not kept and min_classes == 1:
        raise LabelError(
            f"task {labels.task!r}: no class answers anything without a conflict; found {found}; "
            "`embedstore label ls` shows what its labels are about"
        )
    if len(kept) < min_classes:
        raise LabelError(
            f"task {labels.task!r}: a head needs two classes, found {found}; import labels of another "
            "class, or import the file again with --negative CLASS for all that is not annotated"
        )
    return kept
