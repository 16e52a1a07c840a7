"""What the first commands of a day take: CPU seconds and seconds from the shell to the answer.

    python benchmarks/start_up.py [--code FOLDER...] [--store FOLDER] [--rounds 5]

On a store of 100,000 tiles of 384 dimensions in 100 slides, with files cached by the system. Checkouts of other
versions take turns, a command at a time. `fit-head, first` fits 600 labelled tiles with an empty cache of compiled
programs, and `fit-head, again` with what a first one left; so do the others that fit heads or ask them. AdamW and
augmenters are given few steps: what is asked is how long it takes until they begin. CPU seconds are the figure on a
machine that others use as well. The median is kept of each.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from measure import absolute_path, run_measured, write_row
from scale_commits import COLLECTION, random_batch, random_record

from actors.committer import Committer
from embedstore.config import ViewConfig
from embedstore.store import Collection, Label, Store, ViewRows

SLIDES, TILES, DIM = 100, 1000, 384
LABELLED = 6  # of each slide
VIEWS = ViewConfig(count=1)  # of the tiles of the first ten slides
COMMANDS = {
    "--help": ["--help"],
    "ls": ["ls"],
    "status": ["status"],
    "search": ["search", "--slide", "0", "--at", "600", "100"],
    "search, exact": ["search", "--slide", "0", "--at", "600", "100", "--exact"],
}
_FEW_STEPS = ["--steps", "50"]
_FIT = ["fit-head", "--augment", "none", "--replace", "--task"]
#: With an empty cache of compiled programs, and again.
WITH_HEADS = {
    "fit-head": [*_FIT, "marks", "--name", "marks"],
    "predict": ["predict", "--head", "marks"],
    "suggest": ["suggest", "--head", "marks"],
    "mistakes": ["mistakes", "--head", "marks"],
    "fit-head, adamw": [*_FIT, "marks", "--name", "adamw", "--optimizer", "adamw", *_FEW_STEPS],
    "fit-head, mlp": [*_FIT, "marks", "--name", "mlp", "--model", "mlp", *_FEW_STEPS],
    "predict, mlp": ["predict", "--head", "mlp"],
    "fit-head, abmil": [*_FIT, "slides", "--name", "abmil", "--model", "abmil", *_FEW_STEPS],
    "predict, abmil": ["predict", "--head", "abmil", "--where", "slide_id < '2'"],
    "fit-augmenter": ["fit-augmenter", "--replace", "--force", *_FEW_STEPS],
}
COMMANDS |= {f"{name}, {when}": command for name, command in WITH_HEADS.items() for when in ("first", "again")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = Path(__file__).parent.parent
    parser.add_argument("--code", type=absolute_path, nargs="+", default=[here], help="checkouts of other versions")
    parser.add_argument("--store", type=absolute_path, help="folder to keep the store in; a temporary one by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--commands", nargs="+", default=list(COMMANDS), choices=list(COMMANDS), metavar="COMMAND")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = args.store or Path(folder, "store")
        if not store.exists():
            make(store)
        for name in args.commands:
            command = COMMANDS[name]
            taken: dict[Path, list[tuple[float, float]]] = {code: [] for code in args.code}
            for number in range(args.rounds + 1):  # the first fills caches of the system
                for place, code in enumerate(args.code):
                    cache = Path(folder, f"cache-{place}" + (f"-{number}" if name.endswith("first") else ""))
                    usage = embedstore(code, command if name == "--help" else [*command, "--store", str(store)], cache)
                    if number:
                        taken[code].append(usage)
            for code, usages in taken.items():
                cpu_s, wall_s = (round(statistics.median(each), 2) for each in zip(*usages, strict=True))
                version = "this" if code == here else code.name
                write_row("start_up", {"command": name, "version": version, "cpu_s": cpu_s, "wall_s": wall_s})


def embedstore(code: Path, command: list[str], cache: Path) -> tuple[float, float]:
    """CPU seconds and seconds of a command."""
    compiled = str(cache.parent / "pyc")  # as of an installed package
    env = {"PYTHONPATH": str(code), "EMBEDSTORE_CACHE": str(cache), "PYTHONPYCACHEPREFIX": compiled}
    before = os.times()
    usage = run_measured(
        [sys.executable, "-m", "cli.main", *command], env=env | {"PYTHONDONTWRITEBYTECODE": ""}, cwd=str(cache.parent)
    )
    after = os.times()
    if usage.returncode:
        raise SystemExit(f"{command[0]} ended with {usage.returncode}: {usage.stdout}")
    return (
        after.children_user + after.children_system - before.children_user - before.children_system,
        usage.wall_s,
    )


def make(uri: Path) -> None:
    store = Store.create(uri)
    collection = Collection.create(store.uri, COLLECTION, random_record(DIM))
    table = store.views(COLLECTION)
    table.create(random_record(DIM).of_views(VIEWS))
    views = ViewRows(table_uri=table.table.uri, schema=table.schema, config=VIEWS)
    committer = Committer(store.uri, [COLLECTION], compact_every=64)
    for start in range(0, SLIDES, 10):
        names = [str(slide) for slide in range(start, start + 10)]
        committer.commit(random_batch(collection, names, TILES, seed=start, views=None if start else views))
    committer.close()
    store.labels.record(
        Label(task="marks", label="ab"[tile % 2], slide_id=str(slide), x=512.0 * tile, y=0.0, edge_l0=512.0)
        for slide in range(SLIDES)
        for tile in range(LABELLED)
    )
    store.labels.record(
        Label(task="slides", label="ab"[slide % 2], kind="slide", slide_id=str(slide)) for slide in range(SLIDES)
    )


if __name__ == "__main__":
    main()
