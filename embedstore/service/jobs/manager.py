"""The queue of jobs and the workers that take from it: one job a worker, callers in turn."""

import contextlib
import logging
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embedstore.access_errors import access_error
from embedstore.errors import ConfigError, EmbedStoreError, JobsFullError, RunError, WorkerDiedError
from embedstore.progress import Progress
from embedstore.service.jobs.fair_queue import FairQueue
from embedstore.service.jobs.kind import JobKind
from embedstore.service.jobs.recovery import interrupt_lost_jobs, left_by
from embedstore.service.jobs.spool import Spool, SpooledFile
from embedstore.service.jobs.worker import GRACE_S, Worker
from embedstore.store import Job, JobState, Lease, Store
from embedstore.store.table import now

log = logging.getLogger(__name__)

#: Jobs that may wait, of all callers and of one.
MOST_QUEUED = 100
MOST_QUEUED_EACH = 20
#: A worker with more memory than this after a job is replaced, bytes: JAX and glibc keep what a large fit took.
WORKER_BYTES = 4 << 30
#: Of all exports that wait to be downloaded, and for how long they do.
SPOOL_BYTES = 10 << 30
SPOOL_KEEP_S = 24 * 3600.0
#: A worker is looked after so often while it runs a job, and upkeep is done so often, seconds.
LOOK_S = 0.5
UPKEEP_S = 60.0


@dataclass(eq=False)
class _Live:
    """A job of this server that has not ended.

    Attributes:
        job: As it is now.
        kind: What is to be done.
        names: Slides and patients that the store had when it was asked for.
        revision: Counts the changes.
        worker: The process that runs it.
        cancelled: Whether it is to end.
        wake: Called after each change.
    """

    job: Job
    kind: JobKind
    names: frozenset[str]
    revision: int = 0
    worker: Worker | None = None
    cancelled: bool = False
    wake: set[Callable[[], None]] = field(default_factory=set)


