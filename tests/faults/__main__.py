"""`make faults`: runs of the catalogue of faults, drawn from a seed; their figures are kept as a row.

A run that fails leaves its folder, and is made again alone by `--only KIND --seed N`, which is printed.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import os
import random
import re
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.object_store import ObjectStore

from .kinds import KINDS, Kind, Skipped
from .world import World


@dataclasses.dataclass
class Tally:
    """What became of the runs."""

    runs: Counter[str] = dataclasses.field(default_factory=Counter)
    losses: list[str] = dataclasses.field(default_factory=list)
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at once")
    parser.add_argument("--only", default="", help="kinds in whose names this pattern is found")
    parser.add_argument("--each", action="store_true", help="each kind once, with the seed")
    parser.add_argument("--no-row", action="store_true", help="keep no row in benchmarks/results")
    options = parser.parse_args()
    chosen = [one for one in KINDS.values() if re.search(options.only, one.name)]
    if not chosen:
        parser.error(f"no kind is named like {options.only!r}; the kinds are {', '.join(KINDS)}")
    folder, began, tally = Path(tempfile.mkdtemp(prefix="embedstore-faults-")), time.monotonic(), Tally()
    server = None if importlib.util.find_spec("moto") is None else ObjectStore()
    try:
        os.environ.update(server.environment if server else {})
        world = World(folder / "world", object_store=server)
        if options.each:
            plan = [(one, options.seed) for one in chosen]
        elif options.only and options.runs == 1:
            plan = [(chosen[0], options.seed)]
        else:
            rng = random.Random(options.seed)
            every = chosen if options.runs >= len(chosen) else []  # once each, and the others by their shares
            drawn = [*every, *rng.choices(chosen, [one.share for one in chosen], k=options.runs - len(every))]
            rng.shuffle(drawn)
            plan = [(one, rng.randrange(1 << 30)) for one in drawn]
        with ThreadPoolExecutor(options.jobs) as threads:
            for number, (one, seed) in enumerate(plan):
                threads.submit(_run, one, seed, world, folder / f"run-{number}", tally)
    finally:
        if server is not None:
            server.close()
        if not tally.losses:
            shutil.rmtree(folder)
    seconds = time.monotonic() - began
    _print(tally, seconds)
    if not options.no_row and not options.only:
        _keep(tally, options.seed, seconds)
    return 1 if tally.losses else 0


#: One run at a time of those that change what they share: the object store, and functions of this process.
_ALONE = {"object store": threading.Lock(), "this process": threading.Lock()}


def _run(one: Kind, seed: int, world: World, folder: Path, tally: Tally) -> None:
    with _ALONE.get(one.needs, contextlib.nullcontext()):
        _run_now(one, seed, world, folder, tally)


def _run_now(one: Kind, seed: int, world: World, folder: Path, tally: Tally) -> None:
    if one.name in tally.skipped:
        return
    folder.mkdir()
    began, again = time.monotonic(), f"--only {re.escape(one.name)!r} --runs 1 --seed {seed}"
    try:
        happened = one.run(world, folder, random.Random(seed))
    except Skipped as reason:
        tally.skipped[one.name] = str(reason)
        happened = f"left out: {reason}"
    except Exception as error:
        tally.losses.append(f"{one.name} ({again}): {error}")
        tally.runs[one.name] += 1
        print(f"LOST  {one.name}: {again}; its folder is {folder}\n{traceback.format_exc()}", flush=True)
        return
    else:
        tally.runs[one.name] += 1
    finally:
        if one.needs == "object store" and world.object_store is not None:
            world.object_store.fail()
    print(f"{time.monotonic() - began:5.1f} s  {one.name}: {happened}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)


def _print(tally: Tally, seconds: float) -> None:
    print()
    for name, runs in sorted(tally.runs.items()):
        print(f"{runs:4d}  {name}")
    for name, reason in tally.skipped.items():
        print(f"left out  {name}: {reason}")
    print(
        f"{tally.runs.total()} runs of {len(tally.runs)} kinds of faults in {seconds:.0f} s; "
        f"{len(tally.losses) or 'no'} losses"
    )
    for loss in tally.losses:
        print(f"  {loss[:500]}")


def _keep(tally: Tally, seed: int, seconds: float) -> None:
    from benchmarks.measure import write_row

    row = {"runs": tally.runs.total(), "kinds": len(tally.runs), "losses": len(tally.losses), "seed": seed}
    by_kind = "; ".join(f"{runs} {name}" for name, runs in sorted(tally.runs.items()))
    write_row("faults", row | {"seconds": round(seconds), "left_out": "; ".join(tally.skipped), "by_kind": by_kind})


if __name__ == "__main__":
    sys.exit(main())
