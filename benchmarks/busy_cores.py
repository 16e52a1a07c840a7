"""What an extractor costs on the CPU where other programs have the cores, beside an earlier checkout.

    python benchmarks/busy_cores.py --before CHECKOUT [--extractor stain-texture] [--others 0 2] [--rounds 3]

CPU-milliseconds and milliseconds a tile of 256 px (a network: its own size), with as many threads as cores and a
number of other processes that compute without a pause. Medians of runs of some seconds, in turn. A network has random
weights.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from measure import HERE, absolute_path, write_row

SECONDS = 4.0


def embed_for(extractor: str) -> dict[str, float]:
    """CPU-milliseconds and milliseconds a tile, in this process."""
    from embedstore.cores import cores
    from embedstore.extractors import ExtractorConfig, load_extractor
    from embedstore.extractors.torch_runtime import set_threads

    weights = {} if extractor == "stain-texture" else {"weights": "random"}
    loaded = load_extractor(ExtractorConfig(ref=extractor, **weights), device="cpu")
    set_threads(cores())
    edge = loaded.tile_px
    tiles = np.random.default_rng(0).integers(0, 256, (loaded.batch_tiles, edge, edge, 3), np.uint8)
    loaded.embed(tiles)
    began, cpu, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - began < SECONDS:
        loaded.embed(tiles)
        count += len(tiles)
    return {"cpu_ms": 1e3 * (time.process_time() - cpu) / count, "ms": 1e3 * (time.perf_counter() - began) / count}


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def measured(checkout: Path, extractor: str) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).absolute()), "--embed", extractor]
    run = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(checkout)}, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"{extractor} in {checkout} ended with {run.returncode}: {run.stderr}")
    return json.loads(run.stdout)


def compare(before: Path, extractor: str, others: Sequence[int], rounds: int) -> None:
    for processes in others:
        with busy(processes):
            runs = [(measured(before, extractor), measured(HERE, extractor)) for _ in range(rounds)]
        row = {"extractor": extractor, "others": processes}
        for side, each in zip(("before", "now"), zip(*runs, strict=True), strict=True):
            for figure in ("cpu_ms", "ms"):
                values = [run[figure] for run in each]
                row[f"{side}_{figure}"] = round(statistics.median(values), 2)
                row[f"{side}_{figure}_range"] = f"{min(values):.2f}-{max(values):.2f}"
        write_row("busy_cores", {**row, "load": round(os.getloadavg()[0], 1), "rounds": rounds})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embed", metavar="EXTRACTOR", help="measure in this process, for the others")
    parser.add_argument("--before", type=absolute_path, metavar="CHECKOUT", help="an earlier version")
    parser.add_argument("--extractor", default="stain-texture")
    parser.add_argument("--others", type=int, nargs="+", default=[0, 2], help="processes that compute beside")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.embed:
        print(json.dumps(embed_for(args.embed)))
    elif args.before:
        compare(args.before, args.extractor, args.others, args.rounds)
    else:
        parser.error("name an earlier version with --before")


if __name__ == "__main__":
    main()
