"""A store, and simulated workers for it."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np

from actors.committer import Committer
from actors.extractor_worker import ExtractorWorker, Target
from actors.ingest import TilingGroup, _fingerprints, jobs_of, present_in, views_in
from actors.jobs import WorkerGroup, WorkerHandle
from actors.run_counts import RunCounts
from actors.scheduler import Scheduler
from embedstore.config import IngestConfig, RunConfig, ViewConfig
from embedstore.extractors import ExtractorConfig
from embedstore.store import Collection, Store, record_of_views

from .simulation import SimPool, SimWorker
from .toys import CONFIG, DIM, TILE_PX, ToyReader, expected, source

FAST = RunConfig(chunk_bytes=5 * 3 * TILE_PX**2, in_flight_bytes=30 * 3 * TILE_PX**2, group_slides=3, group_s=0.0)
SLIDES = ["a:1", "b:7", "c:40", "d:8", "e:33", "f:16"]
RECORD = {"tiling": {}, "tissue": {}, "extractor": {"name": "toy", "dim": DIM, "digest": "sha256:toy"}}


class Scene:
    """A store with empty collections, and runs over it."""

    def __init__(self, folder: Path, collections: tuple[str, ...] = ("c",)):
        self.store = Store.create(folder / "store")
        self.names = collections
        for name in collections:
            Collection.create(self.store.uri, name, dim=DIM, record=RECORD)
        self.counts = RunCounts(slides=0)
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
        config: RunConfig = FAST,
        ingest: IngestConfig = CONFIG,
        views: ViewConfig | None = None,
        reader: Any = ToyReader,
        spare: tuple[str, ...] = (),
        stop: Any = lambda: False,
        replacing: frozenset[str] = frozenset(),
    ) -> SimPool:
        """Take those slides through a run that are not complete; failed ones too."""
        pool = SimPool(seed, death_rate, spare)
        self.workers, pool.lost = pool.workers, self.lost
        targets = [Target(extractor=ExtractorConfig(ref="toy"), collection=name) for name in self.names]
        for name in self.names if views is not None else ():
            self.store.views(name).create(dim=DIM, record=record_of_views(RECORD, views))
        make_reader = functools.partial(reader, views=views)
        make_extractor = functools.partial(self.extractor, self.store.uri, targets, views=views)
        make_committer = functools.partial(Committer, self.store.uri, self.names, compact_every=4)
        handles = [
            WorkerGroup(
                extractor=WorkerHandle(worker=SimWorker(make_extractor, f"extractor-{i}", pool)),
                readers=[WorkerHandle(worker=SimWorker(make_reader, f"reader-{i}-{j}", pool)) for j in range(readers)],
            )
            for i in range(groups)
        ]
        committer = SimWorker(make_committer, "committer", pool)
        plan = TilingGroup(tiling=ingest.tiling, targets=tuple(targets))
        viewed = None if views is None else views_in(self.store, plan)
        sources = [source(name) for name in slides]
        jobs, _, _ = jobs_of(sources, self.store, plan, present_in(self.store, plan), viewed, True, replacing)
        self.counts = RunCounts(slides=len(jobs))
        Scheduler(
            pool=pool,
            groups=handles,
            committer=WorkerHandle(worker=committer),
            jobs=jobs,
            ingest=dataclasses.replace(ingest, views=views),
            config=config,
            run_id="r",
            counts=self.counts,
            known_fingerprints=_fingerprints(self.store),
            replacing=replacing,
            stop=stop,
        ).run()
        if committer.object is not None:
            committer.object.close()
        return pool

    def rows(self, collection: str, slide_id: str) -> np.ndarray:
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
