"""The labelled examples of cohorts in a head's classes, and which of them count."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.errors import ConfigError
from embedstore.store import SlideRow, Store, TileLocations
from embedstore.typed_values import guess
from heads.cohorts.cohort_labels import CohortLabels, cohort_labels
from heads.cohorts.example_probabilities import Asked
from heads.cohorts.places import Subject
from heads.config import EvaluateConfig
from heads.head import Head
from heads.labelled import Labelled, gather_labelled, join_notes

#: Most cohorts of a column; one of more, such as of the slides' ids, is another question.
MOST_COHORTS = 200
#: The cohort of slides that have no value in the column.
NO_VALUE = "(none)"


@dataclass(frozen=True, kw_only=True, eq=False)
class Cohorts:
    """The slides of a collection, in cohorts.

    Attributes:
        slides: The slides.
        locations: Where their tiles lie.
        names: The cohorts: values of a column of the slides; (None,) where all are one.
        of_slide: {slide: its cohort}, an index into `names`.
    """

    slides: Sequence[SlideRow]
    locations: TileLocations
    names: tuple[str | None, ...]
    of_slide: dict[str, int]

    @classmethod
    def of(cls, slides: Sequence[SlideRow], locations: TileLocations, by: str | None) -> "Cohorts":
        """Cohorts by the values of a column.

        Raises:
            ConfigError: slides have no such column, or too many values of it.
        """
        there = set(locations.slides)
        rows = [row.as_record() for row in slides if row.slide_id in there]
        if by is None:
            return cls(slides=slides, locations=locations, names=(None,), of_slide={row["slide_id"]: 0 for row in rows})
        columns = sorted({column for row in rows for column in row})
        if by not in columns:
            raise ConfigError(f"slides have no column {by!r}; they have {', '.join(columns)}{guess([by], columns)}")
        value = {row["slide_id"]: None if row.get(by) is None else str(row[by]) for row in rows}
        names = sorted({each for each in value.values() if each is not None})
        names += [NO_VALUE] * (None in value.values())
        if len(names) > MOST_COHORTS:
            raise ConfigError(
                f"slides have {len(names):,} values of {by!r}; expected {MOST_COHORTS} cohorts or fewer; name a column "
                "of sites, scanners or the like, or choose slides with --where"
            )
        index = {None if name == NO_VALUE else name: i for i, name in enumerate(names)}
        of_slide = {slide: index[each] for slide, each in value.items()}
        return cls(slides=slides, locations=locations, names=tuple(names), of_slide=of_slide)


@dataclass(frozen=True, kw_only=True, eq=False)
class CohortExamples:
    """The n labelled examples of a head in some cohorts.

    Attributes:
        labels: The labels.
        labelled: The examples.
        targets: (n, classes) bool, in the head's classes.
        group: (n,) index of the patient, or of what counts as one.
        cohort: (n,) index into the names of the cohorts; -1 of a patient whose slides are in several.
        seen: (n,) which are of patients or slides that the head was fitted on.
        tested: (n,) which are of the head's own test parts, and no more.
        kept: Whether examples that are seen count.
        notes: What the user should know.
    """

    labels: CohortLabels
    labelled: Labelled
    targets: NDArray[np.bool_]
    group: NDArray[np.int32]
    cohort: NDArray[np.int64]
    seen: NDArray[np.bool_]
    tested: NDArray[np.bool_]
    kept: bool
    notes: tuple[str, ...]

    @property
    def counted(self) -> NDArray[np.bool_]:
        """(n,) which examples count: those of a cohort that the head was not fitted on."""
        return (self.cohort >= 0) & (self.kept | ~self.seen)

    def asked(self, head: Head) -> Asked:
        """What a head is asked about: the examples that count."""
        rows, members = np.flatnonzero(self.counted), self.labelled.members
        slides = [members[i] for i in rows] if members else []
        return Asked(head=head, bags=self.labelled.bags.take(rows), slides=slides)


def cohort_examples(
    store: Store, cohorts: Cohorts, labels: pa.Table, subject: Subject, config: EvaluateConfig
) -> CohortExamples:
    """The labelled examples of a head.

    Args:
        store: The store of the slides and labels.
        labels: Rows of its table of labels.
    Raises:
        TaskNotFoundError, LabelError, ConfigError: see `cohort_labels`; or no label is about an example.
    """
    head, record = subject.head, subject.record
    patients = {row.slide_id: row.patient for row in cohorts.slides if row.slide_id in cohorts.of_slide}
    own = cohort_labels(labels, patients, head, record, config)
    labelled = gather_labelled(
        store, cohorts.slides, cohorts.locations, own.table, [own.task], level=record.config.level,
        join=record.config.join, classes=None, multi_label=head.multi_label, min_classes=1,
    )  # fmt: skip
    (task,) = labelled.tasks
    targets = np.zeros((len(labelled.rows), len(head.classes)), bool)
    for k, name in enumerate(task.classes):
        targets[:, head.classes.index(name)] = task.targets[labelled.rows, k]
    group, _, group_notes = labelled.groups("patient")
    cohort = _cohort_of(labelled, cohorts)
    notes = [*own.notes, *join_notes(task), *group_notes]
    if several := int((cohort < 0).sum()):
        notes.append(f"{several:,} patient(s) with slides of several values of {config.by!r} are left out")
    seen, tested = subject.seen.among(labelled), subject.seen.tested_among(labelled)
    return CohortExamples(
        labels=own, labelled=labelled, targets=targets, group=group, cohort=cohort, seen=seen, tested=tested & ~seen,
        kept=config.keep_seen, notes=tuple(notes),
    )  # fmt: skip


def _cohort_of(labelled: Labelled, cohorts: Cohorts) -> NDArray[np.int64]:
    if not labelled.members:
        return np.array([cohorts.of_slide.get(slide, -1) for slide in labelled.slides], np.int64)[labelled.slide]
    of_members = [{cohorts.of_slide[slide] for slide in slides} for slides in labelled.members]
    return np.array([min(each) if len(each) == 1 else -1 for each in of_members], np.int64)
