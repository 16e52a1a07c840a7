"""An engine of the search benchmark in a process of its own: it builds its index, or opens it and answers.

    python benchmarks/search_child.py ENGINE build|serve FOLDER ROWS DIM [SECONDS]

The last line is the result as JSON. `search_speed.py` starts these one after the other.
"""

import json
import os
import sys
import threading
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from measure import peak_bytes
from search_data import COHORTS, MEASURED, TUNED, Bench, recall
from search_engine import ALL, EmbedStoreEngine, Engine

CLIENTS = 8


def build(engine: Engine) -> dict[str, Any]:
    facts = engine.build()
    return facts | {"build_peak_bytes": peak_bytes()}


def serve(engine: Engine, seconds: float) -> dict[str, Any]:
    """Open, then for each filter: tune, measure single queries, and queries a second of several clients."""
    process = psutil.Process()
    engine.bench.truths, engine.bench.queries  # noqa: B018 (loads them, before memory is looked at)
    start = process.memory_info().rss
    began = time.perf_counter()
    engine.open()
    out: dict[str, Any] = {"open_s": time.perf_counter() - began, "start_bytes": start, "filters": {}}
    began = time.perf_counter()
    engine.search(engine.bench.queries[0], ALL)
    out["first_ms"] = (time.perf_counter() - began) * 1e3
    for kept in (ALL, *COHORTS):
        facts: dict[str, Any] = {"settings": engine.tune(kept), "tuned": engine.tuned_recall(kept)}
        facts |= singles(engine, kept)
        facts["resident_bytes"] = process.memory_info().rss
        facts["qps_threads"] = threads_qps(engine, kept, seconds)
        if isinstance(engine, EmbedStoreEngine) and kept == ALL:
            facts["qps_processes"] = processes_qps(engine.bench, kept, seconds)
        out["filters"][kept] = facts
    if isinstance(engine, EmbedStoreEngine):
        out |= reads(engine) | {"cold_p50_ms": cold(engine)}
    return out


def singles(engine: Engine, kept: str) -> dict[str, Any]:
    """One client: milliseconds of each held-out query, and what was found against the truth."""
    took, found = [], []
    for query in engine.bench.queries[TUNED:]:
        began = time.perf_counter()
        found.append(engine.search(query, kept))
        took.append((time.perf_counter() - began) * 1e3)
    p50, p95, p99 = np.percentile(took, (50, 95, 99))
    truth = engine.bench.truths[f"near_{kept}"][TUNED:]
    return {
        "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "qps_one": 1e3 * MEASURED / sum(took),
        "recall": recall(found, truth),
    }  # fmt: skip


def threads_qps(engine: Engine, kept: str, seconds: float) -> float:
    """Queries a second of CLIENTS threads that share what was opened."""
    counts, errors = [0] * CLIENTS, []
    stop = time.perf_counter() + seconds

    def client(number: int) -> None:
        try:
            while time.perf_counter() < stop:
                engine.search(engine.bench.queries[TUNED + (37 * number + counts[number]) % MEASURED], kept)
                counts[number] += 1
        except Exception as error:
            errors.append(error)

    clients = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    began = time.perf_counter()
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    if errors:
        raise errors[0]
    return sum(counts) / (time.perf_counter() - began)


def processes_qps(bench: Bench, kept: str, seconds: float) -> float:
    """Queries a second of CLIENTS processes, each with the collection opened and a few queries answered."""
    context = get_context("spawn")
    ready, counts = context.Barrier(CLIENTS), context.Queue()
    clients = [
        context.Process(target=_process, args=(bench, kept, seconds, number, ready, counts))
        for number in range(CLIENTS)
    ]
    for each in clients:
        each.start()
    total = sum(counts.get(timeout=600) for _ in clients)
    for each in clients:
        each.join()
    return total


def _process(bench: Bench, kept: str, seconds: float, number: int, ready: Any, counts: Any) -> None:
    engine = EmbedStoreEngine(bench)
    engine.open()
    for query in bench.queries[:5]:
        engine.search(query, kept)
    ready.wait()
    answered, began = 0, time.perf_counter()
    while time.perf_counter() < began + seconds:
        engine.search(bench.queries[TUNED + (37 * number + answered) % MEASURED], kept)
        answered += 1
    counts.put(answered / (time.perf_counter() - began))


def reads(engine: EmbedStoreEngine) -> dict[str, float]:
    """Requests and bytes that a query of the index reads from the store, and its time, with the index in memory."""
    took = []
    engine.collection.dataset().io_stats_incremental()
    for query in engine.bench.queries[TUNED : 2 * TUNED]:
        began = time.perf_counter()
        engine.search_index(query)
        took.append((time.perf_counter() - began) * 1e3)
    found = engine.collection.dataset().io_stats_incremental()
    return {
        "reads": found.read_iops / TUNED,
        "read_bytes": found.read_bytes / TUNED,
        "index_p50_ms": float(np.median(took)),
    }


def cold(engine: EmbedStoreEngine) -> float:
    """Median milliseconds with the files' pages dropped from the machine's cache before each query."""
    from head_large import drop_pages

    took = []
    for query in engine.bench.queries[TUNED : 2 * TUNED]:
        drop_pages(Path(engine.collection.table.uri))
        began = time.perf_counter()
        engine.search_index(query)
        took.append((time.perf_counter() - began) * 1e3)
    return float(np.median(took))


def engine_of(name: str, bench: Bench) -> Engine:
    if name == "embedstore":
        return EmbedStoreEngine(bench)
    from search_peers import PEERS  # these libraries are no dependencies of the project

    return PEERS[name](bench)


def main() -> None:
    name, what, work, rows, dim, *rest = sys.argv[1:]
    engine = engine_of(name, Bench.at(Path(work), int(rows), int(dim)))
    load = round(os.getloadavg()[0], 1)
    found = build(engine) if what == "build" else serve(engine, float(rest[0]))
    print(json.dumps({"load_1m": load, **found}))


if __name__ == "__main__":
    main()
