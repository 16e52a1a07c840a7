"""What is ready for the committer: finished slides, and the records of those that failed."""

import time

from actors.active_slide import ActiveSlide
from actors.committer import CommitBatch
from actors.jobs import RunContext, SlideJob
from embedstore.errors import NoTileError
from embedstore.slides import PEN_WARNING, SlidePlan, SlideSource
from embedstore.store import Label, Outcome, SlideFragments, SlideRow


class CommitBuffer:
    """Gathers slides into batches, so that a table gets one version for many of them."""

    def __init__(self, context: RunContext) -> None:
        self._run, self._run_id = context.run, context.run_id
        self._stored, self._replacing = context.stored_fingerprints, context.replacing
        self._fragments: list[SlideFragments] = []
        self._contents = {content: slide_id for slide_id, content in self._stored.items() if content}  # fingerprints
        self._outcomes: list[Outcome] = []
        self._slides: dict[str, SlideRow] = {}
        self._labels: list[Label] = []
        self._oldest_at = 0.0

    def __bool__(self) -> bool:
        return bool(self._outcomes)

    def due(self, *, at_once: bool) -> bool:
        """Whether there is a batch that is large or old enough to commit; any batch is where `at_once`."""
        if not self._outcomes:
            return False
        waited_s = time.monotonic() - self._oldest_at
        return at_once or len(self._outcomes) >= self._run.group_slides or waited_s >= self._run.group_s

    def add_finished(self, slide: ActiveSlide) -> tuple[str, ...]:
        """Add a slide whose rows are written, for every collection that lacked it.

        Returns:
            What a user should know of it: tiles that could not be read, a slide of the same content, and the warnings
            of its plan but for pen marks, which many slides have.
        """
        job, plan = slide.job, slide.plan
        found: tuple[str, ...] = (slide.unreadable_tiles,) if slide.unreadable else ()
        original = self._contents.setdefault(plan.fingerprint, job.slide_id) if plan.fingerprint else job.slide_id
        if original != job.slide_id:
            found += (f"its file has the same content as that of slide {original!r}; if it is a copy, remove one",)
        for finished in slide.finished:
            self._fragments.append(finished.fragments)
            self._add_outcome(
                Outcome(
                    collection=finished.fragments.collection,
                    slide_id=job.slide_id,
                    path=job.source.path,
                    state="done",
                    tiles=finished.fragments.rows + finished.stored_tiles,
                    unreadable=slide.unreadable,
                    reader=plan.reader or None,
                    plan_s=slide.plan_s,
                    read_s=slide.read_s,
                    extract_s=finished.extract_s,
                    write_s=finished.write_s,
                    warnings=(*plan.warnings, *found),
                    run_id=self._run_id,
                )
            )
        self._slides[job.slide_id] = slide_row(job.source, plan)
        # Labels of a slide that had rows before may have been removed or corrected since: they are not written again.
        if job.slide_id not in self._stored or job.slide_id in self._replacing:
            self._labels += [
                Label(
                    task=job.slide_id,  # a folder of labelled tiles is a task of its own
                    slide_id=job.slide_id,
                    name=label.name,
                    label=label.label,
                    split=label.split,
                    patient=label.patient,
                    source=job.source.path,
                )
                for label in slide.labels
            ]
        of_file = plan.warnings if job.source.kind == "wsi" else ()  # a tile folder's were told before
        return *found, *(warning for warning in of_file if not warning.startswith(PEN_WARNING))

    def add_failed(self, job: SlideJob, error: Exception, slide: ActiveSlide | None = None) -> None:
        """Add the record of a slide that has no rows, or no views; `slide` where it was planned."""
        stored = job.slide_id in self._stored
        if stored and job.slide_id in self._replacing:
            return  # its old rows are still there, with their outcome
        plan = slide.plan if slide else None
        for collection in job.collections:
            self._add_outcome(
                Outcome(
                    collection=collection,
                    slide_id=job.slide_id,
                    path=job.source.path,
                    state="empty" if isinstance(error, NoTileError) else "failed",
                    unreadable=slide.unreadable if slide else 0,
                    reader=(plan.reader or None) if plan else None,
                    error=type(error).__name__,
                    reason=str(error),
                    warnings=plan.warnings if plan else (),
                    run_id=self._run_id,
                    views_error=str(error) if collection in job.views_only else None,
                )
            )
        if not stored:
            self._slides[job.slide_id] = slide_row(job.source, plan)

    def _add_outcome(self, outcome: Outcome) -> None:
        if not self._outcomes:
            self._oldest_at = time.monotonic()
        self._outcomes.append(outcome)

    def take(self) -> CommitBatch:
        """Take all that is in the buffer."""
        batch = CommitBatch(
            fragments=tuple(self._fragments),
            slides=tuple(self._slides.values()),
            outcomes=tuple(self._outcomes),
            labels=tuple(self._labels),
            replacing=self._replacing,
        )
        self._fragments, self._outcomes, self._labels, self._slides = [], [], [], {}
        return batch

    def put_back(self, batch: CommitBatch) -> None:
        """Take back a batch whose committer died; committing a slide twice changes nothing."""
        self._fragments = [*batch.fragments, *self._fragments]
        self._outcomes = [*batch.outcomes, *self._outcomes]
        self._labels = [*batch.labels, *self._labels]
        self._slides = {row.slide_id: row for row in batch.slides} | self._slides


def slide_row(source: SlideSource, plan: SlidePlan | None) -> SlideRow:
    """The slide's row in the ledger; for a slide that could not be planned, what its source states."""
    if plan is None:
        return SlideRow(
            slide_id=source.slide_id, path=source.path, kind=source.kind, slide_mpp=source.mpp, metadata=source.metadata
        )
    bounds = plan.bounds_l0 or (None, None, None, None)
    width, height = plan.size_l0 if plan.fingerprint or any(plan.size_l0) else (None, None)
    return SlideRow(
        slide_id=source.slide_id,
        path=source.path,
        kind=source.kind,
        width_l0=width,
        height_l0=height,
        bounds_x=bounds[0],
        bounds_y=bounds[1],
        bounds_width=bounds[2],
        bounds_height=bounds[3],
        slide_mpp=plan.mpp,
        vendor=plan.vendor or None,
        tissue_mm2=plan.tissue_mm2,
        fingerprint=plan.fingerprint or None,
        metadata=source.metadata,
    )
