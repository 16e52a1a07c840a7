"""A sample of the faults of `make faults`: nothing is lost, and the command run again ends as an undisturbed one."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.object_store import ObjectStore

from .kinds import KINDS, Skipped
from .world import World

pytestmark = pytest.mark.slow

#: {kind: seed}; the seeds are of runs in which the fault falls into the work.
SAMPLE = {
    "ingest: killed at a write": 1,
    "ingest: the disk is full": 1,
    "ingest: the clock jumps": 1,
    "rm: killed at a write": 1,
    "compact: killed at a write": 1,
    "label-import: killed at a write": 1,
    "slide: it crashes the C library": 1,
    "slide: it is cut short": 1,
    "slide: it changes during the read": 1,
    "extractor: NaN": 1,
    "workers: the committer dies": 1,
}
#: The same with an object store.
ON_OBJECT_STORES = {"object store: does, and answers nothing": 1, "object store: the driver is killed": 1}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("name", SAMPLE)
def test_nothing_is_lost(world: World, tmp_path: Path, name: str):
    _run(name, SAMPLE[name], world, tmp_path)


@pytest.fixture
def with_object_store(world: World, object_store: ObjectStore) -> Iterator[World]:
    world.object_store = object_store
    yield world
    world.object_store = None


@pytest.mark.parametrize("name", ON_OBJECT_STORES)
def test_nothing_is_lost_on_an_object_store(with_object_store: World, tmp_path: Path, name: str):
    _run(name, ON_OBJECT_STORES[name], with_object_store, tmp_path)


def _run(name: str, seed: int, world: World, folder: Path) -> None:
    try:
        KINDS[name].run(world, folder, random.Random(seed))
    except Skipped as reason:
        pytest.skip(str(reason))
