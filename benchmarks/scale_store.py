"""How commands grow with a collection: 100,000, 1 and 10 million tiles of 384 dimensions.

Each store is made once by the project's own writer and stays in FOLDER (8.5 GB at 10 million tiles). Each step is a
command, as a user would type it, with the seconds, CPU seconds and most private memory of all its processes; `query`
is the median of queries in one process that stays. One tile of a hundred has a label, which its vector tells.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measure import RESULTS, Usage, run_measured, write_row
from search_data import COLLECTION, Bench, make_store
from search_scale import PAGE, filled, table

DIM = 384
ROWS = (100_000, 1_000_000, 10_000_000)
LABEL_EVERY = 100
TASK, HEAD = "scale", "scale-linear"
QUERIES = 50
#: Keeps one of the cohorts of `search_data`: ten slides with a thousandth of all tiles.
WHERE = "cohort = 'permille'"
ROOT = Path(__file__).resolve().parent.parent


def bench_of(work: Path, rows: int) -> Bench:
    """The store of that many rows, made once; its time is a row of its own."""
    bench = Bench(folder=work / f"{rows}x{DIM}", rows=rows, dim=DIM)
    whole = bench.folder / "whole"
    if not whole.exists():
        shutil.rmtree(bench.folder, ignore_errors=True)
        bench.folder.mkdir(parents=True)
        began, cpu = time.monotonic(), time.process_time()
        make_store(bench)
        keep(rows, "make", Usage(cpu_s=time.process_time() - cpu, wall_s=time.monotonic() - began), bench)
        whole.touch()
    return bench


def write_labels(bench: Bench) -> Path:
    """A label for each hundredth tile, by a plane through the vectors that leaves a fifth of them on the wrong side."""
    path = bench.folder / "labels.parquet"
    if path.exists():
        return path
    rng = np.random.default_rng(3)
    plane = rng.normal(size=DIM).astype(np.float32)
    ids, scores = [], []
    for block, at in bench.blocks(("tile_id",)):
        chosen = np.flatnonzero((np.arange(len(block["tile_id"])) + at) % LABEL_EVERY == 0)
        ids.append(block["tile_id"][chosen])
        scores.append(block["vector"][chosen] @ plane)
    score = np.concatenate(scores)
    score = score / score.std() + rng.normal(scale=0.7, size=len(score))
    label = np.where(score > 0, "tumour", "normal")
    pq.write_table(pa.table({"tile_id": np.concatenate(ids), "label": label}), path)
    return path


def command(bench: Bench, *words: str) -> Usage:
    full = [sys.executable, "-m", "cli.main", *words, "--store", str(bench.store_path)]
    usage = run_measured(full, env={"PYTHONPATH": str(ROOT)}, cwd=str(bench.folder))
    if usage.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {usage.returncode}")
    return usage


def some_tiles(bench: Bench) -> list[int]:
    table = pq.read_table(write_labels(bench), columns=["tile_id"])
    at = np.random.default_rng(4).choice(len(table), QUERIES, replace=False)
    return table.column("tile_id").to_numpy()[at].tolist()


def queries(bench: Bench, *where: str) -> Usage:
    """The median of a query, in milliseconds and CPU milliseconds, as seconds of `Usage`; memory as it ends."""
    child = [sys.executable, __file__, str(bench.store_path), *where]
    answer = subprocess.run(
        child, input=json.dumps(some_tiles(bench)), text=True, stdout=subprocess.PIPE, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    found = json.loads(answer.stdout)
    return Usage(wall_s=found["wall_s"], cpu_s=found["cpu_s"], peak_bytes={"python": found["bytes"]})


def ask(store: str, where: str | None = None) -> None:
    import psutil

    import embedstore

    tiles = json.load(sys.stdin)
    collection = embedstore.open(store).collection(COLLECTION)
    took = []
    for tile in tiles:
        began, cpu = time.perf_counter(), time.process_time()
        collection.search(tile, k=10, where=where)
        took.append((time.perf_counter() - began, time.process_time() - cpu))
    wall_s, cpu_s = np.median(np.array(took[5:]), axis=0)
    memory = psutil.Process().memory_info()
    print(json.dumps({"wall_s": wall_s, "cpu_s": cpu_s, "bytes": memory.rss - memory.shared}))


def steps(bench: Bench) -> Iterator[tuple[str, Callable[[], Usage]]]:
    """Every step by its name; those after it build upon what it left."""
    tile = str(some_tiles(bench)[0])
    yield "index", lambda: command(bench, "index", "--rebuild", "--kind", "ivf_rq")
    yield "ls", lambda: command(bench, "ls")
    yield "status", lambda: command(bench, "status", "--json")
    yield "search", lambda: command(bench, "search", tile, "--json")
    yield "search-where", lambda: command(bench, "search", tile, "--json", "--where", WHERE)
    yield "query", lambda: queries(bench)
    yield "query-where", lambda: queries(bench, WHERE)
    labels = str(write_labels(bench))
    yield "label", lambda: command(bench, "label", "import", labels, "--task", TASK, "--author", "scale")
    yield "fit-head", lambda: command(bench, "fit-head", "-t", TASK, "--name", HEAD, "--replace")
    yield "predict", lambda: command(bench, "predict", "--head", HEAD)
    yield "search-score", lambda: command(bench, "search", tile, "--json", "--where", f'"{HEAD}".p_tumour > 0.9')
    yield "compact", lambda: command(bench, "compact", "--keep-hours", "0")


def keep(rows: int, step: str, usage: Usage, bench: Bench) -> None:
    on_disk = sum(path.stat().st_size for path in bench.store_path.rglob("*") if path.is_file())
    write_row(
        "scale_store",
        {
            "rows": rows,
            "dim": DIM,
            "step": step,
            "wall_s": round(usage.wall_s, 4),
            "cpu_s": round(usage.cpu_s, 4),
            "peak_mb": round(sum(usage.peak_bytes.values()) / 1e6),
            "store_mb": round(on_disk / 1e6),
            "load_1m": round(os.getloadavg()[0], 1),
        },
    )


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--work", type=Path, required=True, help="a folder that keeps the stores")
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--steps", nargs="+", help="only these")


def run(args: argparse.Namespace) -> None:
    for rows in args.rows:
        bench = bench_of(args.work.absolute(), rows)
        for name, step in steps(bench):
            if not args.steps or name in args.steps:
                keep(rows, name, step(), bench)
    PAGE.write_text(filled(PAGE.read_text(), "grown", table(grown())))


def grown() -> Iterator[list[str]]:
    """CPU seconds and memory of each step, a column for each size."""
    with (RESULTS / "scale_store.csv").open(newline="") as file:
        last = {(int(row["rows"]), row["step"]): row for row in csv.DictReader(file)}
    sizes = sorted({rows for rows, _ in last})
    yield ["", *(f"{rows:,} tiles" for rows in sizes)]
    for step in dict.fromkeys(step for _, step in last):
        yield [f"`{step}`", *(_cell(last.get((rows, step))) for rows in sizes)]


def _cell(row: dict[str, str] | None) -> str:
    if row is None:
        return "–"
    cpu_s, peak_mb = float(row["cpu_s"]), int(row["peak_mb"])
    time = f"{cpu_s:,.0f} s" if cpu_s >= 20 else f"{cpu_s:.1f} s" if cpu_s >= 0.1 else f"{1000 * cpu_s:.0f} ms"
    return f"{time}, {peak_mb:,} MB" if peak_mb else time


if __name__ == "__main__":  # as the child of `queries`
    ask(sys.argv[1], *sys.argv[2:])
