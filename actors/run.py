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

from actors.dispatch import Dispatch
from actors.extractor import Finished
from actors.jobs import ActiveSlide, Job, Lane, Seat
from actors.outbox import Outbox
from actors.progress import Progress
from actors.reader import Chunk, Planned, without_arrays
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


class Run:
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
        lanes: Sequence[Lane],
        committer: Seat,
        jobs: Sequence[Job],
        ingest: IngestConfig,
        config: RunConfig,
        run_id: str,
        progress: Progress,
        known_fingerprints: dict[str, str | None],
        replacing: frozenset[str] = frozenset(),
        stop: Callable[[], bool] = lambda: False,
    ):
        self._lanes, self._committer = list(lanes), committer
        self._todo = deque(jobs)
        self._ingest, self._config = ingest, config
        self._progress, self._known, self._replacing = progress, known_fingerprints, replacing
        self._stop = stop
        # The first reader of each lane, then the second of each …
        by_rank = itertools.zip_longest(*(lane.readers for lane in self._lanes))
        self._readers = [(lane, seat) for rank in by_rank for lane, seat in zip(self._lanes, rank, strict=True) if seat]
        self._outbox = Outbox(config, run_id=run_id, replacing=replacing)
        self._committing = False
        seats = [self._committer, *(seat for lane in self._lanes for seat in (lane.extractor, *lane.readers))]
        self._dispatch = Dispatch(
            pool, seats, max_restarts=config.max_restarts, on_death=self._on_death, on_loss=self._on_loss
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
                for lane in self._lanes:
                    self._maybe_flush(lane)
            over = stopping or self._idle()
            self._maybe_commit(nothing_else=over)
            if over and not self._dispatch and not self._outbox:
                return
            try:
                self._dispatch.settle()
            except Exception:
                self._salvage()
                raise
            self._progress.tick()

    def _salvage(self) -> None:
        """Commit what is finished before the run ends with an error."""
        self._drop_all()
        while self._committer.up and (self._outbox or self._dispatch):
            self._maybe_commit(nothing_else=True)
            try:
                self._dispatch.settle(wake=False)
            except Exception:
                log.exception("finished slides could not be committed; the next run makes them again")
                return

    def _idle(self) -> bool:
        return not self._todo and not any(lane.active or lane.planning for lane in self._lanes)

    # -- workers that die -------------------------------------------------------------------

    def _on_death(self, seat: Seat) -> None:
        seat.slide = None
        for lane in self._lanes:
            if seat is lane.extractor:
                self._restart_lane(lane)
            elif seat in lane.readers:
                for slide in lane.active.values():
                    slide.readers.discard(seat.name)

    def _on_loss(self, seat: Seat) -> list[Seat]:
        """Go on without a worker that does not come back: without its lane where that cannot work without it."""
        lane = next((lane for lane in self._lanes if seat is lane.extractor or seat in lane.readers), None)
        if lane is None:
            return []
        if seat in lane.readers and any(reader.up for reader in lane.readers):
            lane.readers.remove(seat)
            self._readers = [pair for pair in self._readers if pair[1] is not seat]
            return [seat]
        if not any(other.extractor.up for other in self._lanes if other is not lane):
            return []
        log.warning("going on without %s and its readers; their slides go to others", lane.extractor.name)
        self._lanes.remove(lane)
        self._readers = [pair for pair in self._readers if pair[0] is not lane]
        for slide in lane.active.values():
            slide.job.attempt += 1
            self._todo.append(slide.job)
        lane.active.clear()
        return [lane.extractor, *lane.readers]

    def _restart_lane(self, lane: Lane) -> None:
        """An extractor died, and with it the embeddings of its slides that were not written out: begin them again."""
        lane.flushing = False
        slides = list(lane.active.values())
        lane.active.clear()
        for reader in lane.readers:
            reader.slide = None
        for slide in slides:
            self._close_readers(lane, slide)
            if lane.extractor.up:
                self._dispatch.call(lane.extractor, "drop", slide.key)
            slide.restart()
            lane.active[slide.key] = slide

    def _strike(self, job: Job, doing: str) -> bool:
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
        """Give every reader what it can take, one call a reader and round, so that no lane gets all the slides."""
        handed_out = True
        while handed_out:
            handed_out = False
            for lane, reader in self._readers:
                if lane.extractor.up and reader.up and len(reader.calls) < READER_CALLS:
                    handed_out |= self._hand_out(lane, reader)

    def _maybe_flush(self, lane: Lane) -> None:
        """Embed half-filled batches once no further tile will come."""
        if not lane.extractor.up:
            return
        quiet = not any(reader.calls for reader in lane.readers if reader.up) and not lane.extractor.calls
        if lane.active and quiet and not self._todo and not lane.planning and not lane.flushing:
            if any(slide.has_more for slide in lane.active.values()):
                return  # a reader is being restarted
            lane.flushing = True
            self._dispatch.call(lane.extractor, "flush", done=lambda finished: self._flushed(lane, finished))

    def _hand_out(self, lane: Lane, reader: Seat) -> bool:
        """Give a reader something to do; False when there is nothing for it now."""
        if reader.slide is not None and not (reader.slide.has_more and reader.slide.key in lane.active):
            reader.slide = None
        waiting = lane.unclaimed()
        room = lane.in_flight_bytes == 0 or lane.in_flight_bytes < self._config.in_flight_bytes
        if reader.slide is None and waiting and room:
            reader.slide = waiting.pop(0)
        idle = sum(seat.slide is None for seat in lane.readers if seat.up)
        if self._todo and lane.planning + len(waiting) < max(1, idle):
            self._plan(lane, reader)
            return True
        if reader.slide is None and not lane.planning and not self._todo:  # help with what is left
            left = [slide for slide in lane.active.values() if slide.has_more]
            reader.slide = max(left, key=lambda slide: slide.tiles - slide.next_start, default=None)
        if reader.slide is None or not room:
            return False
        self._read(lane, reader, reader.slide)
        return True

    def _plan(self, lane: Lane, reader: Seat) -> None:
        job = self._todo.popleft()
        lane.planning += 1

        def planned(result: Planned) -> None:
            lane.planning -= 1
            self._planned(lane, job, result, handle)

        def lost(guilty: bool) -> None:
            lane.planning -= 1
            if not (guilty and self._strike(job, "planning")):
                self._todo.appendleft(job)

        def failed(error: Exception) -> None:
            lane.planning -= 1
            if isinstance(error, UnknownKeyError):  # the plan went with its node
                self._todo.appendleft(job)
            else:
                self._fail(job, error)

        handle = self._dispatch.call(reader, "plan", job.source, done=planned, lost=lost, failed=failed)

    def _planned(self, lane: Lane, job: Job, result: Planned, handle: Any) -> None:
        plan = result.plan
        if lane not in self._lanes:  # given up meanwhile
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
            planned=handle,
            plan_s=result.plan_s,
            tiles=len(plan),
            chunk_tiles=max(1, self._config.chunk_bytes // self._tile_bytes),
            labels=plan.labels,
            unfinished=set(job.wanted),
        )
        lane.active[slide.key] = slide
        self._progress.planned(slide.tiles)

    def _read(self, lane: Lane, reader: Seat, slide: ActiveSlide) -> None:
        key = slide.key
        if not slide.opened:
            slide.opened = True
            job = slide.job
            unplanned = functools.partial(self._unplanned, lane, key)
            self._dispatch.call(
                lane.extractor, "open", key, job.slide_id, slide.planned, job.wanted, job.views_only, failed=unplanned
            )
        if reader.name not in slide.readers:
            slide.readers.add(reader.name)
            self._open(lane, reader, slide)
        start, stop = slide.next_chunk()
        size = (stop - start) * self._tile_bytes
        lane.in_flight_bytes += size

        def read(chunk: Chunk) -> None:
            self._feed(lane, key, chunk, handles[1], size)

        def lost(guilty: bool) -> None:
            lane.in_flight_bytes -= size
            if key not in lane.active:
                return
            if guilty and self._strike(slide.job, "reading"):
                self._drop(lane, slide)
            else:
                slide.redo.append((start, stop))

        def failed(error: Exception) -> None:
            if isinstance(error, UnknownKeyError):  # the reader was started again meanwhile
                slide.readers.discard(reader.name)
                lost(False)
                return
            lane.in_flight_bytes -= size
            self._broken(lane, key, error)

        handles = self._dispatch.call(reader, "read", key, start, stop, done=read, lost=lost, failed=failed, returns=2)
        if not slide.has_more:
            self._close_readers(lane, slide)

    def _open(self, lane: Lane, reader: Seat, slide: ActiveSlide) -> None:
        key = slide.key

        def lost(guilty: bool) -> None:
            if guilty and key in lane.active and self._strike(slide.job, "opening"):
                self._drop(lane, slide)

        def failed(error: Exception) -> None:
            if isinstance(error, UnknownKeyError):
                self._unplanned(lane, key, error)
            else:
                self._broken(lane, key, error)

        self._dispatch.call(reader, "open", key, slide.planned, lost=lost, failed=failed)

    def _unplanned(self, lane: Lane, key: str, error: Exception) -> None:
        """A slide's plan went with the node that made it: the slide is planned again. Or it is one of other tiles."""
        if isinstance(error, SlideError):
            self._broken(lane, key, error)
            return
        if not isinstance(error, UnknownKeyError):
            raise error
        slide = lane.active.get(key)
        if slide is not None:
            self._drop(lane, slide)
            slide.job.attempt += 1
            self._todo.appendleft(slide.job)

    def _close_readers(self, lane: Lane, slide: ActiveSlide) -> None:
        for reader in lane.readers:
            if reader.name in slide.readers and reader.up:
                self._dispatch.call(reader, "close", slide.key)
        slide.readers.clear()

    def _broken(self, lane: Lane, key: str, error: Exception) -> None:
        """Reading a slide raised, or getting ready for it: it costs the slide."""
        slide = lane.active.get(key)
        if slide is not None:
            self._drop(lane, slide)
            self._fail(slide.job, error, slide)

    # -- extracting -------------------------------------------------------------------------

    def _feed(self, lane: Lane, key: str, chunk: Chunk, pixels: Any, size: int) -> None:
        slide = lane.active.get(key)
        if slide is None or not lane.extractor.up:  # dropped, or its extractor is gone: begun again under another key
            lane.in_flight_bytes -= size
            return
        slide.read_s += chunk.read_s
        slide.unreadable += int((~chunk.readable).sum())
        if slide.unreadable > self._ingest.reading.max_unreadable * slide.tiles:
            lane.in_flight_bytes -= size
            self._broken(
                lane,
                key,
                UnreadableTilesError(
                    f"slide {slide.job.slide_id!r}: {slide.unreadable} of {slide.tiles} tiles could not be read; "
                    f"expected at most {self._ingest.reading.max_unreadable:.1%}; the first: {chunk.error}; "
                    "the file may be damaged or half copied; copy it again, or raise --max-unreadable"
                ),
            )
            return

        def fed(finished: list[Finished]) -> None:
            lane.in_flight_bytes -= size
            self._progress.embedded(len(chunk.readable))
            self._take(lane, finished)

        def lost(guilty: bool) -> None:
            lane.in_flight_bytes -= size
            if guilty and key in lane.active and self._strike(slide.job, "embedding"):
                del lane.active[key]

        def failed(error: Exception) -> None:
            lane.in_flight_bytes -= size
            if key not in lane.active:
                return
            if isinstance(error, UnknownKeyError):  # it was started again meanwhile, or pixels went with a node
                self._restart_lane(lane)
                return
            raise RunError(
                f"the extractor failed on tiles {chunk.start} and on of slide {slide.job.slide_id!r}: "
                f"{type(error).__name__}: {error}; committed slides are safe; if memory ran out, lower --batch-tiles"
            ) from error

        self._dispatch.call(lane.extractor, "feed", chunk, pixels, done=fed, lost=lost, failed=failed)

    def _flushed(self, lane: Lane, finished: list[Finished]) -> None:
        lane.flushing = False
        self._take(lane, finished)
        if lane.active and not lane.in_flight_bytes and not any(slide.has_more for slide in lane.active.values()):
            # Every tile went in and some did not come out: the process was started again between two calls.
            self._restart_lane(lane)

    def _take(self, lane: Lane, finished: Sequence[Finished]) -> None:
        for one in finished:
            slide = lane.active.get(one.key)
            if slide is None:
                continue
            slide.finished.append(one)
            slide.unfinished.discard(one.delivery.collection)
            if not slide.unfinished:
                del lane.active[one.key]
                self._finish(slide)

    # -- endings ----------------------------------------------------------------------------

    def _finish(self, slide: ActiveSlide) -> None:
        job = slide.job
        if any(one.delivery.rows + one.delivery.view_rows == 0 for one in slide.finished):
            why = UnreadableTilesError(f"slide {job.slide_id!r}: not one of {slide.tiles} tiles could be read")
            self._fail(job, why, slide)
            return
        self._outbox.put_done(slide, labelled=job.slide_id not in self._known or job.slide_id in self._replacing)
        self._progress.done()

    def _fail(self, job: Job, error: Exception, slide: ActiveSlide | None = None) -> None:
        """Record a slide that has no rows, with the reason; the run goes on."""
        if not isinstance(error, EmbedStoreError):
            log.warning("slide %s failed unexpectedly", job.slide_id, exc_info=error)
        # What was to be replaced is still there, and its record with it.
        if not (job.slide_id in self._replacing and job.slide_id in self._known):
            self._outbox.put_failed(job, error, slide, new=job.slide_id not in self._known)
        self._progress.ended(job.slide_id, error)

    def _drop(self, lane: Lane, slide: ActiveSlide) -> None:
        self._close_readers(lane, slide)
        lane.active.pop(slide.key, None)
        if lane.extractor.up:
            self._dispatch.call(lane.extractor, "drop", slide.key)

    def _drop_all(self) -> None:
        """Stop: what is under way is left to end unheard, except a commit."""
        self._dispatch.abandon(but=self._committer)
        for lane in self._lanes:
            lane.active.clear()
            lane.planning = 0

    # -- committing -------------------------------------------------------------------------

    def _maybe_commit(self, *, nothing_else: bool) -> None:
        if self._committing or not self._committer.up or not self._outbox.due(at_once=nothing_else):
            return
        group = self._outbox.take()
        self._committing = True

        def done(_: int) -> None:
            self._committing = False

        def lost(_: bool) -> None:  # whether it was committed or not, the committer will know
            self._committing = False
            self._outbox.put_back(group)

        self._dispatch.call(self._committer, "commit", group, done=done, lost=lost)
