"""What labels say of whole slides and patients: the targets of heads that look at bags of tiles."""

from collections.abc import Collection as AnyOf
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.errors import LabelError
from embedstore.labels.task_labels import TaskLabels, candidate_classes, classes_with_targets, task_labels
from embedstore.labels.tile_targets import EXAMPLES

KINDS = ("slide", "patient")


@dataclass(frozen=True, kw_only=True, eq=False)
class SlideTargets:
    """What the labels of a task say of each of n slides or patients.

    Attributes:
        task: The task.
        level: What an entry is.
        ids: Of each entry: the slide, or the patient.
        slides: Of each entry: its slides.
        classes: The K classes.
        targets: (n, K) bool.
        labelled: (n,) bool; False where no label says anything, and where labels contradict each other.
        split: (n,) int8 index into `split_names`, -1 where the labels give none.
        split_names: As the labels have them.
        patient: (n,) int32 index into `patients`, -1 where unknown; a label's own patient wins over the slide's.
        patients: Names of the patients.
        conflicts: Entries that are left out because their labels contradict each other.
        conflict_examples: A few of them.
        weak: Slides that have their answer from a label of the patient.
        ignored: Labels of classes that were not asked for.
        missed: Classes that labels name and no entry is of.
        without_patient: Labelled slides that are left out at level `patient`, as none is known.
    """

    task: str
    level: Literal["slide", "patient"]
    ids: tuple[str, ...]
    slides: tuple[tuple[str, ...], ...]
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
    without_patient: int


def slide_targets(
    patients: Mapping[str, str | None],
    labels: pa.Table,
    *,
    task: str,
    level: Literal["slide", "patient"] = "slide",
    slides: AnyOf[str] | None = None,
    classes: Sequence[str] | None = None,
    multi_label: bool = False,
) -> SlideTargets:
    """Join labels of slides and patients with slides.

    A slide has the labels of its own, or else its patient's; a patient those of its own, or else those of all its
    slides together. Two classes, splits or patients of one entry are a conflict, as in `join_labels`.

    Args:
        patients: {slide: its patient} of every slide, as `Ledger.patients` gives them.
        labels: Rows of the table of labels; kinds other than slide and patient say nothing here.
        task: The task.
        level: What an entry is.
        slides: Only these, such as those of a collection; all when None.
        classes, multi_label: As in `join_labels`.
    Raises:
        TaskNotFoundError: no label is of the task.
        LabelError: an unknown class; no slide is hit; fewer than two classes are left.
    """
    own = task_labels(labels, task)
    rows = own.rows_of(*KINDS)
    if not len(rows):
        kinds = ", ".join(own.values["kind"])
        raise LabelError(
            f"task {task!r} has no label of a whole slide or patient, only of kind {kinds}; import a table with "
            "slide_id or patient and label, or fit a model that looks at tiles (linear, mlp)"
        )
    candidates = candidate_classes(own, classes, multi_label=multi_label, kinds=KINDS)
    labels_of = _WholeLabels(own, rows)
    known = {slide: patient for slide, patient in patients.items() if slides is None or slide in slides}
    patient_of = {slide: labels_of.patient_of(slide) or patient for slide, patient in known.items()}
    members: dict[str, tuple[str, ...]] = {}
    for slide in sorted(known):
        entry = slide if level == "slide" else patient_of[slide]
        if entry is not None:
            members[entry] = (*members.get(entry, ()), slide)
    members = dict(sorted(members.items()))
    rows_of = {name: labels_of.of_entry(level, name, slides_of, patient_of) for name, slides_of in members.items()}
    if not any(rows_of.values()):
        raise LabelError(_why_no_hit(own, known, level))

    n = len(members)
    targets, split, clash = np.zeros((n, len(candidates)), bool), np.full(n, -1, np.int8), np.zeros(n, bool)
    code = own.codes_in("label", candidates)
    examples: list[str] = []
    for i, (name, mine) in enumerate(rows_of.items()):
        wanted = [row for row in mine if code[row] >= 0]
        targets[i, code[wanted]] = True
        splits = {int(own.codes["split"][row]) for row in wanted} - {-1}
        named_patients = {int(own.codes["patient"][row]) for row in wanted} - {-1}
        clash[i] = (not multi_label and targets[i].sum() > 1) or len(splits) > 1 or len(named_patients) > 1
        split[i] = splits.pop() if len(splits) == 1 else -1
        if clash[i] and len(examples) < EXAMPLES:
            examples.append(f"{level} {name}: {labels_of.describe_conflict(wanted, multi_label=multi_label)}")
    labelled = targets.any(axis=1) & ~clash
    targets[~labelled] = False
    kept = classes_with_targets(
        own,
        candidates,
        targets.sum(axis=0),
        conflicts=int(clash.sum()),
        given=classes is not None,
        multi_label=multi_label,
    )
    names = tuple(sorted({patient for patient in patient_of.values() if patient is not None}))
    index = {name: i for i, name in enumerate(names)}
    return SlideTargets(
        task=task,
        level=level,
        ids=tuple(members),
        slides=tuple(members.values()),
        classes=kept,
        targets=targets[:, [candidates.index(name) for name in kept]],
        labelled=labelled,
        split=np.where(labelled, split, -1).astype(np.int8),
        split_names=own.values["split"],
        patient=np.array([index.get(patient_of[slides_of[0]] or "", -1) for slides_of in members.values()], np.int32),
        patients=names,
        conflicts=int(clash.sum()),
        conflict_examples=tuple(examples),
        weak=sum(level == "slide" and labelled[i] and not labels_of.slide.get(name) for i, name in enumerate(members)),
        ignored=int((code[rows] < 0).sum()) if classes is not None else 0,
        missed=tuple(name for name in candidates if name not in kept),
        without_patient=sum(
            level == "patient" and patient_of[slide] is None and slide in labels_of.slide for slide in known
        ),
    )


