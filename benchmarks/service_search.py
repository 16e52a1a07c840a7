"""A warm collection beside faiss: single queries, eight threads, filters, many queries at once, and memory.

    python benchmarks/service_search.py --work FOLDER --rows 1000000

The collection, its vectors and its held-out queries are those of `search_data.py`; the sides are a warm collection,
asked through `Collection.search` and `Collection.search_many`, and faiss-cpu's IVF-PQ and HNSW of `search_peers.py`,
which hold the vectors as float32. Each side builds in a process of its own, once: indexes and the folder of the warm
collection stay in FOLDER. Then each answers in a process of its own. The peers search as little as they may for a
recall of .99, and .98 under a filter, on the first queries; what is written was measured on the others.

`private_mb` is the memory that the process took for the side and that is its own (RssAnon): not the pages of a mapped
file. `many_qps` counts 10,000 queries in one call, on all cores. `load_1m` is how busy the machine was before.

Rows: results/service_search.csv.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from measure import absolute_path, status_bytes, write_row
from numpy.typing import NDArray
from search_child import singles, threads_qps
from search_data import COHORTS, Bench, K
from search_engine import ALL, Clock, Engine

import embedstore
from embedstore.progress import no_progress

SIDES = ("embedstore-warm", "faiss-ivfpq", "faiss-hnsw")
TARGET_RECALL = {ALL: 0.99, **dict.fromkeys(COHORTS, 0.98)}
MANY = 10_000
MB = 1e6


class WarmEngine(Engine):
    """Search as a notebook or the service has it, of a collection that is kept warm."""

    def build(self) -> dict[str, Any]:
        shutil.rmtree(self._folder, ignore_errors=True)
        clock = Clock()
        self.open()
        spent = clock.spent()
        self.collection.cool()
        return {**spent, "index": "warm", "index_bytes": self.facts.disk_bytes}

    @property
    def _folder(self) -> Path:
        return self.bench.folder / "warm"

    def open(self) -> None:
        self.store = embedstore.open(self.bench.store_path)
        self.collection = self.store.collection()
        self.facts = self.collection.warm(folder=self._folder, on_progress=no_progress)

    def search(self, query: NDArray[np.float32], kept: str) -> NDArray[np.int64]:
        where = None if kept == ALL else f"cohort = '{kept}'"
        return self.collection.search(query, k=K, where=where).to_arrow()["tile_id"].to_numpy()

    def search_many(self, queries: NDArray[np.float32]) -> None:
        assert len(self.collection.search_many(queries, k=K, on_progress=no_progress)) == K * len(queries)

    def tune(self, kept: str) -> str:
        return "as it chose itself"


def search_many(engine: Any, queries: NDArray[np.float32]) -> None:
    """All queries in one call, on all cores."""
    if isinstance(engine, WarmEngine):
        engine.search_many(queries)
        return
    import faiss

    faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    engine.index.search(unit, K, params=parameters(engine))
    faiss.omp_set_num_threads(1)


def parameters(engine: Any) -> Any:
    """The settings of a peer's search without a filter, as its `search` uses them."""
    import faiss

    settings = engine.settings[ALL]
    if engine.name == "faiss-hnsw":
        return faiss.SearchParametersHNSW(efSearch=settings)
    base = faiss.SearchParametersIVF(nprobe=settings[0])
    return faiss.IndexRefineSearchParameters(k_factor=settings[1], base_index_params=base)


