"""The workers of an ingest: started on threads of this process or on Ray, and stopped at its end."""

import contextlib
import functools
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from actors.committer import Committer
from actors.dispatch import WorkerHandle
from actors.extractor_worker import ExtractorWorker
from actors.reader import Reader
from actors.request import IngestRequest, TilingGroup
from actors.workers import LocalPool, LocalWorker, Pool, ResultRef, Worker
from embedstore.config import ExecutionConfig, RunConfig
from embedstore.errors import ConfigError, WorkerDiedError

log = logging.getLogger(__name__)

#: Readers beside one extractor, at most: 16 read 4,000 tiles a second.
MAX_READERS = 16
#: How long a commit may take that is under way when a run ends, seconds.
FINISH_S = 20.0
#: Whoever is waited for is told this often, seconds.
TELL_S = 15.0
#: Pauses before a worker that died before or after the scheduler's work is asked again, seconds: Ray restarts it.
ASK_AGAIN_S = (1.0, 4.0, 16.0)


@dataclass(kw_only=True, eq=False)
class WorkerGroup:
    """An extractor and the readers that feed it, on one node."""

    extractor: WorkerHandle
    readers: list[WorkerHandle]

    @property
    def handles(self) -> list[WorkerHandle]:
        return [self.extractor, *self.readers]


@dataclass(kw_only=True)
class IngestWorkers:
    """The workers of a run.

    Attributes:
        writers: Says which processes write to the run's collections, but for one.
    """

    pool: Pool
    groups: list[WorkerGroup]
    committer: WorkerHandle
    writers: Callable[[str | None], list[str]] = lambda process: []
    _committer_process: str | None = None
    _begun: bool = False  # the committer is running

    @property
    def handles(self) -> list[WorkerHandle]:
        return [self.committer, *(handle for group in self.groups for handle in group.handles)]

    def ask_extractors(self, method: str) -> list[Any]:
        """Call a method of every extractor, and wait for all answers."""
        workers = [group.extractor.worker for group in self.groups]
        refs = [worker.call(method) for worker in workers]
        return [self._answer(worker, method, (), ref) for worker, ref in zip(workers, refs, strict=True)]

    def ask_committer(self, method: str, *args: Any) -> Any:
        """Call a method of the committer, and wait for the answer."""
        if not self._begun:
            self._committer_process = self._answer(self.committer.worker, "ping", ())
            self._begun = True
        return self._answer(self.committer.worker, method, args)

    def _answer(self, worker: Worker, method: str, args: tuple[Any, ...], ref: ResultRef | None = None) -> Any:
        """The answer of a worker, which is asked again where it dies meanwhile; `ref` where it was asked already."""
        for pause_s in (*ASK_AGAIN_S, None):
            try:
                return self._wait_for(worker.call(method, *args) if ref is None else ref)
            except WorkerDiedError:
                if pause_s is None:
                    raise
                log.warning("%s died before it answered; it is asked again", worker.name)
                time.sleep(pause_s)
                ref = None
        raise AssertionError("the last attempt returns or raises")

    def _wait_for(self, ref: ResultRef) -> Any:
        waited_s = 0.0
        while not self.pool.wait([ref], TELL_S):
            waited_s += TELL_S
            if writers := self.others_writing() if self._begun else []:
                log.warning("waiting for %s", ", ".join(writers))
            elif self._begun:  # an index may take long
                log.info("waiting for a worker to answer")
            elif waited_s >= 60.0:
                log.warning("waiting for workers to start: weights are loading, or other jobs have the CPUs or GPUs")
                waited_s = 0.0
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


class MakeExtractor(Protocol):
    """Makes an extractor worker; `threads` is torch's number of threads on the CPU, its default when None."""

    def __call__(self, *, threads: int | None = None) -> ExtractorWorker: ...