class _WholeLabels:
    """The rows of the labels of each slide, and of each patient."""

    def __init__(self, labels: TaskLabels, rows: NDArray[np.int64]):
        self._labels = labels
        self.slide: dict[str, list[int]] = {}
        self.patient: dict[str, list[int]] = {}
        kinds = labels.values["kind"]
        for row in rows.tolist():
            of_slide = kinds[labels.codes["kind"][row]] == "slide"
            name = self._text("slide_id" if of_slide else "patient", row)
            if name is not None:
                (self.slide if of_slide else self.patient).setdefault(name, []).append(row)

    def _text(self, column: str, row: int) -> str | None:
        code = self._labels.codes[column][row]
        return self._labels.values[column][code] if code >= 0 else None

    def patient_of(self, slide: str) -> str | None:
        """The patient that the labels of a slide name."""
        return next((name for row in self.slide.get(slide, ()) if (name := self._text("patient", row))), None)

    def of_entry(
        self, level: str, name: str, slides: Sequence[str], patient_of: Mapping[str, str | None]
    ) -> list[int]:  # fmt: skip
        if level == "slide":
            return self.slide.get(name) or self.patient.get(patient_of[name] or "", [])
        return self.patient.get(name) or [row for slide in slides for row in self.slide.get(slide, ())]

    def describe_conflict(self, rows: Sequence[int], *, multi_label: bool) -> str:
        """What contradicts what in an entry's labels: classes, splits, patients."""
        columns = [("split", "split "), ("patient", "patient ")]
        if not multi_label:
            columns.insert(0, ("label", ""))
        conflicts = []
        for column, noun in columns:
            names = sorted({name for row in rows if (name := self._text(column, row)) is not None})
            if len(names) > 1:
                conflicts.append(noun + " and ".join(names))
        return "; ".join(conflicts)


def _why_no_hit(labels: TaskLabels, known: Mapping[str, Any], level: str) -> str:
    whole = labels.rows_of(*KINDS)
    named = [
        labels.values[column][code]
        for column in ("slide_id", "patient")
        for code in np.unique(labels.codes[column][whole])
        if code >= 0
    ]
    if level == "patient" and any(name in known for name in named):
        what = "are about slides of which no patient is known"
    else:
        what = f"are about none of the {len(known)} slides or their patients ({_few(sorted(known))})"
    return (
        f"task {labels.task!r}: its labels of whole slides and patients ({_few(named)}) {what}; ingest the slides with "
        "a list that has the column patient, or import labels with slide_id"
    )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
