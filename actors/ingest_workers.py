"""The workers of an ingest: started on threads of this process or on Ray, and stopped at its end."""

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from actors.dispatch import WorkerHandle
from actors.worker_group import Fleet, WorkerFactories, WorkerGroup, readers_beside
from actors.workers import LocalPool, LocalWorker, Pool, ResultRef, Worker
from embedstore.config import ExecutionConfig, RunConfig
from embedstore.cores import cores
from embedstore.errors import ConfigError, WorkerDiedError
from embedstore.slides import end_requests

log = logging.getLogger(__name__)

#: How long a commit may take that is under way when a run ends, seconds.
FINISH_S = 20.0
#: Whoever is waited for is told this often, seconds.
TELL_S = 15.0
#: Pauses before a worker that died before or after the scheduler's work is asked again, seconds: Ray restarts it.
ASK_AGAIN_S = (1.0, 4.0, 16.0)
#: Waiting workers are looked at, and what is waited for is said, so often, seconds.
POLL_S, SAY_S = 5.0, 60.0
#: On a cluster, a run waits for so long for further extractors once the first one has loaded its weights, seconds.
TOGETHER_S = 60.0


@dataclass(kw_only=True)
class IngestWorkers:
    """The workers of a run.

    Attributes:
        fleet: Where the number of worker groups follows a cluster; else they stay as they are.
        writers: Says which processes write to the run's collections, but for one.
    """

    pool: Pool
    groups: list[WorkerGroup]
    committer: WorkerHandle
    fleet: Fleet | None = None
    writers: Callable[[str | None], list[str]] = lambda process: []
    _committer_process: str | None = None
    _begun: bool = False  # the committer is running

    @property
    def handles(self) -> list[WorkerHandle]:
        return [self.committer, *(handle for group in self.groups for handle in group.handles)]

    def load(self, *, slides: int) -> list[list[dict[str, Any]]]:
        """Wait until extractors have loaded their weights: all of them, where their number is fixed.

        On a cluster, groups are left out whose node is lost meanwhile; those that take much longer than the first one
        (other jobs may have their GPU) are taken up when they are ready.

        Returns:
            The records of each group that is ready.
        """
        asked: dict[ResultRef, WorkerGroup] = {}
        deaths: Counter[str] = Counter()
        new, ready, since, said = list(self.groups), list[list[dict[str, Any]]](), 0.0, time.monotonic()
        while True:
            if self.fleet is not None:
                joined = self.fleet.grow(slides)
                self.groups += joined
                new += joined
            asked |= {group.extractor.worker.call("records"): group for group in new}
            new = list[WorkerGroup]()
            if not asked:
                time.sleep(POLL_S)  # no node is there yet
            for ref in self.pool.wait(list(asked), POLL_S):
                group = asked.pop(ref)
                try:
                    group.records = self.pool.get(ref)
                except WorkerDiedError:
                    if self.fleet is not None and group.extractor.worker.is_gone():
                        self.groups.remove(group)
                        self.fleet.release(group)
                        continue
                    if deaths[group.extractor.name] == len(ASK_AGAIN_S):
                        raise
                    log.warning("%s died before it answered; it is asked again", group.extractor.name)
                    time.sleep(ASK_AGAIN_S[deaths[group.extractor.name]])
                    deaths[group.extractor.name] += 1
                    new.append(group)
                else:
                    since = since if ready else time.monotonic()
                    ready.append(group.records)
            if ready and not new and (not asked or (self.fleet is not None and time.monotonic() - since > TOGETHER_S)):
                return ready
            if time.monotonic() - said > SAY_S:
                said = time.monotonic()
                log.warning("waiting for workers to start: weights are loading, or other jobs have the CPUs or GPUs")

    def ask_committer(self, method: str, *args: Any) -> Any:
        """Call a method of the committer, and wait for the answer."""
        if not self._begun:
            self._committer_process = self._answer(self.committer.worker, "ping", ())
            self._begun = True
        return self._answer(self.committer.worker, method, args)

    def _answer(self, worker: Worker, method: str, args: tuple[Any, ...]) -> Any:
        """The answer of a worker, which is asked again where it dies meanwhile."""
        for pause_s in (*ASK_AGAIN_S, None):
            try:
                return self._wait_for(worker.call(method, *args))
            except WorkerDiedError:
                if pause_s is None:
                    raise
                log.warning("%s died before it answered; it is asked again", worker.name)
                time.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")

    def _wait_for(self, ref: ResultRef) -> Any:
        while not self.pool.wait([ref], TELL_S):
            if writers := self.others_writing() if self._begun else []:
                log.warning("waiting for %s", ", ".join(writers))
            else:  # an index may take long
                log.info("waiting for the committer to answer")
        return self.pool.get(ref)

    def others_writing(self) -> list[str]:
        """Which other processes hold a lease that the committer may be waiting for, for people."""
        return self.writers(self._committer_process)

    def finish(self) -> None:
        """Wait a while for a commit that is under way when the run ends, however it ended."""
        if not self._begun:
            return
        try:
            ref = self.committer.worker.call("ping")
            if self.pool.wait([ref], FINISH_S):
                self.pool.get(ref)
        except Exception as error:
            log.info("the committer ended before it was asked to: %s", error)

    def stop(self) -> None:
        if self.fleet is not None:
            self.fleet.stop()
        for handle in self.handles:
            handle.worker.stop()


