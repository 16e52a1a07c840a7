"""What the filter of a search costs before the search: by slides, by tiles, by as many labels as tiles.

python benchmarks/search_filter.py --work FOLDER --rows 100000
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.measure import absolute_path, write_row
from benchmarks.search_data import COLLECTION, Bench, make_store
from embedstore.search.filters import select_tiles
from embedstore.store import Collection, Store
from embedstore.store.label import statement_rows

REPEATS = 5
LISTED = 20  # slides


def label_all(store: Store, collection: Collection) -> None:
    """A label of three classes for each tile."""
    tiles = collection.tiles(columns=["slide_id", "x", "y", "edge_l0"]).combine_chunks()
    count = len(tiles)
    numbers = {name: tiles.column(name).chunk(0).cast(pa.float64()) for name in ("x", "y", "edge_l0")}
    same = {"task": "many", "kind": "tile", "author": "me", "source": "/labels.csv"}
    rows = statement_rows(
        {
            **{name: pa.repeat(value, count) for name, value in same.items()},
            **numbers,
            "slide_id": tiles.column("slide_id").chunk(0),
            "label": pa.array(["a", "b", "c"]).take(pa.array(np.arange(count) % 3)),
        }
    )
    store.labels.replace("many", rows, author="me", sources=[same["source"]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=absolute_path, required=True)
    parser.add_argument("--rows", type=int, default=100_000)
    args = parser.parse_args()
    bench = Bench(folder=Path(args.work, f"filter-{args.rows}"), rows=args.rows, dim=16)
    if not bench.store_path.exists():
        bench.folder.mkdir(parents=True)
        make_store(bench)
        label_all(bench.store(), bench.collection())
    store = bench.store()
    slides = [slide.slide_id for slide in store.ledger.slides()][:LISTED]
    filters = {
        "slides_by_column": "patient = 'patient-00001'",
        "slides_by_list": f"slide_id IN ({', '.join(map(repr, slides))})",
        "tiles": "x > 1000 AND tissue > 0.9",
        "labels": "label.many = 'a'",
    }
    row: dict[str, object] = {"rows": args.rows}
    for name, where in filters.items():
        took = []
        for _ in range(REPEATS + 1):
            collection = store.collection(COLLECTION).pinned()
            began = time.process_time()
            select_tiles(store, collection, where)
            took.append(1000 * (time.process_time() - began))
        row |= {f"{name}_first_cpu_ms": round(took[0], 1), f"{name}_cpu_ms": round(float(np.median(took[1:])), 1)}
    write_row("search_filter", row)


if __name__ == "__main__":
    main()
