"""The labelled slides of a task with the parts of a split, for the tables of benchmarks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embedstore.errors import ExportError
from embedstore.labels import slide_targets
from embedstore.layouts.writing import slide_names
from embedstore.part_names import part_called
from embedstore.quantities import first_few
from embedstore.store import Store

#: The parts as these tools write them.
PARTS = {"train": "train", "valid": "val", "test": "test"}


@dataclass(frozen=True, kw_only=True)
class GivenSplit:
    """The parts of slides in each fold.

    Attributes:
        source: Where it is from, for messages.
        folds: Names of the folds.
        parts: {slide: its part in each fold, train, valid or test; '' where it is in none}.
    """

    source: str
    folds: tuple[str, ...]
    parts: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class LabelledSlide:
    """A slide with its label.

    Attributes:
        slide_id: As the store knows it.
        name: As its files are called in the layouts of other tools: without folder and ending.
        case: Its patient; its name where that is not known.
        label: Index of its class.
        parts: Its part in each fold: train, val, test, or ''.
    """

    slide_id: str
    name: str
    case: str
    label: int
    parts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LabelledSlides:
    """The labelled slides of a task.

    Attributes:
        task, classes: The task.
        folds: Names of the folds.
        slides: The slides, sorted.
        notes: What the user should know.
    """

    task: str
    classes: tuple[str, ...]
    folds: tuple[str, ...]
    slides: tuple[LabelledSlide, ...]
    notes: tuple[str, ...]


def labelled_slides(
    store: Store, task: str, *, split: GivenSplit | None, collection: str | None = None, slides: Sequence[str] = ()
) -> LabelledSlides:
    """The slides that labels of whole slides and patients are about.

    Args:
        split: The split; the one that came with the labels when None.
        collection: Only slides of this collection; all when None.
        slides: Only these; all when empty.
    Raises:
        TaskNotFoundError, LabelError: the task has no such labels.
        ExportError: there is no split, or none of the slides is in it; or it has parts of other names.
    """
    there = None if collection is None else set(store.collection(collection).slides())
    patients = store.ledger.patients()
    chosen = [each for each in patients if (not slides or each in slides) and (there is None or each in there)]
    targets = slide_targets(patients, store.labels.table(), task=task, slides=chosen, min_classes=1)
    if split is None:
        parts = {
            slide: (targets.split_names[code],)
            for slide, code in zip(targets.ids, targets.split, strict=True)
            if code >= 0
        }
        split = GivenSplit(source="the labels", folds=("fold_0",), parts=parts)
    names = slide_names(targets.ids, flat=True)
    found, outside = [], []
    for row, slide in enumerate(targets.ids):
        if not targets.labelled[row]:
            continue
        if slide not in split.parts:
            outside.append(slide)
            continue
        words = [_part(word, split) for word in split.parts[slide]]
        patient = None if targets.patient[row] < 0 else targets.patients[targets.patient[row]]
        found.append(
            LabelledSlide(
                slide_id=slide, name=names[slide], case=patient or names[slide],
                label=int(targets.targets[row].argmax()), parts=tuple(words),
            )
        )  # fmt: skip
    if not found:
        raise ExportError(
            f"none of the {len(outside):,} labelled slides of task {task!r} is in a split of {split.source}; name a "
            "head of slides or patients whose split to write with --head, or import labels with a column split"
        )
    notes = []
    if outside:
        notes.append(f"{len(outside):,} labelled slides are in no part of the split: {first_few(outside)}; left out")
    if targets.conflicts:
        notes.append(f"{targets.conflicts:,} slides are left out, as their labels contradict each other")
    return LabelledSlides(
        task=task, classes=targets.classes, folds=split.folds, slides=tuple(found), notes=tuple(notes)
    )


def _part(word: str, split: GivenSplit) -> str:
    """A part as these tools write it; '' for none."""
    part = part_called(word) if word else None
    if word and part is None:
        raise ExportError(
            f"the split of {split.source} has {word!r}, which is no name of a part; expected train, valid and test; "
            "name a head of slides or patients whose split to write with --head"
        )
    return PARTS[part] if part else ""
