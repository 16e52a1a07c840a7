"""The scheduler of a run: hands out work, commits what is finished, and goes on when workers die.

Each worker group has a pipeline (`group_pipeline.py`), which knows what its workers do next. The scheduler gives the
groups their turns and waits for calls to end (`dispatch.py`). Groups may join, and be lost with their node, in mid-run.
Nothing here knows whether workers are threads or Ray actors.
"""

import contextlib
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from actors.commit_buffer import CommitBuffer
from actors.committer import Committed
from actors.dispatch import Dispatch, WorkerHandle
from actors.group_pipeline import GroupPipeline
from actors.ingest_workers import TELL_S, IngestWorkers
from actors.jobs import RunContext, SlideJob
from actors.run_counts import RunCounts
from actors.run_record import RunRecord
from actors.work_share import WorkShare
from actors.worker_group import WorkerGroup
from embedstore.access_errors import access_error
from embedstore.errors import RunError
from embedstore.store import Ledger

log = logging.getLogger(__name__)

#: Calls that a reader has at once: one running and one waiting, so that it never waits for the driver.
READER_CALLS = 2
#: A run that ends with an error tries for so long to commit what is finished, seconds.
SALVAGE_S = 30.0
#: The groups are adjusted to the cluster so often, seconds.
ADJUST_S = 2.0
#: A group without work is let go after this time, seconds, where nothing waits for one.
IDLE_S = 60.0
#: A run that lost its last group waits for so long for another one, seconds: spot machines come back.
ALONE_S = 1800.0


