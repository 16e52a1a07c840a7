"""Extractors that give no number, or have too little memory."""

import random
from pathlib import Path

from ..child import Child
from ..world import World
from .catalogue import kind


@kind("extractor: NaN")
def _nan(world: World, folder: Path, rng: random.Random) -> str:
    task, tile = world.tasks["ingest"], rng.randrange(17, 150)
    store = world.store_for(task, folder)
    child = Child(task.args(store), log=folder / "log", environment={"FAULT_EXTRACTOR": f"nan:{tile}"})
    code = child.end()
    assert code == 3, child.said()
    world.assert_nothing_lost(task, store, folder / "again", may_fail="embeddings that float16 cannot hold")
    return f"for tile {tile}"


@kind("extractor: out of memory on the GPU", share=0.5)
def _memory(world: World, folder: Path, rng: random.Random) -> str:
    task, tiles = world.tasks["ingest"], rng.randrange(8, 16)
    store = world.store_for(task, folder)
    child = Child(task.args(store), log=folder / "log", environment={"FAULT_EXTRACTOR": f"oom:{tiles}"})
    assert child.end() == 0, child.said()
    assert child.said().count("does not fit into the memory") == 1, child.said()
    world.assert_nothing_lost(task, store, folder / "again")
    return f"memory for {tiles} of 16 tiles"
