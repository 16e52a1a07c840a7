"""Tiles that were found, in a store of which one slide is at hand, one is lost, and one is a folder of tiles."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from embedstore.search import Query
from embedstore.search.hits import Hits
from embedstore.store import Store, TileLocation
from tests.export.prediction_scene import DIM, EDGE, add_folder, grid, make_store
from tests.slides.drawings import write_tiff

#: Of the three tiles of a.svs, from left to right.
COLOURS = ((200, 30, 30), (30, 160, 30), (30, 30, 200))
LOST, FOLDER = "lost/b.svs", "tiles"
#: The image on the lost slide begins here: see `make_store`.
BOUNDS = (1000, 2000)
CORNERS = {"a.svs": grid(3, 1), LOST: grid(2, 1, at=(1100, 2300))}


def make_found(folder: Path) -> Store:
    """The store: a.svs (its tiles in COLOURS) and LOST with bounds off zero, and FOLDER with two ready-made tiles."""
    store = make_store(folder, CORNERS)
    picture = np.full((512, 512, 3), 240, np.uint8)
    for number, colour in enumerate(COLOURS):
        picture[:EDGE, number * EDGE : (number + 1) * EDGE] = colour
    write_tiff(folder / "a.svs", picture, colours="deflate", mpp=0.5)
    add_folder(store, FOLDER, ("n/1.png", "t/2.png"))
    return store


def tile_rows(store: Store, slide_id: str) -> list[dict[str, Any]]:
    columns = ["tile_id", "slide_id", "x", "y", "edge_l0", "name", "tissue"]
    return store.collection("toy").tiles(where=f"slide_id = '{slide_id}'", columns=columns).to_pylist()


def make_hits(store: Store, rows: Sequence[dict[str, Any]], query: Query | None = None, **more: Any) -> Hits:
    """Hits of these rows in their order, a tenth of distance from one to the next; `more` are columns, and a note."""
    patients = {row.slide_id: row.patient for row in store.ledger.slides()}
    count = len(rows)
    columns: dict[str, Any] = {
        "rank": pa.array(range(1, count + 1), pa.int64()),
        "distance": pa.array([i / 10 for i in range(count)], pa.float32()),
        "tile_id": pa.array([row["tile_id"] for row in rows], pa.int64()),
        "slide_id": pa.array([row["slide_id"] for row in rows], pa.string()),
        "patient": pa.array([patients.get(row["slide_id"]) for row in rows], pa.string()),
        **{name: pa.array([row[name] for row in rows], pa.int32()) for name in ("x", "y", "edge_l0")},
        "name": pa.array([row["name"] for row in rows], pa.string()),
        "tissue": pa.array([row["tissue"] for row in rows], pa.float32()),
    }
    note = more.pop("note", "")
    table = pa.table({**columns, **more})
    return Hits(store=store, collection="toy", query=query or vector(), table=table, note=note)


def vector(title: str = "a given vector", **more: Any) -> Query:
    return Query(vector=np.eye(DIM, dtype=np.float32)[0], title=title, **more)


def of_tile(row: dict[str, Any]) -> Query:
    return vector(f"tile {row['tile_id']}", slides=(row["slide_id"],), tiles=(TileLocation.from_row(row),))
