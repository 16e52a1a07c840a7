"""The run: which worker does what next, and what follows when one of them dies.

Every call that is under way stands in `_calls`. The loop waits for one to end, tells its `done`, and hands out new
work. A slide belongs to one extractor, which puts its rows in order; its readers send chunks of tiles, of which only
so many bytes are under way. Nothing here knows whether workers are threads or Ray actors.
"""

import functools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from actors.committer import Group
from actors.extractor import Finished
from actors.jobs import ActiveSlide, Call, Job, Lane, Seat
from actors.progress import Progress
from actors.reader import Chunk, Planned, without_arrays
from actors.workers import Pool, UnknownKeyError, WorkerDiedError
from embedstore.config import IngestConfig, RunConfig
from embedstore.errors import EmbedStoreError, NoTileError, RunError, SlideError, UnreadableTilesError
from embedstore.store import Delivery, Label, Outcome, SlideFacts

log = logging.getLogger(__name__)

#: Calls that a reader has before it at once: one in hand and one that waits, so that it never idles on the driver.
READER_CALLS = 2
TICK_S = 0.25
#: A worker that does not come back in this time is given up, and the run with it.
REVIVE_S = 180.0


class Run:
    """Takes jobs through a pool of workers; see `run`.

    Args:
        known_fingerprints: Fingerprint of each slide that the store knows.
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
        self._pool, self._lanes, self._committer = pool, list(lanes), committer
        self._todo = deque(jobs)
        self._ingest, self._config, self._run_id = ingest, config, run_id
        self._progress, self._known, self._replacing = progress, known_fingerprints, replacing
        self._stop = stop
        self._calls: dict[Any, Call] = {}
        self._deaths = 0
        self._deliveries: list[Delivery] = []
        self._outcomes: list[Outcome] = []
        self._facts: dict[str, SlideFacts] = {}
        self._labels: list[Label] = []
        self._pending_since = 0.0
        self._committing: Group | None = None
        tiling = ingest.tiling
        self._tile_bytes = 3 * tiling.tile_px**2

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
                for lane in self._lanes:
                    self._fill(lane)
            self._maybe_commit(nothing_else=stopping or self._idle())
            self._wake()
            if not self._calls and not self._outcomes and (stopping or self._idle()):
                return
            if not self._calls:
                time.sleep(TICK_S)  # a worker is being started again
            for handle in self._pool.wait(list(self._calls), TICK_S):
                self._settle(handle)
            self._progress.tick()

    def _idle(self) -> bool:
        return not self._todo and not any(lane.active or lane.planning for lane in self._lanes)

    def _settle(self, handle: Any) -> None:
        call = self._calls.get(handle)
        if call is None:  # settled together with others of its dead worker
            return
        try:
            result = self._pool.get(handle)
        except WorkerDiedError:
            self._died(call.worker)
            return
        except Exception as error:
            self._forget(handle)
            if call.failed is None:
                raise
            call.failed(error)
            return
        self._forget(handle)
        call.done(result)

    def _forget(self, handle: Any) -> Call:
        call = self._calls.pop(handle)
        call.worker.calls.remove(handle)
        return call

    def _call(
        self,
        seat: Seat,
        method: str,
        *args: Any,
        done: Callable[[Any], None],
        lost: Callable[[bool], None] = lambda guilty: None,
        failed: Callable[[Exception], None] | None = None,
        returns: int = 1,
    ) -> Any:
        handles = seat.worker.call(method, *args, returns=returns)
        first = handles if returns == 1 else handles[0]
        self._calls[first] = Call(worker=seat, what=method, done=done, lost=lost, failed=failed)
        seat.calls.append(first)
        return handles

    # -- workers that die -------------------------------------------------------------------

    def _died(self, seat: Seat) -> None:
        """Settle everything that a dead worker was asked for, and wait for it to be started again."""
        seat.ask_at = time.monotonic() + TICK_S
        if not seat.up:  # not back yet
            self._forget(seat.calls[0])
            return
        seat.up = False
        seat.down_since = time.monotonic()
        seat.slide = None
        self._deaths += 1
        log.warning("worker %s died (%d of %d)", seat.name, self._deaths, self._config.max_restarts)
        guilty = True
        for handle in list(seat.calls):
            self._pool.wait([handle], 10.0)
            call = self._forget(handle)
            try:
                result = self._pool.get(handle)
            except Exception:
                call.lost(guilty)
                guilty = False  # calls are carried out in order: the oldest that failed was in hand
            else:
                call.done(result)
        for lane in self._lanes:
            if seat is lane.extractor:
                self._restart_lane(lane)
            elif seat in lane.readers:
                for slide in lane.active.values():
                    slide.readers.discard(seat.name)
        if self._deaths > self._config.max_restarts:
            raise RunError(
                f"workers died {self._deaths} times, the last was {seat.name}; expected at most "
                f"{self._config.max_restarts}. Is memory short? Committed slides are safe; run the same command again"
            )

    def _wake(self) -> None:
        """Ask workers that died whether they are back."""
        for seat in self._seats():
            if seat.up or seat.calls or time.monotonic() < seat.ask_at:
                continue
            if time.monotonic() - seat.down_since > REVIVE_S:
                raise RunError(
                    f"worker {seat.name} did not come back within {REVIVE_S:.0f} s; committed slides are safe; "
                    "look at the cluster (`ray status`), then run the same command again"
                )
            self._call(seat, "ping", done=functools.partial(self._back, seat))

    def _back(self, seat: Seat, _: None) -> None:
        seat.up = True

    def _seats(self) -> Iterator[Seat]:
        yield self._committer
        for lane in self._lanes:
            yield lane.extractor
            yield from lane.readers

    def _restart_lane(self, lane: Lane) -> None:
        """An extractor died, and with it the embeddings of its slides that were not written out: begin them again."""
        lane.flushing = False
        slides = list(lane.active.values())
        lane.active.clear()
        for reader in lane.readers:
            reader.slide = None
        for slide in slides:
            self._close_readers(lane, slide)
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

    def _fill(self, lane: Lane) -> None:
        if not lane.extractor.up:
            return
        for reader in sorted(lane.readers, key=lambda seat: len(seat.calls)):
            while reader.up and len(reader.calls) < READER_CALLS and self._hand_out(lane, reader):
                pass
        quiet = not any(reader.calls for reader in lane.readers if reader.up) and not lane.extractor.calls
        if lane.active and quiet and not self._todo and not lane.planning and not lane.flushing:
            if any(slide.has_more for slide in lane.active.values()):
                return  # a reader is being restarted
            lane.flushing = True
            self._call(lane.extractor, "flush", done=lambda finished: self._flushed(lane, finished))

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
            self._fail(job, error)

        handle = self._call(reader, "plan", job.source, done=planned, lost=lost, failed=failed)

    def _planned(self, lane: Lane, job: Job, result: Planned, handle: Any) -> None:
        plan = result.plan
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
            self._call(lane.extractor, "open", key, slide.job.slide_id, slide.planned, slide.job.wanted, done=_nothing)
        if reader.name not in slide.readers:
            slide.readers.add(reader.name)
            self._call(reader, "open", key, slide.planned, done=_nothing, failed=lambda e: self._broken(lane, key, e))
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

        handles = self._call(reader, "read", key, start, stop, done=read, lost=lost, failed=failed, returns=2)
        if not slide.has_more:
            self._close_readers(lane, slide)

    def _close_readers(self, lane: Lane, slide: ActiveSlide) -> None:
        for reader in lane.readers:
            if reader.name in slide.readers and reader.up:
                self._call(reader, "close", slide.key, done=_nothing)
        slide.readers.clear()

    def _broken(self, lane: Lane, key: str, error: Exception) -> None:
        """Reading a slide raised: it costs the slide."""
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
                    f"slide {slide.job.slide_id!r}: {slide.unreadable} of {slide.tiles} tiles could not be read; expected at most "
                    f"{self._ingest.reading.max_unreadable:.1%}; the first: {chunk.error}; the file may be damaged or half copied; "
                    "copy it again, or raise --max-unreadable"
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
                self._drop(lane, slide)
                slide.restart()
                lane.active[slide.key] = slide
                return
            raise RunError(
                f"the extractor failed on tiles {chunk.start} and on of slide {slide.job.slide_id!r}: "
                f"{type(error).__name__}: {error}; committed slides are safe; if memory ran out, lower --batch-tiles"
            ) from error

        self._call(lane.extractor, "feed", chunk, pixels, done=fed, lost=lost, failed=failed)

    def _flushed(self, lane: Lane, finished: list[Finished]) -> None:
        lane.flushing = False
        self._take(lane, finished)

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
        job, facts = slide.job, slide.facts
        if any(one.delivery.rows == 0 for one in slide.finished):
            self._fail(job, UnreadableTilesError(f"slide {job.slide_id!r}: not one of {slide.tiles} tiles could be read"), slide)
            return
        for one in slide.finished:
            self._deliveries.append(one.delivery)
            self._note(
                Outcome(
                    collection=one.delivery.collection,
                    slide_id=job.slide_id,
                    path=job.source.path,
                    state="done",
                    tiles=one.delivery.rows,
                    unreadable=slide.unreadable,
                    reader=facts.reader,
                    plan_s=slide.plan_s,
                    read_s=slide.read_s,
                    extract_s=one.extract_s,
                    write_s=one.write_s,
                    warnings=facts.warnings,
                    run_id=self._run_id,
                )
            )
        self._facts[job.slide_id] = slide_facts(job, facts)
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
            for label in slide.labels
        ]
        self._progress.done(job.slide_id, slide.tiles - slide.unreadable)

    def _fail(self, job: Job, error: Exception, slide: ActiveSlide | None = None) -> None:
        """Record a slide that has no rows, with the reason; the run goes on."""
        if not isinstance(error, EmbedStoreError):
            log.warning("slide %s failed unexpectedly", job.slide_id, exc_info=error)
        empty = isinstance(error, NoTileError)
        for collection in job.wanted:
            self._note(
                Outcome(
                    collection=collection,
                    slide_id=job.slide_id,
                    path=job.source.path,
                    state="empty" if empty else "failed",
                    unreadable=slide.unreadable if slide else 0,
                    reader=slide.facts.reader if slide else None,
                    error=type(error).__name__,
                    reason=str(error),
                    warnings=slide.facts.warnings if slide else (),
                    run_id=self._run_id,
                )
            )
        if job.slide_id not in self._known:
            self._facts[job.slide_id] = slide_facts(job, slide.facts if slide else None)
        self._progress.ended(job.slide_id, "empty" if empty else "failed", str(error))

    def _note(self, outcome: Outcome) -> None:
        if not self._outcomes:
            self._pending_since = time.monotonic()
        self._outcomes.append(outcome)

    def _drop(self, lane: Lane, slide: ActiveSlide) -> None:
        self._close_readers(lane, slide)
        lane.active.pop(slide.key, None)
        if lane.extractor.up:
            self._call(lane.extractor, "drop", slide.key, done=_nothing)

    def _drop_all(self) -> None:
        """Stop: what is under way is left to end unheard, except a commit."""
        for handle in list(self._calls):
            if self._calls[handle].worker is not self._committer:
                self._forget(handle)
        for lane in self._lanes:
            lane.active.clear()
            lane.planning = 0

    # -- committing -------------------------------------------------------------------------

    def _maybe_commit(self, *, nothing_else: bool) -> None:
        if self._committing is not None or not self._outcomes or not self._committer.up:
            return
        waited_s = time.monotonic() - self._pending_since
        if nothing_else or len(self._outcomes) >= self._config.group_slides or waited_s >= self._config.group_s:
            self._committing = Group(
                deliveries=tuple(self._deliveries),
                facts=tuple(self._facts.values()),
                outcomes=tuple(self._outcomes),
                labels=tuple(self._labels),
                replacing=self._replacing,
            )
            self._deliveries, self._outcomes, self._labels, self._facts = [], [], [], {}
            self._send_commit()

    def _send_commit(self) -> None:
        group = self._committing

        def done(_: int) -> None:
            self._committing = None
            assert group is not None
            self._progress.committed(len({outcome.slide_id for outcome in group.outcomes}))

        def lost(_: bool) -> None:  # whether it was committed or not, the committer will know
            self._committing = None
            self._deliveries = list(group.deliveries) + self._deliveries
            self._outcomes = list(group.outcomes) + self._outcomes
            self._labels = list(group.labels) + self._labels
            self._facts = {fact.slide_id: fact for fact in group.facts} | self._facts

        self._call(self._committer, "commit", group, done=done, lost=lost)


def _nothing(_: Any) -> None:
    """What there is to do when a call without a result ends."""


def slide_facts(job: Job, plan: Any) -> SlideFacts:
    """The slide's own row; of a slide that could not be planned, what its list said."""
    source = job.source
    if plan is None:
        return SlideFacts(
            slide_id=source.slide_id, path=source.path, kind=source.kind, slide_mpp=source.mpp, metadata=source.metadata
        )
    return SlideFacts(
        slide_id=source.slide_id,
        path=source.path,
        kind=source.kind,
        width_l0=plan.size_l0[0],
        height_l0=plan.size_l0[1],
        slide_mpp=plan.mpp,
        vendor=plan.vendor,
        tissue_mm2=plan.tissue_mm2,
        fingerprint=plan.fingerprint,
        metadata=source.metadata,
    )
