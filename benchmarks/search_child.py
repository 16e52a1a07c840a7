"""A side of the benchmark of search in a process of its own: it builds its index, or opens it and answers.

    python benchmarks/search_child.py SIDE build|serve FOLDER ROWS DIM [SECONDS]

What it found is printed as JSON, last. `search_speed.py` starts these one after the other.
"""

import json
import os
import resource
import sys
import threading
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from search_data import COHORTS, MEASURED, TUNED, Bench, recall
from search_side import ALL, Ours, Side, side_of

CLIENTS = 8


def build(side: Side) -> dict[str, Any]:
    facts = side.build()
    return facts | {"build_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def serve(side: Side, seconds: float) -> dict[str, Any]:
    """Open, then for each filter: settle, measure single queries, and queries a second of several clients."""
    process = psutil.Process()
    side.bench.truths, side.bench.queries  # noqa: B018 (loads them, before memory is looked at)
    start = process.memory_info().rss
    began = time.perf_counter()
    side.open()
    out: dict[str, Any] = {"open_s": time.perf_counter() - began, "start_bytes": start, "filters": {}}
    began = time.perf_counter()
    side.ask(side.bench.queries[0], ALL)
    out["first_ms"] = (time.perf_counter() - began) * 1e3
    for kept in (ALL, *COHORTS):
        facts: dict[str, Any] = {"settings": side.choose(kept), "tuned": side.tuned_recall(kept)}
        facts |= singles(side, kept)
        facts["resident_bytes"] = process.memory_info().rss
        facts["qps_threads"] = threads_qps(side, kept, seconds)
        if isinstance(side, Ours) and kept == ALL:
            facts["qps_processes"] = processes_qps(side.bench, kept, seconds)
        out["filters"][kept] = facts
    if isinstance(side, Ours):
        out |= reads(side) | {"cold_p50_ms": cold(side)}
    return out


def singles(side: Side, kept: str) -> dict[str, Any]:
    """One client: milliseconds of each held-out query, and what was found against the truth."""
    took, found = [], []
    for query in side.bench.queries[TUNED:]:
        began = time.perf_counter()
        found.append(side.ask(query, kept))
        took.append((time.perf_counter() - began) * 1e3)
    p50, p95, p99 = np.percentile(took, (50, 95, 99))
    truth = side.bench.truths[f"near_{kept}"][TUNED:]
    return {
        "p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "qps_one": 1e3 * MEASURED / sum(took),
        "recall": recall(found, truth),
    }  # fmt: skip


def threads_qps(side: Side, kept: str, seconds: float) -> float:
    """Queries a second of CLIENTS threads that share what was opened."""
    counts, errors = [0] * CLIENTS, []
    stop = time.perf_counter() + seconds

    def client(number: int) -> None:
        try:
            while time.perf_counter() < stop:
                side.ask(side.bench.queries[TUNED + (37 * number + counts[number]) % MEASURED], kept)
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
    side = Ours(bench)
    side.open()
    for query in bench.queries[:5]:
        side.ask(query, kept)
    ready.wait()
    asked, began = 0, time.perf_counter()
    while time.perf_counter() < began + seconds:
        side.ask(bench.queries[TUNED + (37 * number + asked) % MEASURED], kept)
        asked += 1
    counts.put(asked / (time.perf_counter() - began))


def reads(side: Ours) -> dict[str, float]:
    """Requests and bytes that a query of the index reads from the store, and its time, with the index in memory."""
    took = []
    side.collection.dataset().io_stats_incremental()
    for query in side.bench.queries[TUNED : 2 * TUNED]:
        began = time.perf_counter()
        side.ask_index(query)
        took.append((time.perf_counter() - began) * 1e3)
    found = side.collection.dataset().io_stats_incremental()
    return {
        "reads": found.read_iops / TUNED,
        "read_bytes": found.read_bytes / TUNED,
        "index_p50_ms": float(np.median(took)),
    }


def cold(side: Ours) -> float:
    """Median milliseconds with the files' pages dropped from the machine's cache before each query."""
    from head_large import drop_pages

    took = []
    for query in side.bench.queries[TUNED : 2 * TUNED]:
        drop_pages(Path(side.collection.table.uri))
        began = time.perf_counter()
        side.ask_index(query)
        took.append((time.perf_counter() - began) * 1e3)
    return float(np.median(took))


def main() -> None:
    name, what, work, rows, dim, *rest = sys.argv[1:]
    side = side_of(name, Bench.at(Path(work), int(rows), int(dim)))
    load = round(os.getloadavg()[0], 1)
    found = build(side) if what == "build" else serve(side, float(rest[0]))
    print(json.dumps({"load_1m": load, **found}))


if __name__ == "__main__":
    main()
