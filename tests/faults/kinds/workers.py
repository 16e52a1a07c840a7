"""Workers that die: in a simulation that decides in which call, around the real store."""

import random
from pathlib import Path
from unittest import mock

import numpy as np

from embedstore.errors import EmbedStoreError
from tests.actors.scene import SLIDES, Scene, assert_complete
from tests.actors.toys import ToyExtractor

from ..world import World
from .catalogue import kind

_EXTRACTORS, _READERS = ("extractor-0", "extractor-1"), tuple(f"reader-{i}-{j}" for i in range(2) for j in range(2))


def _die(names: tuple[str, ...], world: World, folder: Path, rng: random.Random) -> str:
    with (
        mock.patch("actors.dispatch.TICK_S", 0.0),
        mock.patch("actors.ingest_workers.ASK_AGAIN_S", (0.0, 0.0, 0.0)),
        mock.patch("actors.extractor_worker.load_extractor", lambda config, device: ToyExtractor()),
        # A committer that dies leaves its lease behind in a process that lives on: let it be taken.
        mock.patch("embedstore.store.lease_rows.LeaseRow.lives", lambda holder: False),
    ):
        return _ingest(names, folder, rng)


def _ingest(names: tuple[str, ...], folder: Path, rng: random.Random) -> str:
    scene, ended = Scene(folder), ""
    spare = tuple({"committer", *_EXTRACTORS, *_READERS} - set(names))
    deaths = 0
    for _ in range(20):  # a run ends when too many died; the next one goes on
        try:
            pool = scene.run(SLIDES, seed=rng.randrange(1 << 30), death_rate=rng.uniform(0.02, 0.3), spare=spare)
            deaths += len(pool.deaths)
            if set(scene.states().values()) == {"done"}:
                break
        except EmbedStoreError as error:
            ended = f", a run ended: {type(error).__name__}"
    assert_complete(scene, SLIDES)
    assert len(np.unique(scene.store.collection("c").tiles(columns=["tile_id"])["tile_id"])) == 105
    return f"{deaths} deaths{ended}"


for _name, _names in (
    ("readers die", _READERS),
    ("extractors die", _EXTRACTORS),
    ("the committer dies", ("committer",)),
):

    def _run(world: World, folder: Path, rng: random.Random, names: tuple[str, ...] = _names) -> str:
        return _die(names, world, folder, rng)

    kind(f"workers: {_name}", share=3.0, needs="this process")(_run)
