"""The workers of a run: started on threads of this process or on Ray, and stopped at its end."""

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from actors.committer import Committer
from actors.extractor_worker import ExtractorWorker, Target
from actors.jobs import WorkerGroup, WorkerHandle
from actors.reader import Reader
from actors.workers import LocalPool, LocalWorker, Pool, Worker
from embedstore.config import ExecutionConfig, IngestConfig, RunConfig
from embedstore.errors import ConfigError

log = logging.getLogger(__name__)

#: Readers beside one extractor, at most: 16 read 4,000 tiles a second.
MAX_READERS = 16
RELEASE_S = 20.0


@dataclass(kw_only=True)
class IngestWorkers:
    """The workers of a run."""

    pool: Pool
    groups: list[WorkerGroup]
    committer: WorkerHandle
    leased: bool = False

    def ask(self, handle: WorkerHandle, method: str, *args: Any) -> Any:
        """Call and wait for the answer."""
        answer = self.result(handle.worker.call(method, *args))
        self.leased |= handle is self.committer
        return answer

    def release(self) -> None:
        """Let go of the collections, however the run ended: this process may live on and run again."""
        if not self.leased:
            return
        try:
            ref = self.committer.worker.call("release")
            if self.pool.wait([ref], RELEASE_S):
                self.pool.get(ref)
        except Exception:
            log.warning("the leases were not let go; they end with their process", exc_info=True)

    def result(self, ref: Any) -> Any:
        while not self.pool.wait([ref], 60.0):
            log.info("waiting for a worker to answer")
        return self.pool.get(ref)


@contextlib.contextmanager
def start_workers(
    store_uri: str, targets: Sequence[Target], config: IngestConfig, run: RunConfig, execution: ExecutionConfig
) -> Iterator[IngestWorkers]:
    """Workers on threads or on Ray; their leases and processes are gone at the end."""
    make_reader = functools.partial(Reader, config)
    # Ray shows an actor its own GPU only, as the first one.
    device = "cuda" if execution.device.startswith("cuda") and not execution.in_process else execution.device
    make_extractor = functools.partial(
        ExtractorWorker, store_uri, targets, device=device, batch_tiles=run.batch_tiles, views=config.views
    )
    make_committer = functools.partial(
        Committer, store_uri, sorted(target.collection for target in targets), compact_every=run.compact_every
    )
    with contextlib.ExitStack() as end:
        if execution.in_process:
            if run.extractors not in (None, 1):
                raise ConfigError(
                    f"{run.extractors} extractor workers in one process; expected 1: leave out --in-process"
                )
            cores = os.cpu_count() or 1
            group = WorkerGroup(
                extractor=WorkerHandle(worker=LocalWorker(make_extractor, name="extractor")),
                readers=[
                    WorkerHandle(worker=LocalWorker(make_reader, name=f"reader-{i}"))
                    for i in range(run.readers or max(1, cores - 1))
                ],
            )
            committer: Worker = LocalWorker(make_committer, name="committer")
            workers = IngestWorkers(pool=LocalPool(), groups=[group], committer=WorkerHandle(worker=committer))
        else:
            from actors.cluster import RayPool, RayWorker, cluster, driver_node

            end.enter_context(cluster(execution.address))
            # Beside the driver: a committer that came back on another machine would find its own lease alive.
            here = driver_node()
            committer = RayWorker(make_committer, name="committer", node_id=here, max_restarts=run.max_restarts)
            groups = _ray_groups(make_reader, make_extractor, run, execution)
            workers = IngestWorkers(pool=RayPool(), groups=groups, committer=WorkerHandle(worker=committer))
        for handle in [
            workers.committer,
            *(handle for group in workers.groups for handle in (group.extractor, *group.readers)),
        ]:
            end.callback(handle.worker.stop)
        end.callback(workers.release)
        yield workers


def _ray_groups(
    make_reader: Callable[[], Reader],
    make_extractor: Callable[..., ExtractorWorker],
    run: RunConfig,
    execution: ExecutionConfig,
) -> list[WorkerGroup]:
    """One worker group a GPU, or one a node where there is none, each with its readers on its extractor's node."""
    from actors.cluster import RayWorker, nodes

    found = nodes()
    on_gpu = execution.device != "cpu" and any(node["gpus"] for node in found)
    handles = [node for node in found for _ in range(node["gpus"] if on_gpu else min(1, node["cpus"]))]
    if run.extractors is not None:
        handles = [handles[i % len(handles)] for i in range(run.extractors)]
    groups = []
    for number, node in enumerate(handles):
        sharing = sum(other is node for other in handles)
        cores = max(1, node["cpus"] // sharing)
        readers = run.readers or min(MAX_READERS, max(1, cores - 1))
        reserved = 1 if readers + 1 <= cores else 0  # whoever asks for more workers than cores gets them, unreserved
        extractor = RayWorker(
            functools.partial(make_extractor, threads=None if on_gpu else cores),
            name=f"extractor-{number}",
            num_cpus=reserved,
            num_gpus=min(1.0, node["gpus"] / sharing) if on_gpu else 0,
            node_id=node["id"],
            max_restarts=run.max_restarts,
            env={"LANCE_CPU_THREADS": "2"},
        )
        groups.append(
            WorkerGroup(
                extractor=WorkerHandle(worker=extractor),
                readers=[
                    WorkerHandle(
                        worker=RayWorker(
                            make_reader,
                            name=f"reader-{number}-{i}",
                            num_cpus=reserved,
                            node_id=node["id"],
                            max_restarts=run.max_restarts,
                        )
                    )
                    for i in range(readers)
                ],
            )
        )
    return groups
