"""What is ready for the committer: finished slides, and the records of those that failed."""

import time

from actors.committer import CommitBatch
from actors.jobs import ActiveSlide, SlideJob
from embedstore.config import RunConfig
from embedstore.errors import NoTileError
from embedstore.slides import SlidePlan
from embedstore.store import Label, Outcome, SlideFragments, SlideRow


class CommitBuffer:
    """Gathers slides into groups, so that a table gets one version for many of them."""

    def __init__(self, config: RunConfig, *, run_id: str, replacing: frozenset[str]):
        self._config, self._run_id, self._replacing = config, run_id, replacing
        self._fragments: list[SlideFragments] = []
        self._outcomes: list[Outcome] = []
        self._facts: dict[str, SlideRow] = {}
        self._labels: list[Label] = []
        self._since = 0.0

    def __bool__(self) -> bool:
        return bool(self._outcomes)

    def due(self, *, at_once: bool) -> bool:
        """Whether there is a group that is large or old enough, or any that should go `at_once`."""
        if not self._outcomes:
            return False
        waited_s = time.monotonic() - self._since
        return at_once or len(self._outcomes) >= self._config.group_slides or waited_s >= self._config.group_s

    def put_done(self, slide: ActiveSlide, *, labelled: bool) -> None:
        """A slide whose rows are written, for every collection that lacked it.

        Args:
            labelled: The labels that it brings are to be recorded; not those of a slide that had rows before, whose
                labels may have been taken out or corrected since.
        """
        job, plan = slide.job, slide.facts
        for one in slide.finished:
            self._fragments.append(one.fragments)
            self._note(
                Outcome(
                    collection=one.fragments.collection,
                    slide_id=job.slide_id,
                    path=job.source.path,
                    state="done",
                    tiles=one.fragments.rows + one.stored,
                    unreadable=slide.unreadable,
                    reader=plan.reader,
                    plan_s=slide.plan_s,
                    read_s=slide.read_s,
                    extract_s=one.extract_s,
                    write_s=one.write_s,
                    warnings=plan.warnings,
                    run_id=self._run_id,
                )
            )
        self._facts[job.slide_id] = _facts(job, plan)
        self._labels += [
            Label(
                task=job.slide_id,
                slide_id=job.slide_id,
                name=label.name,
                label=label.label,
                split=label.split,
                patient=label.patient,
                source=job.source.path,
            )
            for label in (slide.labels if labelled else ())
        ]

    def put_failed(self, job: SlideJob, error: Exception, slide: ActiveSlide | None, *, new: bool) -> None:
        """A slide that has no rows, or no views, and why; a `new` one gets a row of its own in the ledger as well."""
        plan = slide.facts if slide else None
        for collection in job.wanted:
            self._note(
                Outcome(
                    collection=collection,
                    slide_id=job.slide_id,
                    path=job.source.path,
                    state="empty" if isinstance(error, NoTileError) else "failed",
                    unreadable=slide.unreadable if slide else 0,
                    reader=plan.reader if plan else None,
                    error=type(error).__name__,
                    reason=str(error),
                    warnings=plan.warnings if plan else (),
                    run_id=self._run_id,
                    views_error=str(error) if collection in job.views_only else None,
                )
            )
        if new:
            self._facts[job.slide_id] = _facts(job, plan)

    def _note(self, outcome: Outcome) -> None:
        if not self._outcomes:
            self._since = time.monotonic()
        self._outcomes.append(outcome)

    def take(self) -> CommitBatch:
        batch = CommitBatch(
            fragments=tuple(self._fragments),
            facts=tuple(self._facts.values()),
            outcomes=tuple(self._outcomes),
            labels=tuple(self._labels),
            replacing=self._replacing,
        )
        self._fragments, self._outcomes, self._labels, self._facts = [], [], [], {}
        return batch

    def put_back(self, batch: CommitBatch) -> None:
        """Take a group again whose committer died; slides that it did commit will be left alone."""
        self._fragments = [*batch.fragments, *self._fragments]
        self._outcomes = [*batch.outcomes, *self._outcomes]
        self._labels = [*batch.labels, *self._labels]
        self._facts = {fact.slide_id: fact for fact in batch.facts} | self._facts


def _facts(job: SlideJob, plan: SlidePlan | None) -> SlideRow:
    """The slide's own row; of a slide that could not be planned, what its list said."""
    source = job.source
    if plan is None:
        return SlideRow(
            slide_id=source.slide_id, path=source.path, kind=source.kind, slide_mpp=source.mpp, metadata=source.metadata
        )
    bounds = plan.bounds_l0 or (None, None, None, None)
    return SlideRow(
        slide_id=source.slide_id,
        path=source.path,
        kind=source.kind,
        width_l0=plan.size_l0[0],
        height_l0=plan.size_l0[1],
        bounds_x=bounds[0],
        bounds_y=bounds[1],
        bounds_width=bounds[2],
        bounds_height=bounds[3],
        slide_mpp=plan.mpp,
        vendor=plan.vendor,
        tissue_mm2=plan.tissue_mm2,
        fingerprint=plan.fingerprint,
        metadata=source.metadata,
    )
