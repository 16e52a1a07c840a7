"""Processes of a Ray cluster that are killed: workers, the raylet with all of them, the GCS, the driver."""

import functools
import random
import signal
import time
from pathlib import Path

import psutil

from ..child import LONGEST_S, Child
from ..world import World
from .catalogue import kind

#: Part of the command line of each; Ray names a worker after the call that it is in.
PROCESSES = {"a worker": "_Host", "the raylet": "raylet/raylet", "the GCS": "gcs_server"}
MOST_KILLS = 3


def _ingest(world: World, folder: Path) -> tuple[str, Child]:
    task = world.tasks["ingest"]
    world.expected(task)
    store = world.store_for(task, folder)
    args = [arg for arg in task.args(store) if arg != "--in-process"]
    return store, Child([*args, "--readers", "2", "--ray"], log=folder / "log")


def _processes(driver: Child, part: str) -> list[psutil.Process]:
    found = []
    try:
        children = psutil.Process(driver.pid).children(recursive=True)
    except psutil.Error:
        return []
    for process in children:
        try:
            if part in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _killed(name: str, world: World, folder: Path, rng: random.Random) -> str:
    store, child = _ingest(world, folder)
    kills = 0
    child.until(lambda: _processes(child, PROCESSES["a worker"]))
    for _ in range(rng.randint(1, MOST_KILLS) if name == "a worker" else 1):
        time.sleep(rng.uniform(0, 4))
        if victims := _processes(child, PROCESSES[name]):
            rng.choice(victims).kill()
            kills += 1
    code = child.end()
    world.assert_nothing_lost(world.tasks["ingest"], store, folder / "again")
    return f"{kills} kills, ended with {code}"


for _name, _share in (("a worker", 0.2), ("the raylet", 0.1), ("the GCS", 0.05)):
    kind(f"ray: {_name} is killed", share=_share, needs="ray")(functools.partial(_killed, _name))


@kind("ray: the driver is killed", share=0.1, needs="ray")
def _driver_killed(world: World, folder: Path, rng: random.Random) -> str:
    store, child = _ingest(world, folder)
    left = psutil.Process(child.pid)
    child.until(lambda: _processes(child, PROCESSES["a worker"]))
    time.sleep(rng.uniform(0, 5))
    own = left.children(recursive=True)
    child.send(signal.SIGKILL)
    code = child.end()
    _, alive = psutil.wait_procs(own, timeout=LONGEST_S)  # Ray's agents notice a minute later
    assert not alive, f"processes of Ray outlived their driver by {LONGEST_S:.0f} s: {[p.name() for p in alive]}"
    world.assert_nothing_lost(world.tasks["ingest"], store, folder / "again")
    return f"ended with {code}"