#: Starts the workers of a tiling group for a `with` block; at its end a commit under way is waited for, and they stop.
StartWorkers = Callable[[WorkerFactories, RunConfig, ExecutionConfig], AbstractContextManager[IngestWorkers]]


@contextlib.contextmanager
def start_workers(factories: WorkerFactories, run: RunConfig, execution: ExecutionConfig) -> Iterator[IngestWorkers]:
    """Start workers on threads of this process, or on Ray."""
    with contextlib.ExitStack() as stack:
        if execution.in_process:
            workers = _local_workers(factories, run)
        else:
            from actors.cluster import cluster

            stack.enter_context(cluster(execution.address))
            workers = _ray_workers(factories, run, execution)
        stack.callback(workers.stop)
        stack.callback(workers.finish)
        stack.callback(end_requests)  # a thread cannot be ended while it fetches a slide
        yield workers


def _local_workers(factories: WorkerFactories, run: RunConfig) -> IngestWorkers:
    wanted = run.extractors or run.min_extractors
    if wanted != 1:
        raise ConfigError(f"{wanted} extractor workers in one process; expected 1: leave out --in-process")
    readers = run.readers or readers_beside(cores())

    def start(make: Callable[[], Any], name: str) -> WorkerHandle:
        return WorkerHandle(worker=LocalWorker(make, name=name))

    group = WorkerGroup(
        extractor=start(factories.extractor, "extractor"),
        readers=[start(factories.reader, f"reader-{i}") for i in range(readers)],
    )
    return IngestWorkers(pool=LocalPool(), groups=[group], committer=start(factories.committer, "committer"))


def _ray_workers(factories: WorkerFactories, run: RunConfig, execution: ExecutionConfig) -> IngestWorkers:
    """Groups on this machine, whose number stays, or a fleet on a cluster."""
    from actors.cluster import RayPool, RayWorker, driver_node
    from actors.fleet import ClusterFleet, start_groups

    fleet = None if execution.address is None else ClusterFleet(factories, run, execution)
    # On the driver's node: a committer that is restarted on another machine would find its own lease held.
    committer = WorkerHandle(
        worker=RayWorker(factories.committer, name="committer", node_id=driver_node(), max_restarts=run.max_restarts)
    )
    groups = start_groups(factories, run, execution) if fleet is None else []
    return IngestWorkers(pool=RayPool(), groups=groups, committer=committer, fleet=fleet)