class Scheduler:
    """Takes slides through the workers; see `run`.

    Args:
        jobs: The slides, in the order in which they are taken up.
        record: The run's row in the store, by which it shares slides with other runs.
        should_stop: Called often; once it returns True, nothing new is begun and slides in flight are dropped.
    """

    def __init__(
        self,
        workers: IngestWorkers,
        jobs: Sequence[SlideJob],
        counts: RunCounts,
        context: RunContext,
        *,
        record: RunRecord,
        ledger: Ledger,
        should_stop: Callable[[], bool],
    ) -> None:
        self._queue = deque[SlideJob]()
        self._share = WorkShare(
            jobs,
            self._queue,
            record,
            counts,
            ledger,
            run_id=context.run_id,
            readers=lambda: sum(len(pipeline.group.readers) for pipeline in self._pipelines),
            own=context.replacing,
        )
        self._counts, self._context = counts, context
        self._should_stop = should_stop
        self._workers, self._fleet = workers, workers.fleet
        self._committer = workers.committer
        self._others_writing = workers.others_writing
        self._committing = False
        self._committing_since = 0.0
        self._committed: set[str] = set()
        self._doubtful: set[str] = set()  # of a commit that failed, perhaps after their rows were there
        self._pool = workers.pool
        self._buffer = CommitBuffer(context)
        self._dispatch = Dispatch(
            workers.pool,
            [workers.committer],
            max_restarts=context.run.max_restarts,
            on_death=self._on_death,
            on_loss=self._on_loss,
        )
        self._pipelines: list[GroupPipeline] = []
        self._records = next((group.records for group in workers.groups if group.records is not None), None)
        self._adjust_at = 0.0
        self._with_groups_at = time.monotonic()  # when there was a group at last
        self._busy_at: dict[str, float] = {}  # when a group had work at last, by the name of its extractor
        for group in workers.groups:
            self._join(group)

    def run(self) -> None:
        """Take every slide to its end, or until stopped; finished slides are committed in either case.

        Raises:
            RunError: workers died more often than allowed, one did not come back, or an extractor failed.
            AccessError: the store can no longer be written.
        """
        try:
            self._run()
        except Exception as error:
            self._salvage()
            told = access_error(error)
            if told is None:
                raise
            committed = len(self._committed)
            left = self._counts.done - committed
            uncommitted = f", {left} finished but not committed" if left else ""
            raise type(told)(
                f"{told}; the run has ended: {committed} of {self._counts.slides} slides are committed"
                f"{uncommitted}; run the same command again to go on"
            ) from error

    def _run(self) -> None:
        stopping = False
        while True:
            if not stopping and self._should_stop():
                stopping = True
                self._drop_all()
            if not stopping:
                self._adjust()
                self._share.top_up()
                self._hand_out_all()
                for pipeline in self._pipelines:
                    pipeline.maybe_flush()
            ending = stopping or self._idle()
            self._maybe_commit(at_once=ending)
            if ending and not self._dispatch and not self._buffer:
                return
            self._dispatch.settle()
            self._tell_who_is_waited_for()
            self._counts.report()

    def _idle(self) -> bool:
        return not self._queue and not self._share and all(pipeline.idle for pipeline in self._pipelines)

    def _hand_out_all(self) -> None:
        """Give every reader as many calls as it may have.

        Each reader gets one call per round: the first reader of each group, then the second of each group, and so on,
        so that no group gets all the slides.
        """
        ranks = itertools.zip_longest(*(pipeline.group.readers for pipeline in self._pipelines))
        readers = [
            (pipeline, reader)
            for rank in ranks
            for pipeline, reader in zip(self._pipelines, rank, strict=True)
            if reader is not None
        ]
        handed_out = True
        while handed_out:
            handed_out = False
            for pipeline, reader in readers:
                if pipeline.group.extractor.up and reader.up and len(reader.calls) < READER_CALLS:
                    handed_out |= pipeline.hand_out(reader)

    def _drop_all(self) -> None:
        """Stop: results of calls under way are ignored, except a commit's."""
        self._share.drop_all()
        self._dispatch.abandon(but=self._committer)
        for pipeline in self._pipelines:
            pipeline.drop_all()

    # -- committing -------------------------------------------------------------------------

    def _maybe_commit(self, *, at_once: bool) -> None:
        if self._committing or not self._committer.up or not self._buffer.due(at_once=at_once):
            return
        batch = self._buffer.take()
        self._committing, self._committing_since = True, time.monotonic()
        slides = {outcome.slide_id for outcome in batch.outcomes if outcome.state == "done"}

        def done(committed: Committed) -> None:
            self._committing = False
            self._committed |= slides
            self._counts.move_elsewhere(committed.elsewhere)
            self._share.ended({outcome.slide_id for outcome in batch.outcomes})

        def lost(_: bool) -> None:  # it may have been committed; committing it twice changes nothing
            self._committing = False
            self._buffer.put_back(batch)

        def failed(error: Exception) -> None:
            lost(True)
            self._doubtful |= slides - batch.replacing
            raise error

        self._dispatch.call(self._committer, "commit", batch, done=done, lost=lost, failed=failed)

    def _tell_who_is_waited_for(self) -> None:
        """Say whose commit, or whose slides, the run is waiting for."""
        self._counts.note = ""
        if self._share.waits_for and not self._buffer and not self._committing:
            self._counts.note = f"waiting for {self._share.waits_for} slide(s) that other runs have in hand"
        if not self._committing or time.monotonic() - self._committing_since < TELL_S:
            return
        self._committing_since = time.monotonic()
        if writers := self._others_writing():
            log.warning("waiting to commit: %s", ", ".join(writers))

    def _salvage(self) -> None:
        """Commit what is finished before the run ends with an error; what failed to be committed is tried once more."""
        self._drop_all()
        deadline = time.monotonic() + SALVAGE_S
        with contextlib.suppress(Exception):  # the error that ends the run is told, with how much is committed
            while self._committer.up and (self._buffer or self._dispatch) and time.monotonic() < deadline:
                self._maybe_commit(at_once=True)
                self._dispatch.settle(revive=False)
        if self._doubtful:
            with contextlib.suppress(Exception):
                ref = self._committer.worker.call("committed", sorted(self._doubtful))
                if self._pool.wait([ref], SALVAGE_S):
                    self._committed |= set(self._pool.get(ref))

    # -- workers that die -------------------------------------------------------------------

    def _on_death(self, handle: WorkerHandle) -> None:
        pipeline = self._pipeline_of(handle)
        if pipeline is None:
            return
        if handle is pipeline.group.extractor:
            pipeline.restart()
        else:
            pipeline.reader_died(handle)

    def _on_loss(self, handle: WorkerHandle) -> list[WorkerHandle]:
        """Go on without a worker that does not come back, and without its group if that cannot work without it."""
        group = self._group_of(handle)
        if group is None:
            return []
        gone = handle.worker.is_gone()
        if not gone and handle in group.readers and any(reader.up for reader in group.readers):
            group.readers.remove(handle)
            return [handle]
        others = any(other.group.extractor.up for other in self._pipelines if other.group is not group)
        if self._fleet is None and not others:
            return []
        self._lose(group)
        return group.handles

    def _pipeline_of(self, handle: WorkerHandle) -> GroupPipeline | None:
        """The pipeline that a worker belongs to; None for the committer, and a group that has none yet."""
        return next((pipeline for pipeline in self._pipelines if handle in pipeline.group.handles), None)

    def _group_of(self, handle: WorkerHandle) -> WorkerGroup | None:
        return next((group for group in self._workers.groups if handle in group.handles), None)

    # -- groups that come and go ------------------------------------------------------------

    def _adjust(self) -> None:
        """Follow the cluster: take up groups that it has room for, drop those whose node is gone or that have no work.

        Raises:
            RunError: there has been no group for too long.
        """
        now = time.monotonic()
        if self._fleet is None or now < self._adjust_at:
            return
        self._adjust_at = now + ADJUST_S
        slides = self._counts.slides - self._counts.ended
        if not self._waiting:  # those in hand are with their groups, and no other could help
            slides = min(slides, len(self._workers.groups))
        for group in self._fleet.grow(slides):
            self._workers.groups.append(group)
            self._join(group)
        for group in list(self._workers.groups):
            if not self._fleet.lives(group):
                self._lose(group)
        self._let_go_idle(now)
        if self._pipelines:
            self._with_groups_at = now
        elif now - self._with_groups_at > ALONE_S:
            raise RunError(
                f"the cluster has had no extractor worker for {ALONE_S / 60:.0f} minutes; look at its nodes "
                "(`ray status`)"
            )

    @property
    def _waiting(self) -> bool:
        """Whether there are slides that no group has taken up, and that no other run has in hand."""
        return bool(self._queue) or (bool(self._share) and not self._share.waits_for)

    def _join(self, group: WorkerGroup) -> None:
        """Take up a group, once its extractor has loaded the weights that the run began with."""
        self._dispatch.add(group.handles)

        def loaded(records: list[dict[str, Any]]) -> None:
            if records == self._records:
                self._pipelines.append(
                    GroupPipeline(group, self._dispatch, self._queue, self._buffer, self._counts, self._context)
                )
                return
            log.warning("going on without %s, whose node loaded other weights than the run began with", name)
            self._drop(group, refuse=True)

        def failed(error: Exception) -> None:
            log.warning("going on without %s: %s", name, error)
            self._drop(group, refuse=True)

        def lost(running: bool) -> None:
            self._drop(group)

        name = group.extractor.name
        if group.records is not None:
            loaded(group.records)
        else:
            self._dispatch.call(group.extractor, "records", done=loaded, lost=lost, failed=failed, awaited=False)

    def _lose(self, group: WorkerGroup) -> None:
        log.warning("going on without %s and its readers; their slides go to others", group.extractor.name)
        self._drop(group)

    def _drop(self, group: WorkerGroup, *, refuse: bool = False) -> None:
        """Go on without a group: its slides go to others."""
        if group not in self._workers.groups:
            return
        self._workers.groups.remove(group)
        for pipeline in self._pipelines:
            if pipeline.group is group:
                self._pipelines.remove(pipeline)
                pipeline.give_up()
                break
        self._dispatch.remove(group.handles)
        if self._fleet is not None:
            self._fleet.release(group, refuse=refuse)

    def _let_go_idle(self, now: float) -> None:
        """Give back what groups without work hold, so that the cluster can shrink."""
        assert self._fleet is not None
        for pipeline in list(self._pipelines):
            name = pipeline.group.extractor.name
            if self._waiting or not pipeline.idle:
                self._busy_at[name] = now
            elif len(self._workers.groups) > self._fleet.fewest and now - self._busy_at.setdefault(name, now) > IDLE_S:
                log.info("%s has no more work, and is let go", name)
                self._drop(pipeline.group)
