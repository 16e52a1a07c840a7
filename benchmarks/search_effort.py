"""How hard an index is looked at, against what is found and how long it takes: the slopes of docs/scale.md."""

import os
import time
from pathlib import Path

import numpy as np
from measure import write_row
from search_data import COHORTS, TUNED, Bench, K, recall

from embedstore.search_config import IndexConfig
from embedstore.store import Collection, IndexSearchConfig, nearest_tiles
from embedstore.store.index import IndexFacts, build_index
from embedstore.store.sql import sql_in

#: An index is built with so many times the usual partitions first, which tells what a partition costs from what a row
#: costs: by itself the one grows as the root of the other.
MORE_PARTITIONS = 4
PROBES = (5, 10, 20, 40, 80)
REFINES = (2, 5, 10)
QUERIES = 200


def effort(work: Path, rows: int, dim: int) -> None:
    """A row for each effort, and for a filter with and without the index; all in one process, warm."""
    bench = Bench.at(work, rows, dim)
    collection = bench.collection()
    facts = builds(bench, collection)
    filters = {cohort: sql_in("slide_id", bench.cohort_slides(cohort)) for cohort in COHORTS}
    grid = [(p, r, None) for p in PROBES if p <= facts.partitions for r in REFINES]
    grid += [(IndexSearchConfig().nprobes, IndexSearchConfig().refine_factor, cohort) for cohort in COHORTS]
    asked = [(IndexSearchConfig(nprobes=p, refine_factor=r), cohort) for p, r, cohort in grid]
    asked += [(IndexSearchConfig(exact=True), cohort) for cohort in (None, *COHORTS)]
    for config, cohort in asked:
        about = {
            "load_1m": round(os.getloadavg()[0], 1),
            "rows": rows,
            "dim": dim,
            "partitions": facts.partitions,
            "kept": COHORTS.get(cohort or "", 1.0),
            "probes": "" if config.exact else config.nprobes,
            "refine": "" if config.exact else config.refine_factor,
        }
        queries = bench.queries[: 20 if config.exact and cohort is None else TUNED + QUERIES]
        took, found = [], []
        for query in queries:
            began = time.perf_counter()
            near = nearest_tiles(collection, query, k=K, where=filters.get(cohort or ""), index_search=config)
            took.append((time.perf_counter() - began) * 1e3)
            found.append(near.column("tile_id").to_numpy())
        truth = bench.truths[f"near_{cohort or 'all'}"][: len(queries)]
        p50, p95 = np.percentile(took[len(took) // 3 :], (50, 95))  # the first ones load the index
        row = {"recall_at_10": round(recall(found, truth), 4), "p50_ms": round(p50, 2), "p95_ms": round(p95, 2)}
        write_row("search_effort", about | row)


def builds(bench: Bench, collection: Collection) -> IndexFacts:
    """A row for a build with more partitions and one for the usual build, which stays."""
    for partitions in (MORE_PARTITIONS * IndexConfig().partitions_for(bench.rows), None):
        load, wall, cpu = os.getloadavg()[0], time.perf_counter(), time.process_time()
        with bench.store().lease(collection.name):
            facts = build_index(collection, IndexConfig(partitions=partitions))
        row = {
            "load_1m": round(load, 1),
            "rows": bench.rows,
            "dim": bench.dim,
            "partitions": facts.partitions,
            "build_s": round(time.perf_counter() - wall, 2),
            "build_cpu_s": round(time.process_time() - cpu, 2),
            "index_mb": round(facts.size_bytes / 1e6, 2),
        }
        write_row("search_build", row | products(bench.dim))
    return facts


def products(dim: int, rows: int = 4096, partitions: int = 4096) -> dict[str, float]:
    """Nanoseconds a row and partition to find the nearest centres of many rows at once, and a partition for one row."""
    rng = np.random.default_rng(0)
    centres, x = rng.standard_normal((16 * partitions, dim), np.float32), rng.standard_normal((rows, dim), np.float32)
    took: dict[str, list[float]] = {"assign_ns": [], "centre_ns": []}
    for _ in range(5):
        began = time.perf_counter()
        (x @ centres[:partitions].T).argmax(axis=1)
        took["assign_ns"].append((time.perf_counter() - began) * 1e9 / rows / partitions)
        began = time.perf_counter()
        (centres @ x[0]).argmax()
        took["centre_ns"].append((time.perf_counter() - began) * 1e9 / len(centres))
    return {name: round(float(np.median(each)), 2) for name, each in took.items()}
