"""The targets of slides and patients, for heads that look at bags of tiles."""

from collections.abc import Collection as AnyOf
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.errors import LabelError
from embedstore.labels.targets import EXAMPLES, Targets
from embedstore.labels.task_labels import TaskLabels, candidate_classes, classes_with_targets, task_labels
from embedstore.quantities import first_few

KINDS = ("slide", "patient")


@dataclass(frozen=True, kw_only=True, eq=False)
class SlideTargets(Targets):
    """The targets of n slides or patients.

    Attributes:
        level: Whether an entry is a slide or a patient.
        ids: The slide or patient of each entry.
        slides: The slides of each entry.
        without_patient: How many labelled slides are left out at level `patient` because their patient is not known.
    """

    level: Literal["slide", "patient"]
    ids: tuple[str, ...]
    slides: tuple[tuple[str, ...], ...]
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
    min_classes: int | None = None,
) -> SlideTargets:
    """Join labels of slides and patients with slides or patients.

    A slide has its own labels, or if there are none, those of its patient. A patient has its own labels, or if there
    are none, those of all its slides. Two classes, parts of a split, or patients of one entry are a conflict, as in
    `join_labels`.

    Args:
        patients: {slide: its patient} of every slide, as `Ledger.patients` gives them.
        labels: Rows of the table of labels; kinds other than slide and patient are ignored.
        task: The task.
        level: Whether an entry is a slide or a patient.
        slides: Only these, such as those of a collection; all when None.
        classes, multi_label, min_classes: As in `join_labels`.
    Raises:
        TaskNotFoundError: no label is of the task.
        LabelError: a class is unknown, no label is about one of the slides, or fewer than `min_classes` are left.
    """
    of_task = task_labels(labels, task)
    rows = of_task.rows_of(*KINDS)
    if not len(rows):
        kinds = ", ".join(of_task.values["kind"])
        raise LabelError(
            f"task {task!r} has no label of a whole slide or patient, only of kind {kinds}; import a table with "
            "slide_id or patient and label, or fit a head for tiles (linear or mlp, without an encoder)"
        )
    candidates = candidate_classes(of_task, classes, multi_label=multi_label, kinds=KINDS)
    labels_of = _WholeLabels(of_task, rows)
    slide_patients = {slide: patient for slide, patient in patients.items() if slides is None or slide in slides}
    patient_of = {slide: labels_of.patient_of(slide) or patient for slide, patient in slide_patients.items()}
    members: dict[str, tuple[str, ...]] = {}
    for slide in sorted(slide_patients):
        entry = slide if level == "slide" else patient_of[slide]
        if entry is not None:
            members[entry] = (*members.get(entry, ()), slide)
    members = dict(sorted(members.items()))
    rows_of = {name: labels_of.of_entry(level, name, slides_of, patient_of) for name, slides_of in members.items()}
    if not any(rows_of.values()):
        raise LabelError(_no_match_reason(of_task, slide_patients, level))

    n = len(members)
    targets, split, conflict = np.zeros((n, len(candidates)), bool), np.full(n, -1, np.int32), np.zeros(n, bool)
    code = of_task.codes_in("label", candidates)
    examples: list[str] = []
    for i, (name, entry_rows) in enumerate(rows_of.items()):
        of_classes = [row for row in entry_rows if code[row] >= 0]
        targets[i, code[of_classes]] = True
        splits = {int(of_task.codes["split"][row]) for row in of_classes} - {-1}
        named_patients = {int(of_task.codes["patient"][row]) for row in of_classes} - {-1}
        conflict[i] = (not multi_label and targets[i].sum() > 1) or len(splits) > 1 or len(named_patients) > 1
        split[i] = splits.pop() if len(splits) == 1 else -1
        if conflict[i] and len(examples) < EXAMPLES:
            examples.append(f"{level} {name}: {of_task.contradictions(of_classes, multi_label=multi_label)}")
    labelled = targets.any(axis=1) & ~conflict
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
        split=np.where(labelled, split, -1).astype(np.int32),
        split_names=of_task.values["split"],
        patient=np.array([index.get(patient_of[slides_of[0]] or "", -1) for slides_of in members.values()], np.int32),
        patients=names,
        conflicts=int(conflict.sum()),
        conflict_examples=tuple(examples),
        weak=sum(level == "slide" and labelled[i] and not labels_of.slide.get(name) for i, name in enumerate(members)),
        ignored=int((code[rows] < 0).sum()) if classes is not None else 0,
        missed=tuple(name for name in candidates if name not in kept),
        without_patient=sum(
            level == "patient" and patient_of[slide] is None and slide in labels_of.slide for slide in slide_patients
        ),
    )


class _WholeLabels:
    """Rows of the labels of each slide and of each patient."""

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


def _no_match_reason(labels: TaskLabels, slides: Mapping[str, str | None], level: str) -> str:
    rows = labels.rows_of(*KINDS)
    named = [
        labels.values[column][code]
        for column in ("slide_id", "patient")
        for code in np.unique(labels.codes[column][rows])
        if code >= 0
    ]
    if level == "patient" and any(name in slides for name in named):
        what = "are about slides of which no patient is known"
    else:
        what = f"are about none of the {len(slides)} slides or their patients ({first_few(sorted(slides))})"
    return (
        f"task {labels.task!r}: its labels of whole slides and patients ({first_few(named)}) {what}; ingest the slides "
        "with a list that has the column patient, or import labels with slide_id"
    )
