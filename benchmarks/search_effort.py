"""How hard an index is looked at, against what is found and how long it takes: the slopes of docs/scale.md."""

import os
import time
from pathlib import Path

import numpy as np
from measure import write_row
from search_data import COHORTS, TUNED, Bench, K, recall

from embedstore.store import EffortConfig, nearest_tiles
from embedstore.store.index import build_index, index_facts
from embedstore.store.table import sql_in

PROBES = (5, 10, 20, 40, 80)
REFINES = (2, 5, 10)
QUERIES = 200


def effort(work: Path, rows: int, dim: int) -> None:
    """A row for each effort, and for a filter with and without the index; all in one process, warm."""
    bench = Bench.at(work, rows, dim)
    collection = bench.collection()
    if index_facts(collection).kind == "flat":
        with bench.store().lease(collection.name):
            build_index(collection)
    facts = index_facts(collection)
    filters = {cohort: sql_in("slide_id", bench.cohort_slides(cohort)) for cohort in COHORTS}
    grid = [(p, r, None) for p in PROBES if p <= facts.partitions for r in REFINES]
    grid += [(EffortConfig().probes, EffortConfig().refine, cohort) for cohort in COHORTS]
    asked = [(EffortConfig(probes=p, refine=r), cohort) for p, r, cohort in grid]
    asked += [(EffortConfig(exact=True), cohort) for cohort in (None, *COHORTS)]
    for config, cohort in asked:
        about = {
            "load_1m": round(os.getloadavg()[0], 1),
            "rows": rows,
            "dim": dim,
            "partitions": facts.partitions,
            "kept": COHORTS.get(cohort or "", 1.0),
            "probes": "" if config.exact else config.probes,
            "refine": "" if config.exact else config.refine,
        }
        queries = bench.queries[: 20 if config.exact and cohort is None else TUNED + QUERIES]
        took, found = [], []
        for query in queries:
            began = time.perf_counter()
            near = nearest_tiles(collection, query, k=K, where=filters.get(cohort or ""), effort=config)
            took.append((time.perf_counter() - began) * 1e3)
            found.append(near.column("tile_id").to_numpy())
        truth = bench.truths[f"near_{cohort or 'all'}"][: len(queries)]
        p50, p95 = np.percentile(took[len(took) // 3 :], (50, 95))  # the first ones load the index
        row = {"recall_at_10": round(recall(found, truth), 4), "p50_ms": round(p50, 2), "p95_ms": round(p95, 2)}
        write_row("search_effort", about | row)
