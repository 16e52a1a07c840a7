"""The run: which worker does what next, and what follows when one of them dies.

The loop hands out work, and waits for calls to end (`dispatch.py`). A slide belongs to one extractor, which puts its
rows in order; its readers send chunks of tiles, of which only so many bytes are under way. Nothing here knows whether
workers are threads or Ray actors.
"""

import functools
import itertools
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from actors.commit_buffer import CommitBuffer
from actors.dispatch import Dispatch
from actors.extractor_worker import FinishedSlide
from actors.jobs import ActiveSlide, SlideJob, WorkerGroup, WorkerHandle
from actors.reader import Chunk, PlannedSlide, without_arrays
from actors.run_counts import RunCounts
from actors.workers import Pool
from embedstore.config import IngestConfig, RunConfig
from embedstore.errors import (
    EmbedStoreError,
    RunError,
    SlideError,
    UnknownKeyError,
    UnreadableTilesError,
    WorkerDiedError,
)

log = logging.getLogger(__name__)

#: Calls that a reader has before it at once: one in hand and one that waits, so that it never idles on the driver.
READER_CALLS = 2


class Scheduler:
    """Takes jobs through a pool of workers; see `run`.

    Args:
        known_fingerprints: Fingerprint of each slide that has rows in the store.
        replacing: Slides whose rows are made anew.
        stop: Asked often; once it says True nothing new is begun, and slides in flight are dropped.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        groups: Sequence[WorkerGroup],
        committer: WorkerHandle,
        jobs: Sequence[SlideJob],
        ingest: IngestConfig,
        config: RunConfig,
        run_id: str,
        counts: RunCounts,
        known_fingerprints: dict[str, str | None],
        replacing: frozenset[str] = frozenset(),
        stop: Callable[[], bool] = lambda: False,
    ):
        self._groups, self._committer = list(groups), committer
        self._todo = deque(jobs)
        self._ingest, self._config = ingest, config
        self._counts, self._known, self._replacing = counts, known_fingerprints, replacing
        self._stop = stop
        # The first reader of each group, then the second of each …
        by_rank = itertools.zip_longest(*(group.readers for group in self._groups))
        self._readers = [
            (group, handle) for rank in by_rank for group, handle in zip(self._groups, rank, strict=True) if handle
        ]
        self._commit_buffer = CommitBuffer(config, run_id=run_id, replacing=replacing)
        self._committing = False
        handles = [self._committer, *(handle for group in self._groups for handle in (group.extractor, *group.readers))]
        self._dispatch = Dispatch(
            pool, handles, max_restarts=config.max_restarts, on_death=self._on_death, on_loss=self._on_loss
        )
        copies = 1 + (ingest.views.count if ingest.views is not None else 0)
        self._tile_bytes = copies * 3 * ingest.tiling.tile_px**2

    # -- the loop ---------------------------------------------------------------------------

    def run(self) -> None:
        """Take every job to its end, or until stopped; finished slides are committed in either case.

        Raises:
            RunError: workers died more often than allowed, or one did not come back.
        """
        stopping = False
        while True:
            if not stopping and self._stop():
                stopping = True
                self._drop_all()
            if not stopping:
                self._hand_out_all()
                for group in self._groups:
                    self._maybe_flush(group)
            over = stopping or self._idle()
            self._maybe_commit(nothing_else=over)
            if over and not self._dispatch and not self._commit_buffer:
                return
            try:
                self._dispatch.settle()
            except Exception:
                self._salvage()
                raise
            self._counts.tick()

    def _salvage(self) -> None:
        """Commit what is finished before the run ends with an error."""
        self._drop_all()
        while self._committer.up and (self._commit_buffer or self._dispatch):
            self._maybe_commit(nothing_else=True)
            try:
                self._dispatch.settle(wake=False)
            except Exception:
                log.exception("finished slides could not be committed; the next run makes them again")
                return

    def _idle(self) -> bool:
        return not self._todo and not any(group.active or group.planning for group in self._groups)

    # -- workers that die -------------------------------------------------------------------

    def _on_death(self, handle: WorkerHandle) -> None:
        handle.slide = None
        for group in self._groups:
            if handle is group.extractor:
                self._restart_group(group)
            elif handle in group.readers:
                for slide in group.active.values():
                    slide.readers.discard(handle.name)

    def _on_loss(self, handle: WorkerHandle) -> list[WorkerHandle]:
        """Go on without a worker that does not come back: without its group where that cannot work without it."""
        group = next((group for group in self._groups if handle is group.extractor or handle in group.readers), None)
        if group is None:
            return []
        if handle in group.readers and any(reader.up for reader in group.readers):
            group.readers.remove(handle)
            self._readers = [pair for pair in self._readers if pair[1] is not handle]
            return [handle]
        if not any(other.extractor.up for other in self._groups if other is not group):
            return []
        log.warning("going on without %s and its readers; their slides go to others", group.extractor.name)
        self._groups.remove(group)
        self._readers = [pair for pair in self._readers if pair[0] is not group]
        for slide in group.active.values():
            slide.job.attempt += 1
            self._todo.append(slide.job)
        group.active.clear()
        return [group.extractor, *group.readers]

    def _restart_group(self, group: WorkerGroup) -> None:
        """An extractor died, and with it the embeddings of its slides that were not written out: begin them again."""
        group.flushing = False
        slides = list(group.active.values())
        group.active.clear()
        for reader in group.readers:
            reader.slide = None
        for slide in slides:
            self._close_readers(group, slide)
            if group.extractor.up:
                self._dispatch.call(group.extractor, "drop", slide.key)
            slide.restart()
            group.active[slide.key] = slide

    def _strike(self, job: SlideJob, doing: str) -> bool:
        """Count a death against a slide; True when it has had as many as allowed and has failed."""
        job.strikes += 1
        if job.strikes < self._config.max_strikes:
            return False
        error = WorkerDiedError(
            f"slide {job.slide_id!r}: {job.strikes} workers died while {doing} it; the file may crash its decoder or "
            "exhaust memory; try --reader openslide, or more memory, with --retry-failed"
        )
        self._fail(job, error)
        return True

    # -- planning and reading ---------------------------------------------------------------

    def _hand_out_all(self) -> None:
        """Give every reader what it can take, one call a reader and round, so that no group gets all the slides."""
        handed_out = True
        while handed_out:
            handed_out = False
            for group, reader in self._readers:
                if group.extractor.up and reader.up and len(reader.calls) < READER_CALLS:
                    handed_out |= self._hand_out(group, reader)

    def _maybe_flush(self, group: WorkerGroup) -> None:
        """Embed half-filled batches once no further tile will come."""
        if not group.extractor.up:
            return
        quiet = not any(reader.calls for reader in group.readers if reader.up) and not group.extractor.calls
        if group.active and quiet and not self._todo and not group.planning and not group.flushing:
            if any(slide.has_more for slide in group.active.values()):
                return  # a reader is being restarted
            group.flushing = True
            self._dispatch.call(group.extractor, "flush", done=lambda finished: self._flushed(group, finished))

    def _hand_out(self, group: WorkerGroup, reader: WorkerHandle) -> bool:
        """Give a reader something to do; False when there is nothing for it now."""
        if reader.slide is not None and not (reader.slide.has_more and reader.slide.key in group.active):
            reader.slide = None
        waiting = group.unclaimed()
        room = group.in_flight_bytes == 0 or group.in_flight_bytes < self._config.in_flight_bytes
        if reader.slide is None and waiting and room:
            reader.slide = waiting.pop(0)
        idle = sum(handle.slide is None for handle in group.readers if handle.up)
        if self._todo and group.planning + len(waiting) < max(1, idle):
            self._plan(group, reader)
            return True
        if reader.slide is None and not group.planning and not self._todo:  # help with what is left
            left = [slide for slide in group.active.values() if slide.has_more]
            reader.slide = max(left, key=lambda slide: slide.tiles - slide.next_start, default=None)
        if reader.slide is None or not room:
            return False
        self._read(group, reader, reader.slide)
        return True

    def _plan(self, group: WorkerGroup, reader: WorkerHandle) -> None:
        job = self._todo.popleft()
        group.planning += 1

        def planned(result: PlannedSlide) -> None:
            group.planning -= 1
            self._planned(group, job, result, ref)

        def lost(guilty: bool) -> None:
            group.planning -= 1
            if not (guilty and self._strike(job, "planning")):
                self._todo.appendleft(job)

        def failed(error: Exception) -> None:
            group.planning -= 1
            if isinstance(error, UnknownKeyError):  # the plan went with its node
                self._todo.appendleft(job)
            else:
                self._fail(job, error)

        ref = self._dispatch.call(reader, "plan", job.source, done=planned, lost=lost, failed=failed)

    def _planned(self, group: WorkerGroup, job: SlideJob, result: PlannedSlide, ref: Any) -> None:
        plan = result.plan
        if group not in self._groups:  # given up meanwhile
            self._todo.appendleft(job)
            return
        known = self._known.get(job.slide_id)
        if known is not None and known != plan.fingerprint and job.slide_id not in self._replacing:
            self._fail(
                job,
                SlideError(
                    f"slide {job.slide_id!r} is in the store from another file (fingerprint {known}, this file "
                    f"{plan.fingerprint}); rename it, give it a slide_id in a slide list, or replace its rows with "
                    f"--force {job.slide_id}"
                ),
            )
            return
        slide = ActiveSlide(
            job=job,
            facts=without_arrays(plan),
            planned=ref,
            plan_s=result.plan_s,
            tiles=len(plan),
            chunk_tiles=max(1, self._config.chunk_bytes // self._tile_bytes),
            labels=plan.labels,
            unfinished=set(job.wanted),
        )
        group.active[slide.key] = slide
        self._counts.planned(slide.tiles)

    def _read(self, group: WorkerGroup, reader: WorkerHandle, slide: ActiveSlide) -> None:
        key = slide.key
        if not slide.opened:
            slide.opened = True
            job = slide.job
            unplanned = functools.partial(self._unplanned, group, key)
            self._dispatch.call(
                group.extractor, "open", key, job.slide_id, slide.planned, job.wanted, job.views_only, failed=unplanned
            )
        if reader.name not in slide.readers:
            slide.readers.add(reader.name)
            self._open(group, reader, slide)
        start, stop = slide.next_chunk()
        size = (stop - start) * self._tile_bytes
        group.in_flight_bytes += size

        def read(chunk: Chunk) -> None:
            self._feed(group, key, chunk, refs[1], size)

        def lost(guilty: bool) -> None:
            group.in_flight_bytes -= size
            if key not in group.active:
                return
            if guilty and self._strike(slide.job, "reading"):
                self._drop(group, slide)
            else:
                slide.redo.append((start, stop))

        def failed(error: Exception) -> None:
            if isinstance(error, UnknownKeyError):  # the reader was started again meanwhile
                slide.readers.discard(reader.name)
                lost(False)
                return
            group.in_flight_bytes -= size
            self._broken(group, key, error)

        refs = self._dispatch.call(reader, "read", key, start, stop, done=read, lost=lost, failed=failed, returns=2)
        if not slide.has_more:
            self._close_readers(group, slide)

    def _open(self, group: WorkerGroup, reader: WorkerHandle, slide: ActiveSlide) -> None:
        key = slide.key

        def lost(guilty: bool) -> None:
            if guilty and key in group.active and self._strike(slide.job, "opening"):
                self._drop(group, slide)

        def failed(error: Exception) -> None:
            if isinstance(error, UnknownKeyError):
                self._unplanned(group, key, error)
            else:
                self._broken(group, key, error)

        self._dispatch.call(reader, "open", key, slide.planned, lost=lost, failed=failed)

    def _unplanned(self, group: WorkerGroup, key: str, error: Exception) -> None:
        """A slide's plan went with the node that made it: the slide is planned again. Or it is one of other tiles."""
        if isinstance(error, SlideError):
            self._broken(group, key, error)
            return
        if not isinstance(error, UnknownKeyError):
            raise error
        slide = group.active.get(key)
        if slide is not None:
            self._drop(group, slide)
            slide.job.attempt += 1
            self._todo.appendleft(slide.job)

    def _close_readers(self, group: WorkerGroup, slide: ActiveSlide) -> None:
        for reader in group.readers:
            if reader.name in slide.readers and reader.up:
                self._dispatch.call(reader, "close", slide.key)
        slide.readers.clear()

    def _broken(self, group: WorkerGroup, key: str, error: Exception) -> None:
        """Reading a slide raised, or getting ready for it: it costs the slide."""
        slide = group.active.get(key)
        if slide is not None:
            self._drop(group, slide)
            self._fail(slide.job, error, slide)

    # -- extracting -------------------------------------------------------------------------

    def _feed(self, group: WorkerGroup, key: str, chunk: Chunk, pixels: Any, size: int) -> None:
        slide = group.active.get(key)
        if slide is None or not group.extractor.up:  # dropped, or its extractor is gone: begun again under another key
            group.in_flight_bytes -= size
            return
        slide.read_s += chunk.read_s
        slide.unreadable += int((~chunk.readable).sum())
        if slide.unreadable > self._ingest.reading.max_unreadable * slide.tiles:
            group.in_flight_bytes -= size
            self._broken(
                group,
                key,
                UnreadableTilesError(
                    f"slide {slide.job.slide_id!r}: {slide.unreadable} of {slide.tiles} tiles could not be read; "
                    f"expected at most {self._ingest.reading.max_unreadable:.1%}; the first: {chunk.error}; "
                    "the file may be damaged or half copied; copy it again, or raise --max-unreadable"
                ),
            )
            return

        def fed(finished: list[FinishedSlide]) -> None:
            group.in_flight_bytes -= size
            self._counts.embedded(len(chunk.readable))
            self._take(group, finished)

        def lost(guilty: bool) -> None:
            group.in_flight_bytes -= size
            if guilty and key in group.active and self._strike(slide.job, "embedding"):
                del group.active[key]

        def failed(error: Exception) -> None:
            group.in_flight_bytes -= size
            if key not in group.active:
                return
            if isinstance(error, UnknownKeyError):  # it was started again meanwhile, or pixels went with a node
                self._restart_group(group)
                return
            raise RunError(
                f"the extractor failed on tiles {chunk.start} and on of slide {slide.job.slide_id!r}: "
                f"{type(error).__name__}: {error}; committed slides are safe; if memory ran out, lower --batch-tiles"
            ) from error

        self._dispatch.call(group.extractor, "feed", chunk, pixels, done=fed, lost=lost, failed=failed)

    def _flushed(self, group: WorkerGroup, finished: list[FinishedSlide]) -> None:
        group.flushing = False
        self._take(group, finished)
        if group.active and not group.in_flight_bytes and not any(slide.has_more for slide in group.active.values()):
            # Every tile went in and some did not come out: the process was started again between two calls.
            self._restart_group(group)

    def _take(self, group: WorkerGroup, finished: Sequence[FinishedSlide]) -> None:
        for one in finished:
            slide = group.active.get(one.key)
            if slide is None:
                continue
            slide.finished.append(one)
            slide.unfinished.discard(one.fragments.collection)
            if not slide.unfinished:
                del group.active[one.key]
                self._finish(slide)

    # -- endings ----------------------------------------------------------------------------

    def _finish(self, slide: ActiveSlide) -> None:
        job = slide.job
        if any(one.fragments.rows + one.fragments.view_rows == 0 for one in slide.finished):
            why = UnreadableTilesError(f"slide {job.slide_id!r}: not one of {slide.tiles} tiles could be read")
            self._fail(job, why, slide)
            return
        self._commit_buffer.put_done(slide, labelled=job.slide_id not in self._known or job.slide_id in self._replacing)
        self._counts.done()

    def _fail(self, job: SlideJob, error: Exception, slide: ActiveSlide | None = None) -> None:
        """Record a slide that has no rows, with the reason; the run goes on."""
        if not isinstance(error, EmbedStoreError):
            log.warning("slide %s failed unexpectedly", job.slide_id, exc_info=error)
        # What was to be replaced is still there, and its record with it.
        if not (job.slide_id in self._replacing and job.slide_id in self._known):
            self._commit_buffer.put_failed(job, error, slide, new=job.slide_id not in self._known)
        self._counts.ended(job.slide_id, error)

    def _drop(self, group: WorkerGroup, slide: ActiveSlide) -> None:
        self._close_readers(group, slide)
        group.active.pop(slide.key, None)
        if group.extractor.up:
            self._dispatch.call(group.extractor, "drop", slide.key)

    def _drop_all(self) -> None:
        """Stop: what is under way is left to end unheard, except a commit."""
        self._dispatch.abandon(but=self._committer)
        for group in self._groups:
            group.active.clear()
            group.planning = 0

    # -- committing -------------------------------------------------------------------------

    def _maybe_commit(self, *, nothing_else: bool) -> None:
        if self._committing or not self._committer.up or not self._commit_buffer.due(at_once=nothing_else):
            return
        batch = self._commit_buffer.take()
        self._committing = True

        def done(_: int) -> None:
            self._committing = False

        def lost(_: bool) -> None:  # whether it was committed or not, the committer will know
            self._committing = False
            self._commit_buffer.put_back(batch)

        self._dispatch.call(self._committer, "commit", batch, done=done, lost=lost)
