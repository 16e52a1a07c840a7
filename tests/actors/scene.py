"""A store, and ingests into it by simulated workers."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.dispatch import WorkerHandle
from actors.extractor_worker import ExtractorWorker
from actors.ingest import ingest
from actors.ingest_workers import IngestWorkers
from actors.request import IngestRequest, Target, TilingGroup
from actors.summary import IngestSummary
from actors.worker_group import WorkerFactories, WorkerGroup
from embedstore.config import ExecutionConfig, IngestConfig, RunConfig, ViewConfig
from embedstore.extractors import ExtractorConfig
from embedstore.store import Store

from .simulation import SimFleet, SimPool, SimWorker
from .toys import CONFIG, DIM, TILE_PX, ToyReader, expected, source

CHUNK_BYTES = 5 * 3 * TILE_PX**2
FAST = RunConfig(chunk_bytes=CHUNK_BYTES, in_flight_bytes=6 * CHUNK_BYTES, group_slides=3, group_s=0.0, compact_every=4)
SLIDES = ["a:1", "b:7", "c:40", "d:8", "e:33", "f:16"]


class DriverKilled(BaseException):
    """The process of the run is gone, and its workers with it."""


class Scene:
    """A store, and ingests into some of its collections.

    Attributes:
        summary: Of the last ingest.
        extractor: What makes the extractor workers.
        workers: Those of the last ingest.
        lost: Workers that are gone with their node from their n-th call on.
        fleet: Of the last ingest with nodes that come and go.
    """

    fleet: SimFleet

    def __init__(self, folder: Path, collections: tuple[str, ...] = ("c",)) -> None:
        self.store = Store.create(folder / "store")
        self.names = collections
        self.summary = IngestSummary(run_id="", collections=collections)
        self.extractor: type[ExtractorWorker] = ExtractorWorker
        self.workers: list[SimWorker] = []
        self.lost: dict[str, int] = {}

    def run(
        self,
        slides: list[str],
        *,
        seed: int = 0,
        death_rate: float = 0.0,
        groups: int = 2,
        readers: int = 2,
        run: RunConfig = FAST,
        config: IngestConfig = CONFIG,
        views: ViewConfig | None = None,
        reader: type[ToyReader] = ToyReader,
        spare: tuple[str, ...] = (),
        should_stop: Callable[[], bool] = lambda: False,
        force: frozenset[str] = frozenset(),
        losses: int | None = None,
    ) -> SimPool:
        """Ingest those of the slides that are not complete, earlier failures among them.

        Args:
            losses: Number of nodes that are lost, while others join; None for groups that stay.
        """
        pool = SimPool(seed, death_rate, spare, self.lost)
        self.workers = pool.workers
        targets = tuple(
            Target(extractor=ExtractorConfig(ref="toys:ToyExtractor"), collection=name) for name in self.names
        )
        request = IngestRequest(
            sources=[source(name) for name in slides],
            store_uri=self.store.uri,
            groups=[TilingGroup(tiling=config.tiling, targets=targets)],
            config=dataclasses.replace(config, views=views),
            run=run,
            retry_failed=True,
            force=force,
        )

        @contextlib.contextmanager
        def start(factories: WorkerFactories, run: RunConfig, execution: ExecutionConfig) -> Iterator[IngestWorkers]:
            def handle(make: Callable[[], Any], name: str) -> WorkerHandle:
                return WorkerHandle(worker=SimWorker(make, name, pool))

            make_extractor = functools.partial(self.extractor, self.store.uri, targets, views=views)
            make_reader = functools.partial(reader, views=views)

            def group(i: int) -> WorkerGroup:
                return WorkerGroup(
                    extractor=handle(make_extractor, f"extractor-{i}"),
                    readers=[handle(make_reader, f"reader-{i}-{j}") for j in range(readers)],
                )

            workers = IngestWorkers(pool=pool, groups=[], committer=handle(factories.committer, "committer"))
            if losses is None:
                workers.groups += [group(i) for i in range(groups)]
            else:
                workers.fleet = self.fleet = SimFleet(pool, group, losses=losses)
            yield workers
            workers.finish()

        self.summary = ingest(request, should_stop=should_stop, start_workers=start)
        return pool

    def rows(self, collection: str, slide_id: str) -> NDArray[np.float16]:
        table = self.store.collection(collection).tiles(where=f"slide_id = '{slide_id}'", columns=["x", "vector"])
        assert table.column("x").to_pylist() == sorted(table.column("x").to_pylist())
        return np.asarray(table.column("vector").combine_chunks().flatten()).reshape(-1, DIM)

    def states(self) -> dict[str, str]:
        return {row.slide_id: row.state for row in self.store.ledger.outcomes()}


def assert_complete(scene: Scene, slides: list[str]) -> None:
    for name in scene.names:
        assert scene.store.collection(name).slides() == {s: int(s.split(":")[1]) for s in slides}
        for slide in slides:
            np.testing.assert_array_equal(scene.rows(name, slide), expected(slide, int(slide.split(":")[1])))