class Peak(threading.Thread):
    """Watches the private memory of this process."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.start_bytes = self.bytes = status_bytes("RssAnon")
        self._stop_watching = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._stop_watching.wait(0.02):
            self.bytes = max(self.bytes, status_bytes("RssAnon"))

    def grown(self) -> int:
        """By how much it grew at most, so far."""
        return self.bytes - self.start_bytes

    def end(self) -> int:
        self._stop_watching.set()
        return self.grown()


def engine_of(side: str, bench: Bench) -> Any:
    if side == "embedstore-warm":
        return WarmEngine(bench)
    import search_peers

    search_peers.TARGET_RECALL.update(TARGET_RECALL)
    return search_peers.PEERS[side](bench)


def build(engine: Any) -> dict[str, Any]:
    peak = Peak()
    return {**engine.build(), "build_peak_bytes": peak.end()}


def serve(engine: Any, seconds: float) -> dict[str, Any]:
    engine.bench.truths, engine.bench.queries  # noqa: B018 (loads them, before memory is looked at)
    peak = Peak()
    clock = Clock()
    engine.open()
    out: dict[str, Any] = {"open_s": clock.spent()["build_s"], "filters": {}}
    for kept in (ALL, *COHORTS):
        facts: dict[str, Any] = {"settings": engine.tune(kept), "tuned": engine.tuned_recall(kept)}
        facts |= singles(engine, kept)
        facts["qps_threads"] = threads_qps(engine, kept, seconds)
        if kept == ALL:
            queries = np.resize(engine.bench.queries, (MANY, engine.bench.dim))
            search_many(engine, queries[: MANY // 10])
            began = time.perf_counter()
            search_many(engine, queries)
            facts["many_qps"] = MANY / (time.perf_counter() - began)
        facts["private_bytes"] = peak.grown()
        out["filters"][kept] = facts
    peak.end()
    return out


def compare(work: Path, rows: int, dim: int, sides: list[str], seconds: float) -> None:
    """A row a side and filter."""
    bench = Bench.at(work, rows, dim)
    for side in sides:
        built = bench.folder / f"{side}.build.json"
        if not built.exists():
            built.write_text(json.dumps(child("build", side, work, rows, dim, seconds)))
        made = json.loads(built.read_text())
        served = child("serve", side, work, rows, dim, seconds)
        for kept, facts in served["filters"].items():
            row = {
                "side": side,
                "version": f"faiss-cpu {version('faiss-cpu')}",
                "rows": rows,
                "dim": dim,
                "build_s": round(made["build_s"], 1),
                "build_peak_mb": round(made["build_peak_bytes"] / MB),
                "load_1m": served["load_1m"],
                "open_s": round(served["open_s"], 2),
                "kept": COHORTS.get(kept, 1.0),
                "settings": facts["settings"],
                "recall_at_10": round(facts["recall"], 4),
                "p50_ms": round(facts["p50_ms"], 3),
                "p95_ms": round(facts["p95_ms"], 3),
                "p99_ms": round(facts["p99_ms"], 3),
                "qps_1": round(facts["qps_one"]),
                "qps_8_threads": round(facts["qps_threads"]),
                "many_qps": round(facts["many_qps"]) if "many_qps" in facts else "",
                "private_mb": round(facts["private_bytes"] / MB),
            }
            write_row("service_search", row)


def child(what: str, side: str, work: Path, rows: int, dim: int, seconds: float) -> dict[str, Any]:
    print(f"{side}: {what}", file=sys.stderr, flush=True)
    command = [sys.executable, __file__, "--child", what, "--sides", side, "--work", str(work)]
    command += ["--rows", str(rows), "--dim", str(dim), "--seconds", str(seconds)]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if found.returncode:
        raise SystemExit(f"{side} ended with {found.returncode} in its {what}: {found.stdout}")
    facts: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work", type=absolute_path, required=True, help="folder to keep the collection and indexes in"
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--seconds", type=float, default=5.0, help="of each count of queries a second")
    parser.add_argument("--child", choices=["build", "serve"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is None:
        compare(args.work, args.rows, args.dim, args.sides.split(","), args.seconds)
        return
    engine = engine_of(args.sides, Bench.at(args.work, args.rows, args.dim))
    load = round(os.getloadavg()[0], 1)
    found = build(engine) if args.child == "build" else serve(engine, args.seconds)
    print(json.dumps({"load_1m": load, **found}))


if __name__ == "__main__":
    main()
