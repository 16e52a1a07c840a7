"""Reading alone: this project's readers beside others, on the same tiles of the same slides.

    python benchmarks/readers.py SLIDE... [--microtome PYTHON] [--tiffslide PYTHON] [--lazyslide PYTHON]

No tissue, no resizing, no extractor, no store: squares of level 0 into an array, 256 px (of the mosaics, one tile as
the file stores it) and 512 px. `read_tiles.py` says what each reader is asked. Each runs in a process of its own, in
turn, with one and with two threads; opening the slide is not counted. `mean_difference` and `highest_difference` are
from OpenSlide's pixels, grey levels. An option gives the Python of an environment that has the reader.

`microtome` (microtome-wsi) reads Aperio's files whose tiles are JPEG; a slide that a reader does not take has a row
that says so.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measure import absolute_path, write_row

HERE = Path(__file__).parent
OURS = ("embedstore", "embedstore-here", "openslide", "fastslide")
PEERS = ("microtome", "tiffslide", "lazyslide")


def read(python: str, reader: str, slide: Path, edge: int, tiles: int, threads: int, sample: Path) -> dict[str, Any]:
    """One run of `read_tiles.py`; {"refused": why} where the reader does not take the slide."""
    command = [python, str(HERE / "read_tiles.py"), reader, str(slide), str(edge), str(tiles), str(threads)]
    env = os.environ | {"PYTHONPATH": str(HERE.parent)} if reader.startswith("embedstore") else None
    done = subprocess.run([*command, str(sample)], capture_output=True, text=True, env=env)
    if done.returncode:
        return {"refused": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def compare(readers: dict[str, str], slide: Path, edge: int, tiles: int, rounds: int) -> None:
    """A row for each reader and number of threads."""
    runs: dict[tuple[str, int], list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        samples = {reader: Path(folder) / f"{reader}.npy" for reader in readers}
        for _ in range(rounds):
            for reader, python in readers.items():
                for threads in (1, 2):
                    if "refused" not in runs.get((reader, 1), [{}])[0]:
                        run = read(python, reader, slide, edge, tiles, threads, samples[reader])
                        runs.setdefault((reader, threads), []).append(run)
        expected = np.load(samples["openslide"]).astype(int)
        for (reader, threads), found in runs.items():
            what = {"slide": slide.name, "edge_px": edge, "reader": reader, "threads": threads}
            if "refused" in found[0]:
                write_row("readers", what | dict.fromkeys(COLUMNS, "") | found[0])
            else:
                difference = np.abs(np.load(samples[reader]) - expected)
                write_row("readers", what | measured(found, difference) | {"refused": ""})


COLUMNS = (
    "version", "tiles", "cpu_ms", "cpu_range", "wall_ms", "mean_difference", "highest_difference", "rounds", "load",
)  # fmt: skip


def measured(found: Sequence[dict[str, Any]], difference: np.ndarray) -> dict[str, Any]:
    each = [run["cpu_ms"] for run in found]
    values = (
        found[0]["version"],
        found[0]["tiles"],
        round(statistics.median(each), 2),
        f"{min(each):.2f}-{max(each):.2f}",
        round(statistics.median(run["wall_ms"] for run in found), 2),
        round(float(difference.mean()), 3),
        int(difference.max()),
        len(found),
        round(os.getloadavg()[0], 1),
    )
    return dict(zip(COLUMNS, values, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slides", nargs="+", type=absolute_path)
    for peer in PEERS:
        parser.add_argument(f"--{peer}", metavar="PYTHON", help=f"Python of an environment with {peer}.")
    parser.add_argument("--edges", type=int, nargs="+", default=[256, 512], help="of the squares, pixels")
    parser.add_argument("--tiles", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    readers = dict.fromkeys(OURS, sys.executable)
    readers |= {peer: python for peer in PEERS if (python := getattr(args, peer))}
    for slide in args.slides:
        for edge in args.edges:
            compare(readers, slide, edge, args.tiles, args.rounds)


if __name__ == "__main__":
    main()
