"""One scenario on both faces: a store read in its folder and through its service gives the same."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedstore
from embedstore.client import RemoteStore
from embedstore.errors import EmbedStoreError
from embedstore.progress import no_progress

#: Columns that tell of the server's files.
HIDDEN = {"path", "fingerprint", "run_id"}


def read_everything(store: Any, folder: Path) -> dict[str, Any]:
    """Ask a store all that reads; what comes out, as plain values."""
    collection = store.collection("toy")
    tile = collection.tiles(limit=1)["tile_id"][0]
    vector = store.tile(tile)["vector"]
    np.save(folder / "query.npy", np.array(vector))
    region = collection.query_by_region("a.svs", (0, 0, 256, 128))
    queries = {
        "tile": tile,
        "row": collection.tiles(slide_id="b.svs").to_pylist()[2],
        "place": ("sub/c.svs", 130, 3),
        "vector": vector,
        "file": folder / "query.npy",
        "region": region,
        "label": collection.query_by_label("tumour", "yes"),
    }
    found = {name: collection.search(query, k=4) for name, query in queries.items()}
    found["filtered"] = collection.search(tile, k=3, where="cohort = 'A'", columns="cohort", exclude_same="slide")
    found["more like"] = collection.search(tile, more_like=[region, ("b.svs", 0, 0)], k=3)
    found["away"] = collection.search(region, away_from=[("b.svs", 0, 0), vector], away_weight=0.2, per_slide=2)
    found["object"] = collection.search(tile, embedstore.SearchConfig(k=2, diverse=0.5))
    return {
        "collections": [each.name for each in store.collections],
        "only": store.collection().name,
        "slides": rows(store.slides),
        "slide": without_hidden(store.slide("sub/c.svs")),
        "status": rows(store.status),
        "outcomes": rows(store.outcomes(collection="toy", states=["done"], slide_id="b.svs")),
        "tile": store.tile(tile),
        "tile at": store.tile_at("a.svs", (130, 5)),
        "first tile": store.tile_at("sub/c.svs", collection="toy"),
        "summary": collection.summary(),
        "facts": (len(collection), collection.dim, collection.slides, collection.tiling, collection.record),
        "index": (collection.index, collection.index_choice),
        "filter columns": {k: v for k, v in collection.filter_columns().items() if k not in HIDDEN},
        "tiles": rows(collection.tiles(where="x > 0 AND patient = 'P0'", columns=["tile_id", "x"])),
        "label filter": rows(collection.tiles(where="label.tumour = 'yes'")),
        "tiles with vectors": rows(collection.tiles(slide_id="b.svs", columns=["vector", "x"], limit=2)),
        "types": collection.tiles().to_arrow().schema,
        "vectors": collection.vectors(where="slide_id <> 'b.svs'").tolist(),
        "no vectors": collection.vectors(where="x < 0").shape,
        "map": rows(collection.map()),
        "types of the map": collection.map().to_arrow().schema,
        "map facts": dataclasses.replace(collection.map_facts, version=""),
        "map colours": [
            (colours.kind, colours.classes, colours.counts, colours.range, colours.values.tolist())
            for colours in map(collection.map_colours, ("patient", "label:tumour", "tissue"))
        ],
        "map picture": collection.map_picture(color_by="slide", picture_px=100).tobytes(),
        "similar encoded": rows(collection.similar_slides("a.svs", k=1, encoder="mean")),
        "encodings": collection.encodings,
        "vectors of slides": rows(collection.slide_vectors("mean")),
        "types of the vectors of slides": collection.slide_vectors("mean").to_arrow().schema,
        "similar": rows(collection.similar_slides("a.svs", k=2)),
        "region": (region.title, region.slides, region.tile_ids.tolist(), region.vector.round(6).tolist()),
        "many": [
            rows(collection.search_many(asked, k=2, where="cohort = 'A'", columns=["cohort"], on_progress=no_progress))
            for asked in (collection.tiles(limit=3), [tile], np.array([vector, vector], np.float32))
        ],
        "found": {name: (result.title, result.note, rows(result)) for name, result in found.items()},
    }


def rows(table: embedstore.Table) -> list[Any]:
    return [table.title, *map(without_hidden, table)]


def without_hidden(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in HIDDEN}


def test_both_faces_read_the_same(local: embedstore.Store, remote: RemoteStore, tmp_path: Path):
    expected, given = read_everything(local, tmp_path), read_everything(remote, tmp_path)
    for name in expected:
        assert given[name] == expected[name], name


@pytest.mark.slow
@pytest.mark.parametrize(
    "ask",
    [
        lambda store: store.collection("none"),
        lambda store: store.slide("d.svs"),
        lambda store: store.tile(7),
        lambda store: store.tile_at("a.svs", (4000, 0)),
        lambda store: store.outcomes(collection="none"),
        lambda store: store.collection().tiles(where="colour = 'red'"),
        lambda store: store.collection().tiles(columns=["colour"]),
        lambda store: store.collection().search([1.0, 2.0]),
        lambda store: store.collection().search([0.0, 0.0, 0.0, 0.0]),
        lambda store: store.collection().search([float("nan")] * 4),
        lambda store: store.collection().search({"tile": 3}),
        lambda store: store.collection().search(None),
        lambda store: store.collection().search("query.txt"),
        lambda store: store.collection().search(7),
        lambda store: store.collection().search(("a.svs", 0, 0), kk=3),
        lambda store: store.collection().search(("a.svs", 0, 0), k=0),
        lambda store: store.collection().search(("a.svs", 0, 0), columns="colour"),
        lambda store: store.collection().query_by_label("tumour", "maybe"),
        lambda store: store.collection().query_by_label("grade", "1"),
        lambda store: store.collection().query_by_region("a.svs", (9000, 9000, 1, 1)),
        lambda store: store.collection().similar_slides("d.svs"),
        lambda store: store.collection().similar_slides("a.svs", encoder="none"),
        lambda store: store.collection().encode_slides("mean", words=3),
        lambda store: store.collection().encode_slides("mean", codebook_of="none"),
        lambda store: store.collection().remove_encoding("none"),
        lambda store: store.collection().search_many([7]),
        lambda store: store.collection().search_many("none.npy"),
        lambda store: store.collection().search_many(np.zeros((2, 4))),
        lambda store: store.collection().search_many([]),
    ],
)
def test_both_faces_refuse_the_same(ask, local: embedstore.Store, remote: RemoteStore):
    errors = []
    for store in (local, remote):
        with pytest.raises(EmbedStoreError) as refused:
            ask(store)
        errors.append((type(refused.value), str(refused.value).replace(f"{local.uri}", "")))
    assert errors[0][0] is errors[1][0], errors
    assert len(errors[1][1]) > 20


LIGHT = """
import sys
from tests.client.served_by import connect_by
store = connect_by(sys.argv[1])
collection = store.collection()
assert len(store.slides) == 3 and len(store.status) == 3 and len(collection.tiles()) == 22
tile = collection.tiles(limit=1)["tile_id"][0]
assert len(collection.search(tile, k=3)) == 3 and collection.vectors().shape == (22, 4)
heavy = {"lance", "lancedb", "torch", "jax", "ray", "fastapi", "starlette", "cv2", "PIL", "sqlglot"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


def test_reading_and_searching_import_nothing_heavy(toy_socket: Path):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, str(toy_socket)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
