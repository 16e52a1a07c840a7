"""The slides of one worker group, from plan to fragments: what each worker of the group does next.

A slide belongs to one extractor, which puts its rows in order. Its readers send chunks of tiles; bytes in flight are
limited. A slide that is interrupted by a worker's death is read again; one that keeps killing workers fails.
"""

import itertools
import logging
import time
from collections import deque
from collections.abc import Sequence

from actors.active_slide import ActiveSlide
from actors.commit_buffer import CommitBuffer
from actors.dispatch import Dispatch, WorkerHandle
from actors.extractor_worker import FailedSlide, FinishedSlide
from actors.jobs import RunContext, SlideJob
from actors.reader import NAMED, Chunk, PlannedSlide, without_arrays
from actors.run_counts import RunCounts
from actors.worker_group import WorkerGroup
from actors.workers import ResultRef
from embedstore.access_errors import access_error
from embedstore.errors import (
    AccessError,
    EmbedStoreError,
    RunError,
    SlideCacheFullError,
    SlideError,
    UnknownKeyError,
    UnreadableTilesError,
    WorkerDiedError,
)
from embedstore.slides import SlideSource
from embedstore.uris import is_uri

log = logging.getLogger(__name__)

#: Slides of the queue among which the next is chosen, so that each group takes those that it fetched ahead.
LOOKED_AHEAD = 64
#: How long planning pauses, and how long a slide waits at most, where fetched slides fill the disk, seconds.
ROOM_PAUSE_S, ROOM_S = 1.0, 600.0


