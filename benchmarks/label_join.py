"""A million labels of a store: joined to tiles, listed, as a table and exported, by this source and by another in turn.

python benchmarks/label_join.py --labels 1000000 --beside OTHER_CHECKOUT
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from measure import Steps, measure_labels

SLIDES = 100
EDGE_L0 = 256
TASK = "many"


def scene(count: int) -> tuple[Any, dict[str, pa.Table]]:
    """As many tiles in a grid on each slide, and the labels of all of them: their squares, points in them, or columns
    of them as areas, one for each 100 tiles."""
    import shapely

    from embedstore.store.schema import LABELS
    from embedstore.store.tile_locations import TileLocations

    slides = tuple(f"centre-1/slide-{i:03}.svs" for i in range(SLIDES))
    of_slide = count // SLIDES
    number = np.tile(np.arange(of_slide), SLIDES)
    slide = np.repeat(np.arange(SLIDES), of_slide).astype(np.int32)
    xy = np.stack([number // 100, number % 100], axis=1).astype(np.int32) * EDGE_L0
    tiles = TileLocations(
        version=1, row=np.arange(len(slide)), tile_id=np.arange(len(slide)), slide=slide, slides=slides, xy_l0=xy,
        edge_l0=np.full(len(slide), EDGE_L0, np.int32), collection="c",
    )  # fmt: skip

    def rows(which: np.ndarray, kind: str, **places: Any) -> pa.Table:
        order = np.random.default_rng(0).permutation(len(which))
        values = {
            "key": [f"{i:032x}" for i in range(len(which))],
            "task": pa.repeat(TASK, len(which)),
            "kind": pa.repeat(kind, len(which)),
            "slide_id": pa.array(slides).take(slide[which]),
            "label": pa.array(["tumor", "stroma", "other"]).take(((number // 100 + slide) % 3)[which]),
            "patient": pa.array([f"p{i // 2}" for i in range(SLIDES)]).take(slide[which]),
            "author": pa.repeat("me", len(which)),
            "source": pa.repeat("/labels.csv", len(which)),
            "created_at": pa.repeat(pa.scalar(0, LABELS.field("created_at").type), len(which)),
            **places,
        }
        columns = [
            pa.array(values[f.name], f.type) if f.name in values else pa.nulls(len(which), f.type) for f in LABELS
        ]
        return pa.Table.from_arrays(columns, schema=LABELS).take(order)

    every, first = np.arange(len(slide)), np.flatnonzero(number % 100 == 0)
    x, y = xy.T.astype(np.float64)
    columns = shapely.to_wkb(shapely.box(x[first], 0, x[first] + EDGE_L0, 100 * EDGE_L0))
    return tiles, {
        "tile": rows(every, "tile", x=x, y=y, edge_l0=np.full(len(x), EDGE_L0, np.float64)),
        "point": rows(every, "point", x=x + 7.5, y=y + 9),
        "area": rows(first, "area", geometry=columns),
        "slide": rows(np.flatnonzero(number == 0), "slide"),
    }


def measure_here(count: int) -> dict[str, float]:
    """What each step takes in this process: CPU-seconds and seconds."""
    from embedstore import api
    from embedstore.config import JoinConfig
    from embedstore.labels import join_labels
    from embedstore.store import Store
    from embedstore.store.label_changes import with_all_columns
    from embedstore.store.schema import LABEL_ROWS
    from embedstore.store.table import Table

    tiles, labels = scene(count)
    steps = Steps()

    for kind, rows in labels.items():
        joined = steps.clock(
            f"join_{kind}", lambda rows=rows: join_labels(tiles, rows, {}, task=TASK, config=JoinConfig())
        )
        assert joined.labelled.all() and not joined.conflicts, kind
    with tempfile.TemporaryDirectory() as folder:
        Store.create(folder)
        table = Table(folder, "labels")
        table.create(LABEL_ROWS)
        table.upsert("key", with_all_columns(labels["tile"]))
        store = api.open(folder)
        steps.clock("summary", store.labels.summary)
        steps.clock("pandas", lambda: store.labels.table(TASK).to_pandas())
        for suffix in ("csv", "parquet"):
            steps.clock(
                f"export_{suffix}", lambda suffix=suffix: store.labels.export(Path(folder, f"l.{suffix}"), task=TASK)
            )
    return steps.took


if __name__ == "__main__":
    measure_labels("label_join", __doc__, measure_here)
