"""What a store of many slides grows to: versions, fragments, bytes of manifests, and seconds of what asks it about all.

    python benchmarks/store_growth.py [--slides 20000] [--tiles 8] [--group 8]

The first slide is ingested by the command. The others are links to its file, and their rows, random ones, are committed
by the committer that a run uses, in groups as small as a slow run makes them. After every tenth of the slides a line
tells how large the table is. At the end the command is run again over all of them, as a user would who wants to know
whether everything is in, and `ls` and `status` after it. Few rows a slide, since it is the number of slides and commits
that manifests grow with.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from measure import run_measured, write_row
from scale_commits import random_batch

from actors.committer import Committer
from embedstore.store import Collection, Store
from synthetic_slides import write_slide

COLLECTION = "c"


def embedstore(*command: str, store: Path) -> float:
    """Seconds that a command takes."""
    line = [sys.executable, "-m", "cli.main", *command, "--store", str(store)]
    usage = run_measured(line, cwd=str(Path(__file__).parent.parent))
    if usage.returncode:
        raise SystemExit(f"{command[0]} ended with {usage.returncode}: {usage.stdout}")
    return usage.wall_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=20_000)
    parser.add_argument("--tiles", type=int, default=8)
    parser.add_argument("--group", type=int, default=8)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        slides, store = Path(folder, "slides"), Path(folder, "store")
        names = [f"case-{i:06d}.svs" for i in range(args.slides)]
        first = write_slide(slides / names[0], size_px=(1024, 768)).path
        ingest = ["ingest", str(slides), "-e", "colour-12", "-c", COLLECTION]
        embedstore(*ingest, store=store)
        for name in names[1:]:
            os.link(first, slides / name)
        row = grow(Store.open(store).collection(COLLECTION), str(store), names[1:], args.tiles, args.group)
        for key, command in {"second_run_s": ingest, "ls_s": ["ls"], "status_s": ["status"]}.items():
            row[key] = round(min(embedstore(*command, store=store) for _ in range(3)), 2)
        write_row("store_growth", {"slides": args.slides, "group": args.group, **row})


def grow(collection: Collection, store: str, names: list[str], tiles: int, group: int) -> dict[str, float]:
    committer = Committer(store, [COLLECTION], compact_every=64)
    took, most = [], 0
    for start in range(0, len(names), group):
        made = random_batch(collection, names[start : start + group], tiles, seed=start)
        began = time.perf_counter()
        committer.commit(made)
        took.append(time.perf_counter() - began)
        most = max(most, len(collection.dataset().get_fragments()))
        if len(took) % max(1, len(names) // group // 10) == 0:
            print(f"{start + group} slides, at most {most} fragments, {sum(took):.0f} s in commits", flush=True)
    committer.close()
    manifests = list(Path(collection.table.uri).rglob("*.manifest"))
    return {
        "commits": len(took),
        "fragments_most": most,
        "fragments_end": len(collection.dataset().get_fragments()),
        "versions_end": len(collection.dataset().versions()),
        "manifests_mb": round(sum(path.stat().st_size for path in manifests) / 1e6, 1),
        "commit_ms": round(1000 * sum(took) / len(took), 1),
        "slowest_commit_s": round(max(took), 2),
    }


if __name__ == "__main__":
    main()
