"""The workers of a run: hired on threads of this process or on Ray, and let go at its end."""

import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from actors.committer import Committer
from actors.extractor import ExtractorWorker, Target
from actors.jobs import Lane, Seat
from actors.reader import Reader
from actors.workers import LocalPool, LocalWorker, Pool, Worker
from embedstore.config import IngestConfig, RunConfig
from embedstore.errors import ConfigError

log = logging.getLogger(__name__)

#: Readers beside one extractor, at most: 16 read 4,000 tiles a second.
MAX_READERS = 16
RELEASE_S = 20.0


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """On what the run runs.

    Attributes:
        in_process: Threads of this process instead of Ray actors.
        address: A Ray cluster to join (`auto`, `ray://…`, `host:port`); None starts Ray on this machine.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
    """

    in_process: bool = False
    address: str | None = None
    device: str = "auto"


@dataclass(kw_only=True)
class Crew:
    """The workers of a run."""

    pool: Pool
    lanes: list[Lane]
    committer: Seat
    leased: bool = False

    def ask(self, seat: Seat, method: str, *args: Any) -> Any:
        """Call and wait for the answer."""
        answer = self.result(seat.worker.call(method, *args))
        self.leased |= seat is self.committer
        return answer

    def release(self) -> None:
        """Let go of the collections, however the run ended: this process may live on and run again."""
        if not self.leased:
            return
        try:
            handle = self.committer.worker.call("release")
            if self.pool.wait([handle], RELEASE_S):
                self.pool.get(handle)
        except Exception:
            log.warning("the leases were not let go; they end with their process", exc_info=True)

    def result(self, handle: Any) -> Any:
        while not self.pool.wait([handle], 60.0):
            log.info("waiting for a worker to answer")
        return self.pool.get(handle)


@contextlib.contextmanager
def crew(
    store_uri: str, targets: Sequence[Target], config: IngestConfig, run: RunConfig, where: ExecutionConfig
) -> Iterator[Crew]:
    """Workers on threads or on Ray; their leases and processes are gone at the end."""
    make_reader = functools.partial(Reader, config)
    # Ray shows an actor its own GPU only, as the first one.
    device = "cuda" if where.device.startswith("cuda") and not where.in_process else where.device
    make_extractor = functools.partial(
        ExtractorWorker, store_uri, targets, device=device, batch_tiles=run.batch_tiles, views=config.views
    )
    make_committer = functools.partial(
        Committer, store_uri, sorted(target.collection for target in targets), compact_every=run.compact_every
    )
    with contextlib.ExitStack() as end:
        if where.in_process:
            if run.extractors not in (None, 1):
                raise ConfigError(
                    f"{run.extractors} extractor workers in one process; expected 1: leave out --in-process"
                )
            cores = os.cpu_count() or 1
            lane = Lane(
                extractor=Seat(worker=LocalWorker(make_extractor, name="extractor")),
                readers=[
                    Seat(worker=LocalWorker(make_reader, name=f"reader-{i}"))
                    for i in range(run.readers or max(1, cores - 1))
                ],
            )
            committer: Worker = LocalWorker(make_committer, name="committer")
            hired = Crew(pool=LocalPool(), lanes=[lane], committer=Seat(worker=committer))
        else:
            from actors.cluster import RayPool, RayWorker, cluster, driver_node

            end.enter_context(cluster(where.address))
            # Beside the driver: a committer that came back on another machine would find its own lease alive.
            here = driver_node()
            committer = RayWorker(make_committer, name="committer", node_id=here, max_restarts=run.max_restarts)
            lanes = _ray_lanes(make_reader, make_extractor, run, where)
            hired = Crew(pool=RayPool(), lanes=lanes, committer=Seat(worker=committer))
        for seat in [hired.committer, *(seat for lane in hired.lanes for seat in (lane.extractor, *lane.readers))]:
            end.callback(seat.worker.stop)
        end.callback(hired.release)
        yield hired


def _ray_lanes(
    make_reader: Callable[[], Reader],
    make_extractor: Callable[..., ExtractorWorker],
    run: RunConfig,
    where: ExecutionConfig,
) -> list[Lane]:
    """One lane a GPU, or one a node where there is none, each with its readers on its extractor's node."""
    from actors.cluster import RayWorker, nodes

    found = nodes()
    on_gpu = where.device != "cpu" and any(node["gpus"] for node in found)
    seats = [node for node in found for _ in range(node["gpus"] if on_gpu else min(1, node["cpus"]))]
    if run.extractors is not None:
        seats = [seats[i % len(seats)] for i in range(run.extractors)]
    lanes = []
    for number, node in enumerate(seats):
        sharing = sum(other is node for other in seats)
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
        lanes.append(
            Lane(
                extractor=Seat(worker=extractor),
                readers=[
                    Seat(
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
    return lanes
