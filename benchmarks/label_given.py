"""Labels given through Python: added, half of them changed, undone and withdrawn, by this source and another in turn.

python benchmarks/label_given.py --labels 1000000 --beside OTHER_CHECKOUT
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from measure import absolute_path, measured_with, peak_bytes, sources, write_row

SLIDES = 100
EDGE_L0 = 256
TASK = "many"


def measure_here(count: int) -> None:
    """Print what each step takes in this process: CPU-seconds and seconds."""
    from embedstore import api
    from embedstore.store import SlideRow, Store

    number = np.arange(count // SLIDES)
    rows = pa.table(
        {
            "slide_id": pa.array([f"slide-{i:03}.svs" for i in range(SLIDES)]).take(
                np.repeat(np.arange(SLIDES), len(number))
            ),
            "x": np.tile(number // 100, SLIDES) * EDGE_L0,
            "y": np.tile(number % 100, SLIDES) * EDGE_L0,
            "edge_l0": np.full(len(number) * SLIDES, EDGE_L0),
            "label": pa.array(["tumor", "stroma", "other"]).take(np.arange(len(number) * SLIDES) % 3),
        }
    )
    rows = rows.take(np.random.default_rng(0).permutation(len(rows)))
    half = rows.slice(0, len(rows) // 2).set_column(4, "label", pa.repeat("necrosis", len(rows) // 2))
    places = half.drop_columns(["label"])
    took = {}

    def clock(name: str, step: Callable[[], Any]) -> Any:
        began, began_cpu = time.monotonic(), time.process_time()
        result = step()
        took[f"{name}_cpu_s"] = round(time.process_time() - began_cpu, 2)
        took[f"{name}_s"] = round(time.monotonic() - began, 2)
        return result

    with tempfile.TemporaryDirectory() as folder:
        size = (max(len(number) // 100, 100) + 1) * EDGE_L0
        Store.create(folder).ledger.record(
            [
                SlideRow(slide_id=f"slide-{i:03}.svs", path=f"/{i}", kind="wsi", width_l0=size, height_l0=size)
                for i in range(SLIDES)
            ],
            [],
        )
        labels = api.open(folder).labels
        added = clock("add", lambda: labels.add(TASK, rows, author="me"))
        assert (added.added, added.withdrawn) == (len(rows), 0)
        changed = clock("change", lambda: labels.add(TASK, half, author="me"))
        assert (changed.added, changed.withdrawn) == (len(half), len(half))
        undone = clock("undo", lambda: labels.undo(TASK, author="me"))
        assert (undone.added, undone.withdrawn) == (len(half), len(half))
        withdrawn = clock("withdraw", lambda: labels.withdraw(TASK, places=places, author="me"))
        assert (withdrawn.added, withdrawn.withdrawn) == (0, len(half))
    took["peak_mb"] = peak_bytes() >> 20
    print(json.dumps(took))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=1_000_000)
    parser.add_argument("--beside", type=absolute_path, help="a checkout whose embedstore/ is measured in turn")
    parser.add_argument("--here", action="store_true", help="measure in this process, and write no row")
    args = parser.parse_args()
    if args.here:
        measure_here(args.labels)
        return
    for source, root in sources(args.beside).items():
        took = measured_with(root, __file__, "--here", "--labels", str(args.labels))
        write_row("label_given", {"source": source, "labels": args.labels, **took})


if __name__ == "__main__":
    main()