@dataclass(frozen=True, kw_only=True)
class WorkerFactories:
    """Functions that make the objects behind the workers of one tiling group, in whichever process runs them."""

    reader: Callable[[], Reader]
    extractor: MakeExtractor
    committer: Callable[[], Committer]
    store_uri: str
    files: tuple[str, ...]  # of slides and weights, absolute paths

    @classmethod
    def of(cls, request: IngestRequest, group: TilingGroup, store_uri: str) -> "WorkerFactories":
        """The factories for a request; `store_uri` is absolute, as Ray's workers run in another directory."""
        config, run, execution = request.config_for(group), request.run, request.execution
        # Ray shows an actor its own GPU only, as the first one.
        device = "cuda" if execution.device.startswith("cuda") and not execution.in_process else execution.device
        slides = [source.path for source in request.sources]
        return cls(
            reader=functools.partial(Reader, config, slide_cache_gb=run.slide_cache_gb),
            extractor=functools.partial(
                ExtractorWorker,
                store_uri,
                group.targets,
                device=device,
                batch_tiles=run.batch_tiles,
                views=config.views,
            ),
            committer=functools.partial(
                Committer, store_uri, sorted(group.collections), compact_every=run.compact_every
            ),
            store_uri=store_uri,
            files=tuple(path for path in (*_weights(group), *slides) if Path(path).is_absolute()),
        )


def _weights(group: TilingGroup) -> list[str]:
    """Files of the extractors: weights, and functions of the user's own."""
    refs = [(target.extractor.ref.rpartition(":")[0], target.extractor.weights) for target in group.targets]
    return [path for pair in refs for path in pair if path and Path(path).is_absolute() and Path(path).exists()]


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
            if execution.address is not None:
                _require_nodes(factories)
            workers = _ray_workers(factories, run, execution)
        for handle in workers.handles:
            stack.callback(handle.worker.stop)
        stack.callback(workers.finish)
        yield workers


def _require_nodes(factories: WorkerFactories) -> None:
    """Raise why a node of the cluster cannot take part: each that has CPUs or GPUs is asked, all at once."""
    from actors.nodes import RunInputs, inspect_nodes, nodes

    workers = [node for node in nodes() if node.cpus or node.gpus]
    for report in inspect_nodes(workers, RunInputs(store_uri=factories.store_uri, files=factories.files)):
        if report.error is not None:
            raise report.error


def _local_workers(factories: WorkerFactories, run: RunConfig) -> IngestWorkers:
    if run.extractors not in (None, 1):
        raise ConfigError(f"{run.extractors} extractor workers in one process; expected 1: leave out --in-process")
    readers = run.readers or max(1, (os.cpu_count() or 1) - 1)

    def start(make: Callable[[], Any], name: str) -> WorkerHandle:
        return WorkerHandle(worker=LocalWorker(make, name=name))

    group = WorkerGroup(
        extractor=start(factories.extractor, "extractor"),
        readers=[start(factories.reader, f"reader-{i}") for i in range(readers)],
    )
    return IngestWorkers(pool=LocalPool(), groups=[group], committer=start(factories.committer, "committer"))


def _ray_workers(factories: WorkerFactories, run: RunConfig, execution: ExecutionConfig) -> IngestWorkers:
    """One worker group for each GPU, or for each node where there is none; readers on the node of their extractor."""
    from actors.cluster import RayPool, RayWorker, driver_node
    from actors.nodes import nodes

    def start(make: Callable[[], Any], name: str, **options: Any) -> WorkerHandle:
        return WorkerHandle(worker=RayWorker(make, name=name, max_restarts=run.max_restarts, **options))

    cluster_nodes = nodes()
    on_gpu = execution.device != "cpu" and any(node.gpus for node in cluster_nodes)
    group_nodes = [node for node in cluster_nodes for _ in range(node.gpus if on_gpu else min(1, node.cpus))]
    if run.extractors is not None:
        group_nodes = [group_nodes[i % len(group_nodes)] for i in range(run.extractors)]
    groups = []
    for number, node in enumerate(group_nodes):
        sharing = group_nodes.count(node)
        cores = max(1, node.cpus // sharing)
        readers = run.readers or min(MAX_READERS, max(1, cores - 1))
        reserved = 1 if readers + 1 <= cores else 0  # more workers than cores run without reserved CPUs
        extractor = start(
            functools.partial(factories.extractor, threads=None if on_gpu else cores),
            f"extractor-{number}",
            num_cpus=reserved,
            num_gpus=min(1.0, node.gpus / sharing) if on_gpu else 0,
            node_id=node.node_id,
            env={"LANCE_CPU_THREADS": "2"},
        )
        groups.append(
            WorkerGroup(
                extractor=extractor,
                readers=[
                    start(factories.reader, f"reader-{number}-{i}", num_cpus=reserved, node_id=node.node_id)
                    for i in range(readers)
                ],
            )
        )
    # On the driver's node: a committer that is restarted on another machine would find its own lease held.
    committer = start(factories.committer, "committer", node_id=driver_node())
    return IngestWorkers(pool=RayPool(), groups=groups, committer=committer)
