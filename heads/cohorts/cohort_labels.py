"""The labels of a cohort in the words of a head: its classes by their names, and nothing that it does not know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from embedstore.class_names import alike_note
from embedstore.errors import ConfigError, LabelError
from embedstore.labels.task_labels import TaskLabels, candidate_classes, task_labels
from embedstore.typed_values import guess
from heads.config import EvaluateConfig
from heads.head import Head
from heads.record import HeadRecord
from heads.splitting.groups import listed

#: Kinds of labels that are about a whole slide, or more.
_WHOLE = ("slide", "patient")


@dataclass(frozen=True, kw_only=True, eq=False)
class CohortLabels:
    """Labels whose classes are all a head's.

    Attributes:
        task: Their task.
        table: Rows of the table of labels.
        mapped: Classes that the labels named otherwise, {theirs: the head's}.
        left_out: Classes that were left out.
        notes: What the user should know.
    """

    task: str
    table: pa.Table
    mapped: Mapping[str, str]
    left_out: tuple[str, ...]
    notes: tuple[str, ...] = ()


def cohort_labels(
    labels: pa.Table, slides: Mapping[str, str | None], head: Head, record: HeadRecord, config: EvaluateConfig
) -> CohortLabels:
    """The labels of some slides, in a head's classes.

    Args:
        labels: Rows of a store's table of labels.
        slides: {slide: its patient} of the slides in question; labels of others do not count.
        record: Of the head.
    Raises:
        TaskNotFoundError: no label is of the task.
        LabelError: labels name classes that the head does not know.
        ConfigError: a class that was to be renamed or left out is none of the labels'.
    """
    task = config.task or head.task
    of_task = task_labels(labels, task)
    kinds = tuple(kind for kind in of_task.values["kind"] if head.level == "tile" or kind in _WHOLE)
    everywhere = candidate_classes(of_task, None, multi_label=record.multi_label, kinds=kinds)
    if unknown := [name for name in (*config.class_map, *config.leave_out) if name not in everywhere]:
        raise ConfigError(
            f"task {task!r} has no label of class {listed(map(repr, unknown))}, which was to be renamed or left out; "
            f"its labels name {listed(everywhere) or 'no class'}{guess(unknown, everywhere)}"
        )
    of_slides = of_task.table.filter(_about(of_task, slides))
    if not of_slides.num_rows:
        raise LabelError(
            f"none of the labels of task {task!r} is about the {len(slides):,} slides, or their patients; "
            f"`embedstore label ls` shows what they are about"
        )
    named = candidate_classes(task_labels(of_slides, task), None, multi_label=record.multi_label, kinds=kinds)
    ours = {name: config.class_map.get(name, name) for name in named if name not in config.leave_out}
    strange = [name for name, mine in ours.items() if mine not in record.classes]
    notes: tuple[str, ...] = ()
    kept = {name: mine for name, mine in ours.items() if name not in strange}
    chosen = record.config.classes is not None and not set(strange) & set(config.class_map)
    if strange and chosen and kept:
        notes = (f"labels of class {listed(strange)} do not count: the head knows {listed(record.classes)} alone",)
    elif strange:
        raise _unknown_classes(head.name, task, strange, record.classes, config.class_map)
    elif named and not kept:
        raise LabelError(f"labels of task {task!r} name {listed(named)}, and all of them are left out; leave one in")
    dropped = [name for name in named if name not in kept]
    return CohortLabels(
        task=task,
        table=_renamed(of_slides, kept, dropped),
        mapped={name: mine for name, mine in kept.items() if name != mine},
        left_out=tuple(dropped),
        notes=(*notes, *alike_note([*record.classes, *kept])),
    )


def _about(labels: TaskLabels, slides: Mapping[str, str | None]) -> pa.Array:
    """Which labels are about some slides or their patients."""
    patients = sorted({patient for patient in slides.values() if patient is not None})
    by_slide = pc.is_in(labels.table["slide_id"], value_set=pa.array(sorted(slides), pa.string()))
    by_patient = pc.and_(
        pc.is_null(labels.table["slide_id"]),
        pc.is_in(labels.table["patient"], value_set=pa.array(patients, pa.string())),
    )
    return pc.or_(by_slide, by_patient)


def _renamed(labels: pa.Table, ours: Mapping[str, str], dropped: Sequence[str]) -> pa.Table:
    """Labels with the head's names of classes, without the classes that are left out."""
    if dropped:
        labels = labels.filter(pc.invert(pc.is_in(labels["label"], value_set=pa.array(dropped, pa.string()))))
    if all(name == mine for name, mine in ours.items()):
        return labels
    names = [ours.get(name, name) for name in labels["label"].to_pylist()]
    return labels.set_column(labels.schema.get_field_index("label"), "label", pa.array(names, pa.string()))


def _unknown_classes(
    head: str, task: str, strange: Sequence[str], classes: Sequence[str], class_map: Mapping[str, str]
) -> LabelError:
    first = strange[0]
    what = f"labels of task {task!r} name {listed(map(repr, strange))}"
    if first in class_map:
        what = f"class_map makes {class_map[first]!r} of {first!r}"
    return LabelError(
        f"{what}, which head {head!r} does not know; it tells apart {listed(classes)}; say which of them is meant with "
        f"--class-map {first}=CLASS, or leave these places out with --leave-out {first}"
    )
