"""Where the tiles of a slide lie, in one answer."""

import json

import numpy as np
from safetensors.numpy import load
from starlette.testclient import TestClient

from embedstore.store import Store

PATH = "/api/collections/toy/slides/sub/c.svs/tile-grid"


def test_arrays_hold_the_tiles_of_the_slide_from_top_to_bottom(client: TestClient, toy_store: Store):
    answer = client.get(PATH)
    arrays = load(answer.content)
    rows = toy_store.collection("toy").tiles(where="slide_id = 'sub/c.svs'")
    by_id = {row["tile_id"]: row for row in rows.to_pylist()}
    assert len(arrays["tile_id"]) == 4 and set(arrays["tile_id"].tolist()) == set(by_id)
    for column in ("x", "y", "edge_l0", "tissue"):
        assert arrays[column].tolist() == [by_id[tile][column] for tile in arrays["tile_id"].tolist()]
    places = list(zip(arrays["y"].tolist(), arrays["x"].tolist(), strict=True))
    assert places == sorted(places) and arrays["tile_id"].dtype == np.int64
    header = json.loads(answer.content[8 : 8 + int.from_bytes(answer.content[:8], "little")])
    assert json.loads(header["__metadata__"]["tiles"])["slide_id"] == "sub/c.svs"


def test_it_is_sent_once_until_the_collection_changes(client: TestClient):
    tag = client.get(PATH).headers["ETag"]
    again = client.get(PATH, headers={"If-None-Match": tag})
    assert again.status_code == 304 and not again.content


def test_a_slide_that_is_not_there_is_refused(client: TestClient):
    assert client.get("/api/collections/toy/slides/none.svs/tile-grid").status_code == 404
