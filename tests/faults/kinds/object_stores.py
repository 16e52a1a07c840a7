"""An object store that answers 503, resets connections, is slow, goes away, or refuses credentials in mid-run."""

import random
import secrets
import signal
import threading
import time
from pathlib import Path

from tests.object_store import Faults, ObjectStore

from ..child import Child
from ..world import World
from .catalogue import Skipped, kind
from .commands import GRACE_S

#: Requests that write of an undisturbed ingest, about.
MOST_WRITES = 70


def _server(world: World) -> ObjectStore:
    if world.object_store is None:
        raise Skipped("no object store without moto and flask: pip install 'embedstore[dev]'")
    return world.object_store


def _begun(world: World, folder: Path, faults: Faults | None = None) -> tuple[ObjectStore, str, Child]:
    """An ingest into a new bucket, under way."""
    server = _server(world)
    world.expected(world.tasks["ingest"])
    store = f"{server.make_bucket('b' + secrets.token_hex(6))}/store"
    server.fail(faults)
    return server, store, Child(world.ingest(store), log=folder / "log")


def _after_some_writes(server: ObjectStore, child: Child, rng: random.Random) -> int:
    """Wait for a moment that does not depend on how busy this machine is: after so many requests of the command."""
    before, writes = server.counts(), rng.randrange(MOST_WRITES)
    child.until(lambda: (server.counts() - before)["PUT"] >= writes, within_s=240)
    return writes


def _why(child: Child) -> str:
    errors = [line for line in child.said().splitlines() if line.startswith("error: ")]
    return f" ({errors[-1][7:200]})" if errors else ""


def _check(world: World, store: str, folder: Path) -> None:
    server = _server(world)
    server.fail()
    world.assert_nothing_lost(world.tasks["ingest"], store, folder / "again")


def _failing(name: str, shares: tuple[float, float], world: World, folder: Path, rng: random.Random) -> str:
    """A share of requests fails, from the first on."""
    share = rng.uniform(*shares)
    faults = Faults(**{name: share}, seed=rng.randrange(1 << 30))  # type: ignore[arg-type]
    _, store, child = _begun(world, folder, faults)
    code = child.end()
    assert code in (0, 1), child.said()
    assert "Traceback" not in child.said(), child.said()
    assert code == 0 or "object store" in child.said(), child.said()
    _check(world, store, folder)
    what = f"{1000 * share:.0f} ms each" if name == "delay_s" else f"{share:.0%} of requests"
    return f"{what}, ended with {code}{_why(child) if code else ''}"


def _add(title: str, name: str, shares: tuple[float, float], share: float) -> None:
    def run(world: World, folder: Path, rng: random.Random) -> str:
        return _failing(name, shares, world, folder, rng)

    kind(f"object store: {title}", share=share, needs="object store")(run)


_add("answers 503", "unavailable", (0.1, 0.3), 0.8)
_add("resets connections", "reset", (0.1, 0.3), 0.6)
_add("does, and answers nothing", "lost", (0.05, 0.2), 1.0)
_add("is slow", "delay_s", (0.02, 0.08), 0.3)


@kind("object store: goes away", share=0.8, needs="object store")
def _away(world: World, folder: Path, rng: random.Random) -> str:
    return _outage(world, folder, rng, rng.uniform(1, 12))


@kind("object store: goes away for a minute", share=0.1, needs="object store")
def _long_away(world: World, folder: Path, rng: random.Random) -> str:
    return _outage(world, folder, rng, rng.uniform(45, 60))


def _outage(world: World, folder: Path, rng: random.Random, seconds: float) -> str:
    server, store, child = _begun(world, folder)
    _after_some_writes(server, child, rng)
    server.go_away()
    try:
        time.sleep(seconds)
    finally:
        server.come_back()
    code = child.end()
    assert code in (0, 1), child.said()
    assert "Traceback" not in child.said(), child.said()
    _check(world, store, folder)
    return f"for {seconds:.0f} s, ended with {code}{_why(child) if code else ''}"


@kind("object store: does not answer", share=0.15, needs="object store")
def _hangs(world: World, folder: Path, rng: random.Random) -> str:
    server, store, child = _begun(world, folder)
    _after_some_writes(server, child, rng)
    server.fail(Faults(delay_s=1000))
    threading.Timer(seconds := rng.uniform(5, 30), server.fail).start()
    code = child.end()
    assert code in (0, 1), child.said()
    _check(world, store, folder)
    return f"for {seconds:.0f} s, ended with {code}{_why(child) if code else ''}"


@kind("object store: refuses credentials", share=0.6, needs="object store")
def _refuses(world: World, folder: Path, rng: random.Random) -> str:
    server, store, child = _begun(world, folder)
    _after_some_writes(server, child, rng)
    server.fail(Faults(refuse=True))
    began = time.monotonic()
    code = child.end(within_s=GRACE_S)
    took_s = time.monotonic() - began
    assert code in (0, 1), child.said()
    assert code == 0 or "403" in child.said(), child.said()
    assert "Traceback" not in child.said(), child.said()
    _check(world, store, folder)
    return f"ended with {code} after {took_s:.0f} s"


@kind("object store: the driver is killed", share=0.8, needs="object store")
def _killed(world: World, folder: Path, rng: random.Random) -> str:
    server, store, child = _begun(world, folder)
    writes = _after_some_writes(server, child, rng)
    child.send(signal.SIGKILL)
    code = child.end()
    _check(world, store, folder)
    return f"after {writes} requests that write" if code == -9 else "not reached"
