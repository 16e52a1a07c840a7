"""Labels given through Python: added, half of them changed, undone and withdrawn, by this source and another in turn.

python benchmarks/label_given.py --labels 1000000 --beside OTHER_CHECKOUT
"""

import tempfile

import numpy as np
import pyarrow as pa
from measure import Steps, measure_labels

SLIDES = 100
EDGE_L0 = 256
TASK = "many"


def measure_here(count: int) -> dict[str, float]:
    """What each step takes in this process: CPU-seconds and seconds."""
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
    steps = Steps()

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
        added = steps.clock("add", lambda: labels.add(TASK, rows, author="me"))
        assert (added.added, added.withdrawn) == (len(rows), 0)
        changed = steps.clock("change", lambda: labels.add(TASK, half, author="me"))
        assert (changed.added, changed.withdrawn) == (len(half), len(half))
        undone = steps.clock("undo", lambda: labels.undo(TASK, author="me"))
        assert (undone.added, undone.withdrawn) == (len(half), len(half))
        withdrawn = steps.clock("withdraw", lambda: labels.withdraw(TASK, places=places, author="me"))
        assert (withdrawn.added, withdrawn.withdrawn) == (0, len(half))
    return steps.took


if __name__ == "__main__":
    measure_labels("label_given", __doc__, measure_here)
