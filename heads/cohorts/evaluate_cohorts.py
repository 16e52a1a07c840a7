"""`evaluate_cohorts`: stored heads on labelled slides of their own collection or another, cohort by cohort."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.errors import ConfigError, LabelError, TaskNotFoundError
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.search.filters import slides_where
from embedstore.store import Store, read_tile_locations
from embedstore.version import __version__
from heads.cohorts.cohort_examples import CohortExamples, Cohorts, cohort_examples
from heads.cohorts.evaluation import CohortEvaluation, SeenExamples
from heads.cohorts.example_probabilities import example_probabilities
from heads.cohorts.example_table import example_table
from heads.cohorts.places import Place, Subject, places_of
from heads.config import EvaluateConfig
from heads.evaluation.metrics import evaluate
from heads.splitting.groups import listed


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluated:
    """What `evaluate_cohorts` found.

    Attributes:
        evaluations: Of each head on each cohort: heads in the order that they were named, cohorts sorted.
        predictions: A row for each head and example with its label and its probabilities; None unless asked for.
    """

    evaluations: tuple[CohortEvaluation, ...]
    predictions: pa.Table | None


def evaluate_cohorts(
    store: Store,
    names: Sequence[str],
    config: EvaluateConfig,
    *,
    on: tuple[Store, str] | None = None,
    where: str | None = None,
    predictions: bool = False,
    on_progress: OnProgress = no_progress,
) -> Evaluated:
    """Evaluate heads of a store on labelled slides, at their stored thresholds and temperatures.

    Examples of patients and slides that a head was fitted on are left out. The vectors of a collection are read once
    for all heads.

    Args:
        names: Names of the heads.
        config: Cohorts, labels, and what counts.
        on: The store and the collection of the slides; as of `places_of`.
        where: SQL over the slides' columns; only slides that it holds for.
        predictions: Also return what was predicted of each example.
    Raises:
        HeadNotFoundError: there is no such head.
        HeadMismatchError: the collection's vectors are of another extractor.
        TaskNotFoundError, LabelError: labels that heads cannot be compared with, or none at all. Of several heads, one
            that has none gets evaluations with a reason instead.
        ConfigError, SlideNotInStoreError: `where` is not valid or true for no slide, or there is no such column.
        VectorError: a vector is not finite.
    """
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"heads are {listed(names) or '(none)'}; expected one or more, each once")
    subjects = [Subject.of(store, store.heads.get(name)) for name in names]
    evaluations: dict[str, list[CohortEvaluation]] = {}
    tables: list[pa.Table] = []
    for place in places_of(store, subjects, on, same_extractor=config.same_extractor):
        cohorts, gathered = _gather(place, config, where, on_progress, alone=len(names) == 1)
        ready = [(each.head, found) for each, found in gathered if isinstance(found, CohortExamples)]
        asked = [examples.asked(head) for head, examples in ready]
        version = cohorts.locations.version
        predicted = iter(example_probabilities(place.store, place.collection, version, asked, on_progress))
        for subject, found in gathered:
            trial = _Trial(place=place, config=config, where=where, cohorts=cohorts, subject=subject)
            if isinstance(found, CohortExamples):
                probabilities = next(predicted)
                evaluations[subject.head.name] = trial.evaluations(found, probabilities)
                if predictions:
                    tables.append(example_table(subject.head, cohorts, found, probabilities))
            else:
                evaluations[subject.head.name] = [trial.impossible(name, found) for name in cohorts.names]
    ordered = tuple(each for name in names for each in evaluations[name])
    if all(each.report is None for each in ordered):
        reasons = dict.fromkeys(f"{each.head} on {each.cohort_name}: {each.reason}" for each in ordered)
        raise LabelError(f"nothing can be evaluated: {'; '.join([*reasons][:5])}")
    table = pa.concat_tables(tables, promote_options="default") if predictions else None
    return Evaluated(evaluations=ordered, predictions=table)


def _gather(
    place: Place, config: EvaluateConfig, where: str | None, on_progress: OnProgress, *, alone: bool
) -> tuple[Cohorts, list[tuple[Subject, CohortExamples | str]]]:
    """The cohorts of a place, and of each head its examples, or why there are none; an error of one that is alone."""
    store, collection = place.store, place.collection
    on_progress(Progress(stage="evaluate", message=f"join the labels with {collection.name}"))
    slides = slides_where(store, collection, where)
    locations = read_tile_locations(collection, slides=None if where is None else {row.slide_id for row in slides})
    cohorts, labels = Cohorts.of(slides, locations, config.by), store.labels.table()
    gathered: list[tuple[Subject, CohortExamples | str]] = []
    for subject in place.subjects:
        try:
            gathered.append((subject, cohort_examples(store, cohorts, labels, subject, config)))
        except (TaskNotFoundError, LabelError) as error:
            if alone:
                raise
            gathered.append((subject, str(error)))
    return cohorts, gathered


@dataclass(frozen=True, kw_only=True, eq=False)
class _Trial:
    """A head at a place."""

    place: Place
    config: EvaluateConfig
    where: str | None
    cohorts: Cohorts
    subject: Subject

    def evaluations(self, examples: CohortExamples, probabilities: NDArray[np.float32]) -> list[CohortEvaluation]:
        """An evaluation for each cohort, from the probabilities (counted, classes) of the examples that count."""
        return [self._evaluation(k, name, examples, probabilities) for k, name in enumerate(self.cohorts.names)]

    def impossible(self, cohort: str | None, reason: str) -> CohortEvaluation:
        """The evaluation on a cohort where there is none."""
        return self._result(cohort, labels_task=self.config.task or self.subject.head.task, reason=reason)

    def _evaluation(
        self, k: int, cohort: str | None, examples: CohortExamples, probabilities: NDArray[np.float32]
    ) -> CohortEvaluation:
        head, labels = self.subject.head, examples.labels
        of_cohort = examples.cohort == k
        seen = of_cohort & examples.seen
        facts: dict[str, Any] = {
            "labels_task": labels.task,
            "class_map": labels.mapped,
            "left_out": labels.left_out,
            "seen": SeenExamples(
                examples=int(seen.sum()), patients=len(np.unique(examples.group[seen])), kept=examples.kept
            ),
        }
        rows = np.flatnonzero(of_cohort & examples.counted)
        if not len(rows):
            reason = f"no label of task {labels.task!r} is about its slides"
            if seen.any():
                reason = (
                    f"all of its {int(seen.sum()):,} labelled {head.level}s are of patients or slides that the head "
                    "was fitted on; how it does on such is on its own card, `embedstore heads show`"
                )
            return self._result(cohort, reason=reason, **facts)
        found = probabilities[of_cohort[examples.counted]]
        report = evaluate(
            found, examples.targets[rows], head.decide(found), examples.group[rows], classes=head.classes,
            multi_label=head.multi_label, positive=head.positive, resamples=self.config.bootstrap,
            seed=self.config.seed,
        )  # fmt: skip
        return self._result(
            cohort, report=report, notes=(*self._seen_notes(examples, of_cohort), *examples.notes), **facts
        )

    def _seen_notes(self, examples: CohortExamples, of_cohort: NDArray[np.bool_]) -> list[str]:
        """What the head knows of a cohort's examples, where that is not just left out."""
        level, notes = self.subject.head.level, self._extractor_notes()
        seen, tested = (int((of_cohort & each).sum()) for each in (examples.seen, examples.tested))
        if seen and examples.kept:
            notes.append(
                f"{seen:,} of the {level}s are of patients or slides that the head was FITTED ON, and count: metrics "
                "are better than on new patients"
            )
        if tested:
            notes.append(
                f"{tested:,} of the {level}s are of the head's own test parts: intervals of differences take them for "
                "those of other patients"
            )
        if lost := self.subject.seen.lost:
            notes.append(
                f"{lost:,} of the examples that the head was fitted on are no longer in its store, which cannot tell "
                "whose they were; of them, only the same ones here are known"
            )
        return notes

    def _extractor_notes(self) -> list[str]:
        theirs, ours = self.place.collection.extractor(), self.subject.record.extractor
        if theirs.digest == ours.digest:
            return []
        return [f"vectors of {theirs} are taken for those of {ours}, which the head was fitted on: NOBODY CHECKED THAT"]

    def _result(self, cohort: str | None, **found: Any) -> CohortEvaluation:
        head, record, collection = self.subject.head, self.subject.record, self.place.collection
        extractor = collection.extractor()
        return CohortEvaluation(
            embedstore=__version__,
            head=head.name,
            digest=self.subject.digest,
            task=head.task,
            model=head.model,
            level=head.level,
            extractor=record.extractor,
            store=self.place.store.uri,
            collection=collection.name,
            version=self.cohorts.locations.version,
            by=self.config.by,
            cohort=cohort,
            where=self.where,
            same_extractor=None if extractor.digest == record.extractor.digest else extractor,
            thresholds=record.thresholds,
            temperatures=tuple(member.temperature for member in record.members),
            own=record.report,
            **found,
        )