class GroupPipeline:
    """Takes slides from a queue through one worker group.

    Args:
        queue: Slides that no group has taken up; shared by all groups of a run.
        buffer: Takes finished and failed slides.
    """

    def __init__(
        self,
        group: WorkerGroup,
        dispatch: Dispatch,
        queue: deque[SlideJob],
        buffer: CommitBuffer,
        counts: RunCounts,
        context: RunContext,
    ) -> None:
        self.group = group
        self.in_flight_bytes = 0  # pixels that were requested and are not yet embedded
        self._dispatch, self._queue, self._buffer, self._counts = dispatch, queue, buffer, counts
        self._context, self._run, self._tile_bytes = context, context.run, context.tile_bytes
        self._active: dict[str, ActiveSlide] = {}  # by key
        self._own_slide: dict[str, ActiveSlide] = {}  # the slide that a reader prefers, by the reader's name
        self._planning = 0
        self._flushing = False
        self._given_up = False
        self._no_room_until = 0.0  # fetched slides fill the disk

    @property
    def idle(self) -> bool:
        """Whether no slide is in the pipeline."""
        return not self._active and not self._planning

    # -- what the readers do next -----------------------------------------------------------

    def hand_out(self, reader: WorkerHandle) -> bool:
        """Give a reader its next call; False when there is nothing for it now."""
        own = self._own_slide.get(reader.name)
        if own is not None and not (own.has_more and own.key in self._active):
            del self._own_slide[reader.name]
            own = None
        room = self.in_flight_bytes == 0 or self.in_flight_bytes < self._run.in_flight_bytes
        waiting = self._unclaimed()
        if own is None and waiting and room:
            own = self._own_slide[reader.name] = waiting.pop(0)
        idle = sum(other.name not in self._own_slide for other in self.group.readers if other.up)
        has_room = time.monotonic() >= self._no_room_until
        if self._queue and has_room and self._planning + len(waiting) < max(1, idle):
            self._plan(reader)
            return True
        if own is None and not self._planning and not self._queue:  # help with another reader's slide
            unread = [slide for slide in self._active.values() if slide.has_more]
            if unread:
                own = self._own_slide[reader.name] = max(unread, key=lambda slide: slide.tiles - slide.next_start)
        if own is None or not room:
            return False
        self._read(reader, own)
        return True

    def _unclaimed(self) -> list[ActiveSlide]:
        """Slides with tiles to read that no reader prefers."""
        claimed = {id(slide) for slide in self._own_slide.values()}
        return [slide for slide in self._active.values() if slide.has_more and id(slide) not in claimed]

    def maybe_flush(self) -> None:
        """Embed half-filled batches once no further tile will come."""
        extractor, readers = self.group.extractor, self.group.readers
        if not extractor.up or not self._active or self._queue or self._planning or self._flushing:
            return
        if extractor.calls or any(reader.calls for reader in readers if reader.up):
            return
        if any(slide.has_more for slide in self._active.values()):
            return  # a reader is being restarted
        self._flushing = True
        self._dispatch.call(extractor, "flush", done=self._flushed)

    # -- planning ---------------------------------------------------------------------------

    def _plan(self, reader: WorkerHandle) -> None:
        job = self._next_job()
        self._planning += 1

        def planned(result: PlannedSlide) -> None:
            self._planning -= 1
            self._planned(job, result, ref)

        def lost(running: bool) -> None:
            self._planning -= 1
            if not (running and self._strike(job, "planning")):
                self._queue.appendleft(job)

        def failed(error: Exception) -> None:
            self._planning -= 1
            if isinstance(error, UnknownKeyError) or (
                isinstance(error, SlideCacheFullError) and self._waits_for_room(job)
            ):  # the plan was lost with its node
                self._queue.appendleft(job)
            elif isinstance(error, AccessError):  # of the object store, which would refuse every other slide too
                raise error
            else:
                self._fail(job, error)

        ref = self._dispatch.call(
            reader, "plan", job.source, *self._fetched_next(), done=planned, lost=lost, failed=failed
        )

    def _next_job(self) -> SlideJob:
        """Take the next slide from the queue: one that this group fetched ahead, or one that no other group did."""
        first = list(itertools.islice(self._queue, LOOKED_AHEAD))
        wanted = (id(self), None)
        job = min(first, key=lambda job: wanted.index(job.fetched_by) if job.fetched_by in wanted else len(wanted))
        self._queue.remove(job)
        return job

    def _fetched_next(self) -> list[SlideSource]:
        """The slide of an object store, if there is one, that a reader is to fetch while it works on another."""
        for job in itertools.islice(self._queue, LOOKED_AHEAD):
            if job.fetched_by is None and is_uri(job.source.path):
                job.fetched_by = id(self)
                return [job.source]
        return []

    def _waits_for_room(self, job: SlideJob) -> bool:
        """Whether a slide waits until others are done that fill the disk; no longer than ROOM_S where none are here."""
        now = time.monotonic()
        self._no_room_until = now + ROOM_PAUSE_S
        job.waits_since = now if job.waits_since is None else job.waits_since
        return bool(self._active) or now - job.waits_since < ROOM_S

    def _planned(self, job: SlideJob, planned: PlannedSlide, ref: ResultRef) -> None:
        plan = planned.plan
        if self._given_up:
            self._queue.appendleft(job)
            return
        stored = self._context.stored_fingerprints.get(job.slide_id)
        if stored and plan.fingerprint and stored != plan.fingerprint and job.slide_id not in self._context.replacing:
            self._fail(
                job,
                SlideError(
                    f"slide {job.slide_id!r} is in the store from another file (fingerprint {stored}, this file "
                    f"{plan.fingerprint}); rename it, give it a slide_id in a slide list, or replace its rows with "
                    f"--force {job.slide_id}"
                ),
            )
            return
        self._active[job.key] = ActiveSlide(
            job=job,
            plan=without_arrays(plan),
            plan_ref=ref,
            plan_s=planned.plan_s,
            tiles=len(plan),
            chunk_tiles=self._chunk_tiles,
            labels=plan.labels,
            unfinished=set(job.collections),
        )

    # -- reading ----------------------------------------------------------------------------

    @property
    def _chunk_tiles(self) -> int:
        """Tiles that are read at once: few enough that each of many readers has a chunk in flight."""
        share = self._run.in_flight_bytes // (len(self.group.readers) + 1)
        return max(1, min(self._context.chunk_bytes, share) // self._tile_bytes)

    def _read(self, reader: WorkerHandle, slide: ActiveSlide) -> None:
        key = slide.key
        if not slide.opened:
            slide.opened = True
            self._open_extractor(slide)
        if reader.name not in slide.readers:
            slide.readers.add(reader.name)
            self._open_reader(reader, slide)
        start, stop = slide.next_chunk()
        size = (stop - start) * self._tile_bytes
        self.in_flight_bytes += size

        def read(chunk: Chunk) -> None:
            self._feed(key, chunk, refs[1], size)

        def lost(running: bool) -> None:
            self.in_flight_bytes -= size
            if key not in self._active:
                return
            if running and self._strike(slide.job, "reading"):
                self._drop(slide)
            else:
                slide.redo.append((start, stop))

        def failed(error: Exception) -> None:
            if isinstance(error, UnknownKeyError):  # the reader was restarted meanwhile
                slide.readers.discard(reader.name)
                lost(False)
                return
            self.in_flight_bytes -= size
            self._drop_failed(key, error)

        refs = self._dispatch.call(reader, "read", key, start, stop, done=read, lost=lost, failed=failed, returns=2)
        if not slide.has_more:
            self._close(slide)

    def _open_extractor(self, slide: ActiveSlide) -> None:
        key, job = slide.key, slide.job

        def failed(error: Exception) -> None:
            if isinstance(error, UnknownKeyError):
                self._plan_again(key)
            elif isinstance(error, SlideError):  # its views would be of other tiles than the stored ones
                self._drop_failed(key, error)
            else:
                raise error

        self._dispatch.call(
            self.group.extractor,
            "open",
            key,
            job.slide_id,
            slide.plan_ref,
            job.collections,
            job.views_only,
            failed=failed,
        )

    def _open_reader(self, reader: WorkerHandle, slide: ActiveSlide) -> None:
        key = slide.key

        def lost(running: bool) -> None:
            if running and key in self._active and self._strike(slide.job, "opening"):
                self._drop(slide)

        def failed(error: Exception) -> None:
            if isinstance(error, UnknownKeyError) or (
                isinstance(error, SlideCacheFullError) and self._waits_for_room(slide.job)
            ):
                self._plan_again(key)
            elif isinstance(error, AccessError):
                raise error
            else:
                self._drop_failed(key, error)

        self._dispatch.call(reader, "open", key, slide.plan_ref, lost=lost, failed=failed)

    def _plan_again(self, key: str) -> None:
        """Return a slide to the queue whose plan was lost with the node that made it."""
        slide = self._active.get(key)
        if slide is not None:
            self._drop(slide)
            slide.job.attempt += 1
            self._queue.appendleft(slide.job)

    def _close(self, slide: ActiveSlide) -> None:
        """Make the readers close a slide."""
        for reader in self.group.readers:
            if reader.name in slide.readers and reader.up:
                self._dispatch.call(reader, "close", slide.key)
        slide.readers.clear()

    # -- extracting -------------------------------------------------------------------------

    def _feed(self, key: str, chunk: Chunk, pixels: ResultRef, size: int) -> None:
        slide = self._active.get(key)
        # None: the slide was dropped, or restarted under another key.
        if slide is None or not self.group.extractor.up:
            self.in_flight_bytes -= size
            return
        slide.read_s += chunk.read_s
        slide.unreadable += int((~chunk.readable).sum())
        slide.unreadable_names = [*slide.unreadable_names, *chunk.unreadable][:NAMED]
        max_unreadable = self._context.config.reading.max_unreadable
        if slide.unreadable > max_unreadable * slide.tiles:
            self.in_flight_bytes -= size
            self._drop_failed(
                key,
                UnreadableTilesError(
                    f"slide {slide.job.slide_id!r}: {slide.unreadable_tiles}; expected at most "
                    f"{max_unreadable:.1%}; the first: {chunk.error}; "
                    "the file may be damaged or half copied; copy it again, or raise --max-unreadable"
                ),
            )
            return

        def fed(finished: list[FinishedSlide | FailedSlide]) -> None:
            self.in_flight_bytes -= size
            self._counts.add_tiles(int(chunk.readable.sum()))
            self._collect(finished)

        def lost(running: bool) -> None:
            self.in_flight_bytes -= size
            if running and key in self._active and self._strike(slide.job, "embedding"):
                del self._active[key]

        def failed(error: Exception) -> None:
            self.in_flight_bytes -= size
            if key not in self._active:
                return
            if isinstance(error, UnknownKeyError):  # the extractor was restarted meanwhile, or a node lost the pixels
                self.restart()
                return
            if access_error(error):
                raise error
            raise RunError(
                f"the extractor failed on tiles {chunk.start} and on of slide {slide.job.slide_id!r}: "
                f"{type(error).__name__}: {error}; if memory ran out, lower --batch-tiles"
            ) from error

        self._dispatch.call(self.group.extractor, "feed", chunk, pixels, done=fed, lost=lost, failed=failed)

    def _flushed(self, finished: list[FinishedSlide | FailedSlide]) -> None:
        self._flushing = False
        self._collect(finished)
        if self._active and not self.in_flight_bytes and not any(slide.has_more for slide in self._active.values()):
            # All tiles were fed and some were not embedded: the extractor was restarted between two calls.
            self.restart()

    def _collect(self, finished_slides: Sequence[FinishedSlide | FailedSlide]) -> None:
        """Record what the extractor finished: a slide is done once it is finished for every collection."""
        for finished in finished_slides:
            if isinstance(finished, FailedSlide):
                self._drop_failed(finished.key, finished.error)
                continue
            slide = self._active.get(finished.key)
            if slide is None:
                continue
            slide.finished.append(finished)
            slide.unfinished.discard(finished.fragments.collection)
            if not slide.unfinished:
                del self._active[finished.key]
                self._finish(slide)

    # -- workers that die -------------------------------------------------------------------

    def reader_died(self, reader: WorkerHandle) -> None:
        """Forget what a reader had open and which slide it preferred; its chunks are read again."""
        self._own_slide.pop(reader.name, None)
        for slide in self._active.values():
            slide.readers.discard(reader.name)

    def restart(self) -> None:
        """Restart every slide: the extractor died, and embeddings that it had not written are lost."""
        self._flushing = False
        self._own_slide.clear()
        slides = list(self._active.values())
        self._active.clear()
        for slide in slides:
            self._forget(slide)
            slide.restart()
            self._active[slide.key] = slide

    def give_up(self) -> None:
        """Return all slides to the queue: this group cannot go on."""
        self._given_up = True
        for slide in self._active.values():
            slide.job.attempt += 1
            self._queue.append(slide.job)
        self._active.clear()

    def drop_all(self) -> None:
        """Forget every slide, as the run ends: results of calls under way are ignored."""
        self._active.clear()
        self._planning = 0

    def _strike(self, job: SlideJob, doing: str) -> bool:
        """Count a worker's death against a slide; True if that was one too many, and the slide has failed."""
        job.strikes += 1
        if job.strikes < self._run.max_strikes:
            return False
        error = WorkerDiedError(
            f"slide {job.slide_id!r}: {job.strikes} workers died while {doing} it; the file may crash its decoder or "
            "exhaust memory; try --reader openslide, or more memory, with --retry-failed"
        )
        self._fail(job, error)
        return True

    # -- how a slide ends -------------------------------------------------------------------

    def _finish(self, slide: ActiveSlide) -> None:
        """Pass on a slide whose rows are written, or fail it where it has none."""
        if any(part.fragments.rows + part.fragments.view_rows == 0 for part in slide.finished):
            slide_id = slide.job.slide_id
            self._fail(
                slide.job,
                UnreadableTilesError(f"slide {slide_id!r}: not one of {slide.tiles} tiles could be read"),
                slide,
            )
            return
        self._counts.add_done(slide.job.slide_id, self._buffer.add_finished(slide))

    def _fail(self, job: SlideJob, error: Exception, slide: ActiveSlide | None = None) -> None:
        """Record a slide that gets no rows, with the reason; the run goes on."""
        if not isinstance(error, EmbedStoreError):
            log.warning("slide %s failed unexpectedly", job.slide_id, exc_info=error)
        self._buffer.add_failed(job, error, slide)
        self._counts.add_failed(job.slide_id, error)

    def _drop_failed(self, key: str, error: Exception) -> None:
        """Fail a slide that is in the pipeline."""
        slide = self._active.get(key)
        if slide is not None:
            self._drop(slide)
            self._fail(slide.job, error, slide)

    def _drop(self, slide: ActiveSlide) -> None:
        self._active.pop(slide.key, None)
        self._forget(slide)

    def _forget(self, slide: ActiveSlide) -> None:
        """Make the workers forget a slide."""
        self._close(slide)
        if self.group.extractor.up:
            self._dispatch.call(self.group.extractor, "drop", slide.key)
