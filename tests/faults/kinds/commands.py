"""Commands that are killed: at a random moment, or right before or after one of their writes; and signals that ask."""

import functools
import itertools
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..child import Child
from ..world import Task, World
from .catalogue import kind

#: A command that was asked to end has ended after so long, seconds: two on a quiet machine.
GRACE_S = 120.0


def at_write(point: int, signals: str, *, after: bool, count_in: str | None = None) -> None:
    """Send this process a signal at its n-th write to a table. Called in the child.

    Args:
        signals: The name of the signal.
        after: Right after the write, and not right before.
        count_in: A file that takes the number of writes; no signal is sent.
    """
    import lance
    from lance.dataset import DatasetOptimizer, MergeInsertBuilder

    from embedstore.store import fragments

    numbers = itertools.count()

    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def write(*args: Any, **kwargs: Any) -> Any:
            number = next(numbers)
            if count_in is not None:
                Path(count_in).write_text(str(number + 1))
            elif number == point and not after:
                os.kill(os.getpid(), getattr(signal, signals))
            result = function(*args, **kwargs)
            if count_in is None and number == point and after:
                os.kill(os.getpid(), getattr(signal, signals))
            return result

        return write

    fragments.write_fragments = wrapped(fragments.write_fragments)  # type: ignore[attr-defined]
    lance.LanceDataset.commit = staticmethod(wrapped(lance.LanceDataset.commit))  # type: ignore[method-assign]
    lance.write_dataset = wrapped(lance.write_dataset)
    for owner, name in (
        (MergeInsertBuilder, "execute"), (DatasetOptimizer, "compact_files"), (DatasetOptimizer, "optimize_indices"),
        (lance.LanceDataset, "cleanup_old_versions"), (lance.LanceDataset, "create_scalar_index"),
        (lance.LanceDataset, "create_index"), (lance.LanceDataset, "add_columns"),
    ):  # fmt: skip
        setattr(owner, name, wrapped(getattr(owner, name)))


def writes(world: World, task: Task) -> int:
    """How many writes an undisturbed command makes."""
    world.expected(task)
    with world.lock:
        return _counted(world, task)


def _counted(world: World, task: Task) -> int:
    if task.name not in world.writes:
        folder = world.folder / f"writes-{task.name}"
        folder.mkdir()
        store, counted = world.store_for(task, folder), folder / "count"
        began = time.monotonic()
        child = Child(
            task.args(store),
            log=folder / "log",
            before=functools.partial(at_write, 0, "", after=False, count_in=str(counted)),
        )
        assert child.end() == 0, child.said()
        world.writes[task.name] = int(counted.read_text())
        world.took_s[task.name] = time.monotonic() - began
    return world.writes[task.name]


def _killed_at_a_write(task_name: str, world: World, folder: Path, rng: random.Random) -> str:
    task = world.tasks[task_name]
    point, after = rng.randrange(writes(world, task)), rng.random() < 0.5
    store = world.store_for(task, folder)
    child = Child(
        task.args(store), log=folder / "log", before=functools.partial(at_write, point, "SIGKILL", after=after)
    )
    code = child.end()
    world.assert_nothing_lost(task, store, folder / "again")
    return f"{'killed' if code == -9 else f'ended {code}'} {'after' if after else 'before'} write {point}"


def _killed_at_a_moment(task_name: str, world: World, folder: Path, rng: random.Random) -> str:
    task = world.tasks[task_name]
    writes(world, task)
    store = world.store_for(task, folder)
    child = Child(task.args(store), log=folder / "log")
    moment = rng.uniform(0, world.took_s[task.name])
    time.sleep(moment)
    child.send(signal.SIGKILL)
    code = child.end()
    world.assert_nothing_lost(task, store, folder / "again")
    return f"{'killed' if code == -9 else f'ended {code}'} after {moment:.2f} s"


for _task, _share in (
    ("ingest", 2.5), ("rm", 3.0), ("compact", 3.0), ("index", 2.0), ("predict", 0.7), ("fit-head", 0.2),
    ("label-import", 2.5), ("map", 2.0),
):  # fmt: skip
    kind(f"{_task}: killed at a write", share=_share)(functools.partial(_killed_at_a_write, _task))
    kind(f"{_task}: killed at a moment", share=_share)(functools.partial(_killed_at_a_moment, _task))


def _asked(name: str, world: World, folder: Path, rng: random.Random) -> str:
    task, number = world.tasks["ingest"], getattr(signal, name)
    writes(world, task)
    store = world.store_for(task, folder)
    child = Child(task.args(store), log=folder / "log")
    child.until(lambda: list(Path(store).glob("tiles-c.lance/data/*")))
    time.sleep(rng.uniform(0, 0.4))
    child.send(number)
    code = child.end(within_s=GRACE_S)
    assert code in (0, 128 + number), f"exit code {code}: {child.said()[-1000:]}"
    assert code == 0 or "remain" in child.said(), child.said()
    world.assert_nothing_lost(task, store, folder / "again")
    return f"ended with {code}"


for _signal in ("SIGTERM", "SIGHUP", "SIGINT"):
    kind(f"ingest: {_signal}", share=0.7)(functools.partial(_asked, _signal))
