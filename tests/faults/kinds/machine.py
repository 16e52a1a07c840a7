"""Faults of the machine: a full disk, a limit on files, a clock that jumps, a process that is stopped for a while."""

import contextlib
import datetime as dt
import functools
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ..child import Child
from ..world import SLIDES, World
from .catalogue import Skipped, kind
from .commands import at_write, writes

KIB = 1 << 10


class _Disk:
    """A file system in memory of a size that can be changed."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.resize(size, new=True)

    def resize(self, size: int, *, new: bool = False) -> None:
        options = f"size={size // KIB}k" + ("" if new else ",remount")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "embedstore-faults", self.folder], capture_output=True, text=True
        )
        if done.returncode:
            raise Skipped(f"a small disk cannot be mounted here: {done.stderr.strip()}")

    def used(self) -> int:
        found = os.statvfs(self.folder)
        return (found.f_blocks - found.f_bfree) * found.f_frsize


@contextlib.contextmanager
def _disk(folder: Path, size: int) -> Iterator[_Disk]:
    folder.mkdir()
    if os.geteuid() != 0:
        raise Skipped("only root mounts a small disk")
    disk = _Disk(folder, size)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _full(task_name: str, world: World, folder: Path, rng: random.Random) -> str:
    """The disk of the store is full after a share of what a command writes."""
    task = world.tasks[task_name]
    world.expected(task)
    with _disk(folder / "disk", 1 << 30) as disk:
        store = world.store_for(task, folder / "disk")
        room = int(rng.uniform(0.02, 0.9) * world.wrote[task.name])
        disk.resize(disk.used() + room)
        child = Child(task.args(store), log=folder / "log")
        code, said = child.end(), child.said()
        assert code in (0, 1), said
        assert code == 0 or "No space left" in said, said
        assert "Traceback" not in said, said
        if task.name == "ingest" and "slides are committed" in said:
            committed = int(said.split(f" of {SLIDES} slides are committed")[0].split()[-1])
            assert committed == world.present(store), f"said {committed}, and {world.present(store)} are: {said}"
        world.assert_nothing_lost(task, store, folder / "again", before=lambda: disk.resize(1 << 30))
    return f"{room // KIB} KiB of room, ended with {code}"


for _task, _share in (
    ("ingest", 2.0), ("rm", 2.0), ("compact", 2.0), ("index", 1.0), ("predict", 0.5), ("label-import", 1.0),
    ("map", 1.0),
):  # fmt: skip
    kind(f"{_task}: the disk is full", share=_share, needs="root")(functools.partial(_full, _task))


def limit_files(size: int) -> None:
    """No file may become larger. Called in the child."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@kind("ingest: no file may be larger", share=0.7)
def _small_files(world: World, folder: Path, rng: random.Random) -> str:
    task, size = world.tasks["ingest"], rng.randrange(500, 5000)
    store, log = world.store_for(task, folder), folder / "log"
    child = Child(task.args(store), log=log, before=functools.partial(limit_files, size))
    code = child.end()
    assert code in (0, 1), child.said()
    world.assert_nothing_lost(task, store, folder / "again")
    return f"of {size} bytes, ended with {code}"


# -- clocks ------------------------------------------------------------------------------------


def jump(at: int, seconds: float) -> None:
    """Make the store's clock jump at its n-th reading. Called in the child."""
    from embedstore.store import table

    readings, real = itertools.count(), table.now

    def now() -> dt.datetime:
        return real() + dt.timedelta(seconds=seconds if next(readings) >= at else 0)

    for module in [each for name, each in sys.modules.items() if name.startswith(("embedstore.", "actors."))]:
        if getattr(module, "now", None) is real:
            module.now = now  # type: ignore[attr-defined]


@kind("ingest: the clock jumps", share=1.0)
def _clock(world: World, folder: Path, rng: random.Random) -> str:
    """By up to a day, forwards or backwards; in half of the runs the process is killed too."""
    task, at = world.tasks["ingest"], rng.randrange(0, 25)
    seconds = rng.choice((-1, 1)) * 10 ** rng.uniform(1, 4.9)
    store, killed = world.store_for(task, folder), rng.random() < 0.5
    child = Child(task.args(store), log=folder / "log", before=functools.partial(jump, at, seconds))
    if killed:
        child.until(lambda: list(Path(store).glob("tiles-c.lance/data/*")))
        time.sleep(rng.uniform(0, 0.5))
        child.send(signal.SIGKILL)
    code = child.end()
    assert code in (0, -9), child.said()
    world.assert_nothing_lost(task, store, folder / "again")
    return f"by {seconds:.0f} s at its reading {at}{', and the process was killed' if code else ''}"


# -- a process that is stopped for longer than its lease -----------------------------------------


def short_lease(*, stop_at: int | None) -> None:
    """Leases of a few seconds; and, on another machine, stop before the n-th write. Called in the child."""
    from actors import run_record
    from embedstore import process_identity
    from embedstore.store import lease, liveness, runs

    for module in (lease, liveness, runs, run_record):
        for name, seconds in (("RENEWAL_S", 0.5), ("BEAT_S", 0.5), ("LONGEST_BEAT_S", 0.5), ("EXPIRY_S", 4.0)):
            if hasattr(module, name):
                setattr(module, name, seconds)
    if stop_at is not None:
        process_identity._space = lambda pid: "another boot/1"
        at_write(stop_at, "SIGSTOP", after=False)


@kind("ingest: stopped for longer than its lease", share=0.7)
def _stopped(world: World, folder: Path, rng: random.Random) -> str:
    """As a virtual machine may be. Another run takes the lease and does the work; then the first one wakes up."""
    task = world.tasks["ingest"]
    point = rng.randrange(8, writes(world, task))
    store = world.store_for(task, folder)
    first = Child(task.args(store), log=folder / "first", before=functools.partial(short_lease, stop_at=point))
    stopped = _until_stopped(first)
    second = Child(task.args(store), log=folder / "second", before=functools.partial(short_lease, stop_at=None))
    code = second.end()
    first.send(signal.SIGCONT)
    code_of_first = first.end()
    assert code == 0, second.said()
    assert code_of_first in (0, 1), first.said()
    assert "Traceback" not in first.said(), first.said()
    world.assert_nothing_lost(task, store, folder / "again")
    return f"before write {point}; it ended with {code_of_first}" if stopped else "not reached"


def _until_stopped(child: Child) -> bool:
    import psutil

    return child.until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_STOPPED)