class JobManager:
    """The jobs of a store, run in processes of their own.

    Args:
        tables: The store.
        spool: Folder for exports; outside the store, and the same for every server of it on this machine.
        workers: Jobs that run at once.
        most_queued: Jobs that may wait.
        cluster: Address of the Ray cluster where jobs run that want a GPU; on this machine when None.

    Attributes:
        server: Name of its lease, which it holds while it has jobs that have not ended.
        is_heard: False once the server is about to end, so that nobody listens to jobs any longer.
    """

    def __init__(
        self,
        tables: Store,
        *,
        spool: Path,
        workers: int = 1,
        most_queued: int = MOST_QUEUED,
        cluster: str | None = None,
    ):
        self._cluster = cluster
        self._tables = tables.again()  # an open table is used by one thread at a time: see `_writing`
        self._writing = threading.RLock()
        self._spool = Spool(spool, most_bytes=SPOOL_BYTES, keep_s=SPOOL_KEEP_S)
        self._scratch = self._spool.scratch
        self._most_queued = most_queued
        self.server = f"jobs-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._lease: Lease | None = None
        self._changed = threading.Condition()
        self._live: dict[str, _Live] = {}
        self._queue: FairQueue[_Live] = FairQueue()
        self._closing = self._prepared = False
        self.is_heard = True
        self._upkeep_at = time.monotonic() + UPKEEP_S
        self._workers = workers
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Say what became of the jobs of servers that are gone, and take jobs; does nothing where it has begun."""
        if self._threads:
            return
        self._closing, self.is_heard = False, True
        self.recover()
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"jobs-{number}", daemon=True)
            for number in range(self._workers)
        ]
        for thread in self._threads:
            thread.start()

    # -- asking -----------------------------------------------------------------------------

    def prepare(self) -> None:
        """Start the workers now, so that the first job does not wait for their imports."""
        with self._changed:
            self._prepared = True
            self._changed.notify_all()

    def submit(
        self,
        kind: JobKind,
        *,
        caller: str,
        project: str | None = None,
        asked: Mapping[str, Any] | None = None,
        on_accept: Callable[[], None] = lambda: None,
    ) -> Job:
        """Put a job into the queue.

        Args:
            kind: What to do.
            caller: Who asks.
            project: The filter on slides that the caller is bound to.
            asked: The parameters in the caller's own words, which the job shows; those of `kind` when None.
            on_accept: Called once everything was checked, before the job is in the queue.
        Raises:
            JobsFullError: too many wait.
            AccessError: the store cannot be written.
            EmbedStoreError: what `check` of the kind raises.
        """
        self._require_room(caller)
        self._tables.require_writable()
        kind.check(self._tables.again())
        on_accept()
        job = Job(
            id=secrets.token_hex(8), kind=kind.NAME, caller=caller, project=project, server=self.server,
            params=kind.params() if asked is None else asked,
        )  # fmt: skip
        with self._writing:
            if self._lease is None:
                self._lease = Lease(self._tables.uri, self.server, wait_s=0)
            names = self._names()
            self._tables.jobs.record([job])
            with self._changed:
                live = self._live[job.id] = _Live(job, kind, names)
                self._queue.push(caller, live)
                self._changed.notify_all()
        return job

    def get(self, job_id: str) -> Job:
        """A job as it is now.

        Raises:
            JobNotFoundError: there is none.
        """
        return self.snapshot(job_id)[0]

    def snapshot(self, job_id: str) -> tuple[Job, str]:
        """A job, and a mark that changes whenever it does."""
        with self._changed:
            live = self._live.get(job_id)
            job = live.job if live is not None else None
            if live is not None and not live.job.is_finished:
                return live.job, f"{self.server[-8:]}-{live.revision}"
        if job is None:
            with self._writing:
                job = self._tables.jobs.get(job_id)
        return job, f"{job.server[-8:]}-{job.state}"  # the same before and after a job that has ended is let go

    def all(self) -> list[Job]:
        """All jobs of the store, the newest first."""
        with self._writing:
            stored = {job.id: job for job in self._tables.jobs.all()}
        with self._changed:
            stored |= {live.job.id: live.job for live in self._live.values()}
        return sorted(stored.values(), key=lambda job: job.created_at, reverse=True)

    def cancel(self, job_id: str) -> Job:
        """End a job, whether it waits or runs; one that has ended stays as it is.

        A job that runs is asked to end, and killed after some seconds; it is 'cancelled' once it is gone.

        Raises:
            JobNotFoundError: there is none.
            ConfigError: another server runs it.
        """
        with self._changed:
            live = self._live.get(job_id)
            if live is not None:
                live.cancelled = True
                waiting = self._queue.drop(live.job.caller, live)
                if live.worker is not None:
                    live.worker.ask_to_end()
        if live is None:
            job = self.get(job_id)
            if not job.is_finished:
                raise ConfigError(f"job {job_id} is of another server of this store; cancel it there")
            return job
        if waiting:
            self._finish(live, "cancelled", message="it was cancelled before it began; nothing was written")
        return live.job

    def file(self, job: Job) -> SpooledFile:
        """What an export wrote; errors as in `Spool.file`."""
        with self._writing:
            return self._spool.file(job, self._tables)

    @contextlib.contextmanager
    def watched(self, job_id: str, wake: Callable[[], None]) -> Iterator[None]:
        """Have a function called, in any thread, whenever a job of this server changes; it must not wait."""
        with self._changed:
            live = self._live.get(job_id)
            if live is not None:
                live.wake.add(wake)
        try:
            yield
        finally:
            if live is not None:
                with self._changed:
                    live.wake.discard(wake)

    def counts(self) -> dict[str, int]:
        """How many jobs of this server wait and run."""
        with self._changed:
            states = [live.job.state for live in self._live.values()]
        return {state: states.count(state) for state in ("queued", "running")}

    def stop_listening(self) -> None:
        """Let those who listen to jobs go: the server is about to end, and waits for their connections."""
        self.is_heard = False
        with self._changed:
            wake = [each for live in self._live.values() for each in live.wake]
        _call(wake)

    def close(self) -> None:
        """End what runs, and say of every job what became of it."""
        with self._changed:
            self._closing = True
            waiting = self._queue.clear()
            for live in self._live.values():
                if live.worker is not None:
                    live.worker.ask_to_end()
            self._changed.notify_all()
        for live in waiting:
            self._finish(live, "interrupted", message="the server ended before it began; nothing was written")
        for thread in self._threads:
            thread.join()
        self._threads = []
        with self._writing:
            self._release_lease()
        self._spool.close()

    # -- upkeep -----------------------------------------------------------------------------

    def recover(self) -> None:
        """Say of each job whose server is gone what became of it; remove old jobs and files. It never fails."""
        with self._writing:
            try:
                lost, others = interrupt_lost_jobs(self._tables, server=self.server)
                self._tables.jobs.remove_old()
            except (EmbedStoreError, OSError, RuntimeError, ValueError) as error:  # a store that is read only, say
                log.info("jobs of earlier servers stay as they are: %s", access_error(error) or error)
                return
        for job in lost:
            self._spool.discard(job.id)
        self._spool.tidy(running=[*(job.id for job in others), *list(self._live)])
        self._spool.clear_scratch()

    def _release_lease(self) -> None:
        if self._lease is not None:
            self._lease.release()
            self._lease = None

    def _require_room(self, caller: str) -> None:
        with self._changed:
            if self._closing:
                raise JobsFullError("the server is about to end and takes no more jobs; send it again when it is back")
            queued, own = len(self._queue), self._queue.count(caller)
        if queued >= self._most_queued or own >= MOST_QUEUED_EACH:
            whose = f"{queued} jobs" if queued >= self._most_queued else f"{own} of your jobs"
            raise JobsFullError(f"{whose} wait already, and no more may; try again when some are done, or cancel some")

    # -- running ----------------------------------------------------------------------------

    def _work(self, number: int) -> None:
        """The thread of a worker."""
        worker: Worker | None = None
        scratch = self._scratch / str(number)
        while True:
            with self._changed:
                live = self._queue.pop()
                if live is None and not self._closing and (worker is not None or not self._prepared):
                    self._changed.wait(UPKEEP_S)
                    live = self._queue.pop()
                if live is not None:
                    live.job = replace(live.job, state="running", started_at=now())
                    live.revision += 1
                closing = self._closing
            if closing and live is None:
                break
            try:
                if worker is not None and not worker.lives:
                    _end(worker, scratch)
                    worker = None
                if worker is None and (live is not None or self._prepared):
                    worker = Worker(self._tables.uri, scratch, cluster=self._cluster)
                if live is not None and worker is not None and not self._run(live, worker):
                    _end(worker, scratch)
                    worker = None
            except Exception as error:  # the thread lives as long as the server
                log.exception("a job could not be run")
                self._prepared = False  # or it would be tried again at once
                if live is not None:
                    told = access_error(error) or RunError("the job could not be run; the server's log tells more")
                    self._finish(live, "failed", error=type(told).__name__, message=str(told))
            if number == 0 and time.monotonic() >= self._upkeep_at:
                self._upkeep_at = time.monotonic() + UPKEEP_S
                self.recover()
        if worker is not None:
            _end(worker, scratch)

    def _run(self, live: _Live, worker: Worker) -> bool:
        """Run a job to its end; whether the worker can take another."""
        job = live.job
        self._record(job)
        folder = self._spool.make(job.id)
        with self._changed:
            live.worker = None if live.cancelled or self._closing else worker
        if live.worker is None:
            self._spool.discard(job.id)
            self._finish_ended(live, "was not begun")
            return True
        try:
            worker.send(job.kind, live.kind.params(), folder)
            state, answer = self._answer(live, worker)
            if state == "failed" and (live.cancelled or self._closing):
                raise WorkerDiedError("was ended")  # what it failed with is how the signal came out of some library
        except WorkerDiedError as error:
            live.worker = None
            self._spool.discard(job.id)
            self._finish_ended(live, str(error))
            return False
        live.worker = None
        if state == "done":
            self._spool.discard_if_empty(job.id)
            self._finish(live, "done", result=answer)
            self._spool.tidy(running=[each.job.id for each in list(self._live.values())])
        else:
            self._spool.discard(job.id)
            self._finish(live, "failed", error=answer[0], message=answer[1])
        return not live.cancelled and not worker.holds_gpu and worker.bytes() <= WORKER_BYTES

    def _answer(self, live: _Live, worker: Worker) -> tuple[str, Any]:
        """What a worker says at the end of a job; its progress is passed on.

        Raises:
            WorkerDiedError: it ended, or was ended.
        """
        asked_at: float | None = None
        look_at = time.monotonic()
        while True:
            answer = worker.receive(LOOK_S)
            if answer is not None and answer[0] != "progress":
                return answer
            if answer is not None:
                self._change(live, progress=Progress(**answer[1]))
            if live.cancelled or self._closing:
                asked_at = asked_at or time.monotonic()
                if time.monotonic() - asked_at > GRACE_S:
                    worker.end(grace_s=0)
            elif time.monotonic() >= look_at:
                look_at = time.monotonic() + LOOK_S
                if not self._spool.is_too_large(live.job.id):
                    continue
                worker.end()
                return "failed", ("ExportError", "the export is larger than the service keeps; take fewer slides")

    def _finish_ended(self, live: _Live, how: str) -> None:
        """A job whose worker has ended: it was cancelled, the server closes, or it crashed."""
        left = left_by(self._tables, live.job)
        if live.cancelled:
            self._finish(live, "cancelled", message=f"it was cancelled: {left}")
        elif self._closing:
            self._finish(live, "interrupted", message=f"the server ended while it ran: {left}")
        else:
            self._finish(live, "failed", error="WorkerDiedError", message=f"the process that ran it {how}; {left}")

    def _change(self, live: _Live, **changes: Any) -> None:
        with self._changed:
            live.job = replace(live.job, **changes)
            live.revision += 1
            wake = list(live.wake)
        _call(wake)

    def _finish(self, live: _Live, state: JobState, **changes: Any) -> None:
        """The end of a job: its row first, so that whoever is told of it finds it there."""
        ended = replace(live.job, state=state, ended_at=now(), **changes)
        kept = self._record(ended)
        with self._writing, contextlib.suppress(EmbedStoreError, OSError):
            if removed := live.names - self._names():  # the removal has left the row, as it had not ended
                self._tables.jobs.forget(sorted(removed))
        self._change(live, state=state, ended_at=ended.ended_at, **changes)
        with self._changed:
            if kept:
                self._live.pop(ended.id, None)
            idle = all(each.job.is_finished for each in self._live.values())
        if idle:
            with self._writing:
                if all(each.job.is_finished for each in list(self._live.values())):
                    self._release_lease()

    def _names(self) -> frozenset[str]:
        """Of slides and patients of the store."""
        patients = self._tables.ledger.patients()
        return frozenset(patients) | {patient for patient in patients.values() if patient is not None}

    def _record(self, job: Job) -> bool:
        """Write a job's row; whether that worked. A full disk costs the row, not the service."""
        with self._writing:
            try:
                self._tables.jobs.record([job])
            except (EmbedStoreError, OSError, RuntimeError, ValueError) as error:
                log.warning(
                    "job %s is %s, which could not be written: %s", job.id, job.state, access_error(error) or error
                )
                return False
        return True


def _call(wake: Iterable[Callable[[], None]]) -> None:
    for each in wake:
        with contextlib.suppress(RuntimeError):  # of an event loop that is closed
            each()


def _end(worker: Worker, scratch: Path) -> None:
    """End a worker, and delete the temporary files that it left."""
    worker.end()
    shutil.rmtree(scratch, ignore_errors=True)
