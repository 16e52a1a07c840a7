"""Import of a table of many labels, CSV and Parquet, by this source and by another in turn.

python benchmarks/label_import.py STORE --rows 1000000 --beside OTHER_CHECKOUT

The store is copied; it needs slides, such as the demo's.
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from measure import absolute_path, measured_with, peak_bytes, sources, write_row

from embedstore.store import Store


def write_table(store: Path, path: Path, rows: int) -> None:
    """Tiles at random places of the slides of a store, of three classes."""
    rng = np.random.default_rng(0)
    slides = [slide for slide in Store(str(store)).ledger.slides() if slide.width_l0 and slide.height_l0]
    sizes = np.array([(slide.width_l0, slide.height_l0) for slide in slides])
    which = rng.integers(0, len(slides), rows)
    x, y = np.floor(rng.random((rows, 2)) * sizes[which]).astype(np.int64).T
    table = pa.table(
        {
            "slide_id": np.array([slide.slide_id for slide in slides])[which].tolist(),
            "x": x,
            "y": y,
            "edge_l0": np.full(rows, 256),
            "label": np.array(["tumor", "stroma", "other"])[rng.integers(0, 3, rows)].tolist(),
        }
    )
    if path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    else:
        pa.parquet.write_table(table, path)


def measure_here(store: Path, table: Path) -> None:
    """Import a table in this process, and print what it took."""
    from embedstore.labels.importing import ImportConfig, read_labels

    opened = Store(str(store))
    times = [(time.monotonic(), time.process_time())]
    found = read_labels(opened, [table], ImportConfig(task="many", author="me"))
    times.append((time.monotonic(), time.process_time()))
    labels = sum(len(getattr(file, "rows", ()) or file.labels) for file in found.files)
    found.write(opened)
    times.append((time.monotonic(), time.process_time()))
    read, read_cpu, write, write_cpu = np.diff(times, axis=0).ravel()
    peak_mb = peak_bytes() >> 20
    print(
        json.dumps(
            {
                "labels": labels,
                "conflicts": len(found.conflicts),
                "read_s": round(read, 1),
                "write_s": round(write, 1),
                "read_cpu_s": round(read_cpu, 1),
                "write_cpu_s": round(write_cpu, 1),
                "peak_mb": peak_mb,
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=absolute_path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--beside", type=absolute_path, help="a checkout whose embedstore/ is measured in turn")
    parser.add_argument("--here", type=absolute_path, help="import this table into the store, in this process")
    args = parser.parse_args()
    if args.here is not None:
        measure_here(args.store, args.here)
        return
    for suffix in (".csv", ".parquet"):
        for source, root in sources(args.beside).items():
            with tempfile.TemporaryDirectory() as folder:
                store, table = Path(folder, "store"), Path(folder, f"labels{suffix}")
                shutil.copytree(args.store, store)
                write_table(store, table, args.rows)
                took = measured_with(root, __file__, str(store), "--here", str(table))
            write_row("label_import", {"source": source, "format": suffix[1:], "rows": args.rows, **took})


if __name__ == "__main__":
    main()
