"""Slides that crash what reads them, hang, are cut short, or change while they are read."""

import functools
import random
import shutil
import signal
import time
from pathlib import Path

import psutil

from ..child import Child, run
from ..world import SLIDES, World
from .catalogue import kind

#: Of the processes that slides are read in: no answer for so long is none, seconds. To start one on a busy machine
#: takes several.
ANSWER_S = 12.0


def _answers_within(seconds: float) -> None:
    """Called in the child."""
    from embedstore.slides.readers import slide_process

    slide_process.ANSWER_S = seconds


def _readers(driver: Child) -> list[psutil.Process]:
    """Processes of a run that read slides."""
    try:
        children = psutil.Process(driver.pid).children()
        return [child for child in children if "slide_server" in " ".join(child.cmdline())]
    except psutil.Error:
        return []


def _hit(name: str, reason: str, world: World, folder: Path, rng: random.Random) -> str:
    """A signal to one process that reads a slide; the others go on, and the slide is on record."""
    task = world.tasks["ingest"]
    store, log = world.store_for(task, folder), folder / "log"
    args = [*task.args(store), "--readers", "2"]
    before = functools.partial(_answers_within, ANSWER_S) if name == "SIGSTOP" else None
    child = Child(args, log=log, before=before)
    child.until(lambda: _readers(child))
    time.sleep(rng.uniform(0, 1.0))
    readers = _readers(child)
    if readers:
        victim = rng.choice(readers)
        victim.send_signal(getattr(signal, name))
    code = child.end()
    failed = _failed(store)
    assert code == (3 if failed else 0), child.said()
    assert len(failed) <= 1, f"one reader was hit, and {failed} failed"
    if failed:  # it is not tried again unless that is asked for
        args = [arg for arg in task.args(store) if arg != "--retry-failed"]
        code, said = run(args, log=folder / "untried")
        assert code == 3 and _failed(store) == failed and "0 slide(s) done" in said, said
    world.assert_nothing_lost(task, store, folder / "again", may_fail=reason)
    return f"{len(readers)} readers, {len(failed)} slides failed"


def _failed(store: str) -> list[str]:
    from embedstore.store import Store

    return [outcome.slide_id for outcome in Store.open(store).ledger.outcomes(states=("failed", "empty"))]


kind("slide: its reader is killed", share=0.7)(functools.partial(_hit, "SIGKILL", "was killed"))
kind("slide: it crashes the C library", share=0.7)(functools.partial(_hit, "SIGSEGV", "crashed"))
kind("slide: its reader hangs", share=0.3)(functools.partial(_hit, "SIGSTOP", "no answer within"))


@kind("slide: it is cut short")
def _cut_short(world: World, folder: Path, rng: random.Random) -> str:
    slides = Path(shutil.copytree(world.slides, folder / "slides"))
    victim = slides / f"s{rng.randrange(SLIDES)}.svs"
    whole, share = victim.read_bytes(), rng.uniform(0.01, 0.9)
    victim.write_bytes(whole[: int(share * len(whole))])
    task, store = world.tasks["ingest"], str(folder / "store")
    args = world.ingest(store, slides=slides / "slides.csv")
    code, said = run(args, log=folder / "log")
    assert code == 3 and _failed(store) == [victim.name], said
    world.assert_nothing_lost(
        task, store, folder / "again", failed={victim.name: ""}, before=lambda: victim.write_bytes(whole)
    )
    return f"{victim.name} cut at {share:.0%}"


def _change_at(read: int, victim: str, other: str) -> None:
    """Put the content of another slide into a slide's file at its n-th read. Called in the child."""
    from embedstore.slides.tiling import tile_reader

    original, reads = tile_reader.TileReader.read, iter(range(1 << 30))

    def reading(self: tile_reader.TileReader, start: int, stop: int) -> object:
        found = original(self, start, stop)
        if self._plan.source.path == victim and next(reads) == read:
            Path(victim).write_bytes(Path(other).read_bytes())
        return found

    tile_reader.TileReader.read = reading  # type: ignore[method-assign,assignment]


@kind("slide: it changes during the read")
def _changes(world: World, folder: Path, rng: random.Random) -> str:
    slides = Path(shutil.copytree(world.slides, folder / "slides"))
    victim, other = rng.sample(sorted(slides.glob("*.svs")), 2)
    whole = victim.read_bytes()
    task, store, read = world.tasks["ingest"], str(folder / "store"), rng.randrange(2)
    args = world.ingest(store, slides=slides / "slides.csv")
    child = Child(args, log=folder / "log", before=functools.partial(_change_at, read, str(victim), str(other)))
    code = child.end()
    changed = victim.read_bytes() != whole
    assert code == (3 if changed else 0), child.said()
    world.assert_nothing_lost(
        task, store, folder / "again", failed={victim.name: "changed"} if changed else {},
        before=lambda: victim.write_bytes(whole),
    )  # fmt: skip
    return f"{victim.name} at its read {read}" if changed else "not reached"
