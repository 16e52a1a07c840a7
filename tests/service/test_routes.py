"""The routes of slides, collections and search answer as the Python API does, and refuse in one shape."""

import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from embedstore.api import Store
from embedstore.service.answers import ARROW
from embedstore.service.failures import without_paths
from embedstore.service.routes.collections import _without_folders
from embedstore.store import Store as StoreTables
from embedstore.store.removal import remove_collection
from tests.export.prediction_scene import grid, make_store
from tests.service.clients import client_of

SEARCH = "/api/collections/toy/search"


@pytest.fixture
def store(toy_store: StoreTables) -> Store:
    return Store(toy_store)


def test_the_store_says_what_it_holds(client: TestClient):
    answer = client.get("/api").json()
    assert (answer["collections"], answer["slides"], answer["tasks"]) == (["toy"], 3, ["tumour"])
    assert client.get("/health").json() == client.get("/ready").json() == {"status": "ok"}


def test_slides_are_filtered_sorted_and_paged(client: TestClient):
    def ids(**query: object) -> list[str]:
        return [row["slide_id"] for row in client.get("/api/slides", params=query).json()["rows"]]

    assert ids() == ["a.svs", "b.svs", "sub/c.svs"]
    assert ids(sort="bounds_x", order="descending") == ["sub/c.svs", "b.svs", "a.svs"]
    assert ids(where="cohort = 'A'") == ["a.svs", "sub/c.svs"]
    assert ids(text="P1") == ["b.svs"] and ids(text="SUB/") == ["sub/c.svs"]
    assert ids(offset=1, limit=1) == ["b.svs"]
    assert ids(state="done") == ids() and ids(state="failed") == []
    row = client.get("/api/slides", params={"limit": 1}).json()
    assert row["total"] == 3 and not {"path", "fingerprint"} & row["rows"][0].keys()


def test_a_search_takes_further_examples(client: TestClient, store: Store):
    collection = store.collection("toy")
    first, second, third = (str(row["tile_id"]) for row in collection.tiles(limit=3))
    body = {"query": {"tile_id": first}, "more_like": [{"tile_id": second}], "away_from": [{"tile_id": third}], "k": 4}
    found = collection.search(int(first), more_like=[int(second)], away_from=[int(third)], k=4)
    hits = client.post(SEARCH, json=body).json()["hits"]
    assert [{**row, "tile_id": int(row["tile_id"])} for row in hits] == found.to_pylist()
    assert not {first, second, third} & {row["tile_id"] for row in hits}


def test_a_slide_whose_id_has_a_slash(client: TestClient):
    answer = client.get("/api/slides/sub/c.svs").json()
    assert answer["slide_id"] == "sub/c.svs" and answer["outcomes"][0]["tiles"] == 4
    assert client.get("/api/slides/sub%2Fc.svs").json() == answer


def test_slides_of_a_wall_tell_what_became_of_them(client: TestClient, store: Store):
    cards = "/api/collections/toy/slide-cards"
    everything = client.get(cards, params={"sort": "tiles", "order": "descending"}).json()
    outcomes = {row["slide_id"]: row for row in store.outcomes(collection="toy")}
    slides = {row["slide_id"]: row for row in client.get("/api/slides").json()["rows"]}
    assert {row["slide_id"] for row in everything["rows"]} == set(slides)
    for row in everything["rows"]:
        outcome = outcomes.get(row["slide_id"], {"state": None, "tiles": None, "reason": None})
        assert row == slides[row["slide_id"]] | {name: outcome[name] for name in ("state", "tiles", "reason")}
    counted = [row["tiles"] for row in everything["rows"] if row["tiles"] is not None]
    assert counted == sorted(counted, reverse=True) and everything["tiles"] == sum(counted)
    states = [outcomes[slide]["state"] if slide in outcomes else "none" for slide in slides]
    assert everything["states"] == {state: states.count(state) for state in set(states)}
    done = client.get(cards, params={"state": "done", "text": "c.sv", "limit": 1}).json()
    assert (done["total"], [row["slide_id"] for row in done["rows"]]) == (1, ["sub/c.svs"])
    assert client.get(cards, params={"state": "failed"}).json()["total"] == 0
    assert client.get(cards, params={"sort": "x"}).json()["error"]["type"] == "ConfigError"


@pytest.mark.parametrize(
    "query",
    [
        {"slide_id": "a.svs", "x": 130, "y": 0},
        {"slide_id": "a.svs", "region": [0, 0, 256, 128]},
        {"task": "tumour", "label": "yes"},
    ],
)
def test_a_search_finds_what_python_finds(client: TestClient, store: Store, query: dict):
    collection = store.collection("toy")
    match query:
        case {"x": x, "y": y, "slide_id": slide}:
            example = (slide, x, y)
        case {"region": region, "slide_id": slide}:
            example = collection.query_by_region(slide, tuple(region))
        case _:
            example = collection.query_by_label(**query)
    settings = {"k": 4, "where": "cohort = 'A'", "columns": ["cohort"]}
    answer = client.post(SEARCH, json={"query": query, **settings})
    found = collection.search(example, **settings)
    assert [{**row, "tile_id": int(row["tile_id"])} for row in answer.json()["hits"]] == found.to_pylist()
    as_arrow = client.post(SEARCH, json={"query": query, **settings}, headers={"Accept": ARROW})
    assert pa.ipc.open_stream(as_arrow.content).read_all().to_pylist() == found.to_pylist()


def test_the_vector_of_a_query_finds_the_same(client: TestClient):
    tile = client.get("/api/collections/toy/tiles", params={"limit": 1}).json()["rows"][0]["tile_id"]
    query = client.post("/api/collections/toy/query", json={"tile_id": tile}).json()
    assert query["tile_ids"] == [tile] and query["slides"] == ["a.svs"]
    by_vector = client.post(SEARCH, json={"query": {"vector": query["vector"]}, "k": 3}).json()["hits"]
    by_tile = client.post(SEARCH, json={"query": {"tile_id": tile}, "k": 2}).json()["hits"]
    assert by_vector[0]["tile_id"] == tile and [hit["tile_id"] for hit in by_vector[1:]] == [
        hit["tile_id"] for hit in by_tile
    ]


@pytest.mark.parametrize("column", ["tile_id", "vector"])
def test_many_queries_are_a_table_in_and_a_table_out(client: TestClient, store: Store, column: str):
    collection = store.collection("toy")
    queries = collection.tiles(columns=[column], where="slide_id = 'b.svs'").to_arrow()
    settings = {"k": 2, "where": "cohort = 'A'"}
    answer = client.post("/api/collections/toy/search-many", content=_stream(queries), params=settings, headers=STREAM)
    found = pa.ipc.open_stream(answer.content).read_all()
    assert found.to_pylist() == collection.search_many(queries, **settings).to_pylist() and len(found) == 12
    broken = client.post("/api/collections/toy/search-many", content=_stream(queries)[:200], headers=STREAM)
    assert broken.status_code == 400 and "no Arrow stream" in broken.json()["error"]["message"]


STREAM = {"Content-Type": ARROW}


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def test_vectors_come_as_arrow(client: TestClient, store: Store):
    answer = client.get("/api/collections/toy/vectors", params={"where": "slide_id = 'b.svs'"})
    table = pa.ipc.open_stream(answer.content).read_all()
    expected = store.collection("toy").vectors(where="slide_id = 'b.svs'")
    np.testing.assert_array_equal(np.stack(table["vector"].to_numpy()), expected)


@pytest.mark.parametrize(
    "method, path, body, status, kind, words",
    [
        ("GET", "/api/slides/d.svs", None, 404, "SlideNotInStoreError", "no slide 'd.svs'"),
        ("GET", "/api/slides?where=colour='red'", None, 400, "ConfigError", "no column 'colour'"),
        ("GET", "/api/slides?sort=path", None, 400, "ConfigError", "no column 'path' to sort by"),
        ("GET", "/api/slides?limit=1000000", None, 400, "ConfigError", "at most 10000 rows"),
        ("GET", "/api/slides?sortby=path", None, 400, "ConfigError", "no parameter 'sortby'; it takes text, where"),
        ("GET", "/api/collections/toy/tiles?columns=z", None, 400, "ConfigError", "no column 'z'; expected"),
        ("GET", "/api/collections/none", None, 404, "CollectionNotFoundError", "no collection 'none'"),
        ("GET", "/api/collections/toy/tiles/99999999999999999999", None, 404, "TileNotFoundError", "64 bits"),
        ("POST", SEARCH, {"query": {"tile_id": "7"}}, 404, "TileNotFoundError", "no tile 7"),
        ("POST", SEARCH, {"query": {"vector": [1, 2]}}, 400, "VectorError", "vectors of 4 values"),
        ("POST", SEARCH, {"query": {"tile_id": "7"}, "kk": 3}, 422, "ValidationError", "kk"),
        ("POST", SEARCH, {"query": {"vector": [1, 0, 0, 0]}, "columns": ["path"]}, 400, "ConfigError", "'path'"),
        ("POST", SEARCH, {"query": {"slide_id": "a.svs"}, "kk": 3}, 422, "ValidationError", "body.kk: there is no"),
        ("POST", SEARCH, {"query": {"tile": "7"}, "k": 3}, 422, "ValidationError", "query.tile: there is no"),
        ("POST", SEARCH, {"query": {"slide_id": "a.svs", "x": 1}}, 422, "ValidationError", "query.y: Field required"),
        ("POST", SEARCH, {"query": {"slide_id": "a.svs", "x": 1, "y": "z"}}, 422, "ValidationError", "body.query.y: "),
        ("GET", "/api/nothing", None, 404, "HTTPError", "there is no route GET /api/nothing; /api/openapi.json lists"),
        ("PATCH", "/api/slides", None, 405, "HTTPError", "the route /api/slides does not take PATCH"),
    ],
)  # fmt: skip
def test_a_refusal_is_a_sentence_without_paths(client: TestClient, toy_store, method, path, body, status, kind, words):
    answer = client.request(method, path, json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (status, kind) and words in error["message"], error
    assert toy_store.uri not in answer.text and "/tmp" not in answer.text


def test_a_refusal_is_one_line_whatever_it_quotes(client: TestClient):
    answer = client.post("/api/collections/toy/search", json={"query": {"slide_id": "a.svs"}, "a\n\x1b[2Jb": 1})
    message = answer.json()["error"]["message"]
    assert answer.status_code == 422 and message.isprintable() and "there is no such field" in message


def test_what_is_no_json_is_told(client: TestClient):
    sent = client.post(SEARCH, content=b'{"query": ', headers={"Content-Type": "application/json"})
    assert sent.status_code == 422
    assert sent.json()["error"]["message"].startswith("the body is not JSON, from character 10 on;")


def test_bodies_are_bounded(client: TestClient):
    large = client.post(SEARCH, content=b" " * (5 << 20), headers={"Content-Type": "application/json"})
    assert large.status_code == 413 and large.json()["error"]["type"] == "TooLargeError"
    chunks = (b" " * (1 << 20) for _ in range(5))  # a client that does not say how much it sends
    large = client.post(SEARCH, content=chunks, headers={"Content-Type": "application/json"})
    assert large.status_code == 413


def test_requests_are_counted_by_route(client: TestClient):
    client.get("/api/slides/a.svs")
    text = client.get("/metrics").text
    assert 'embedstore_requests_total{method="GET",route="/api/slides/{slide_id:path}",status="200"}' in text
    assert "a.svs" not in text and 'embedstore_running{work="searches"} 0.0' in text


def test_a_store_that_can_only_be_read_is_told_in_one_sentence(toy_store: Store, monkeypatch: pytest.MonkeyPatch):
    with client_of(toy_store) as client:
        monkeypatch.setattr(os, "access", lambda *_, **__: False)
        told = client.post("/api/heads", json={"tasks": ["tumour"]})
        assert told.status_code == 503 and told.json()["error"]["message"].startswith(
            "the store cannot be written: no "
        )


@pytest.mark.parametrize(
    "text, shown",
    [
        ("no slide 'sub/c.svs' in the store; GET /api/slides lists them", None),
        ("tile 7 of slide sub/c.svs at 1, 2", None),
        ("slide 'c.svs' is not at /mnt/slides/sub/c.svs any more", "slide 'c.svs' is not at c.svs any more"),
        ("s3://bucket/store has no collection yet", "store has no collection yet"),
        ("not at /mnt/my slides/sub/c.svs, nor '/x/y z/d.svs'", "not at my c.svs, nor 'y d.svs'"),
        ("Dataset at path tmp/x/tiles.lance was not found", "Dataset at path tiles.lance was not found"),
    ],
)
def test_paths_of_the_server_are_left_out_of_a_message_and_ids_of_slides_are_not(text: str, shown: str | None):
    assert without_paths(text) == (text if shown is None else shown)


def test_a_collection_is_described_without_folders_of_the_server(client: TestClient):
    answer = client.get("/api/collections/toy").json()
    assert answer["tiles"] == 22 and answer["index"]["kind"] == "flat" and answer["warm"] is None
    assert _without_folders({"a": {"weights": "/data/uni.pth"}, "b": [1]}) == {"a": {"weights": "uni.pth"}, "b": [1]}


def test_large_collections_are_kept_warm(toy_store: StoreTables, tmp_path, monkeypatch):
    monkeypatch.setenv("EMBEDSTORE_CACHE", str(tmp_path))
    query = {"query": {"slide_id": "a.svs", "x": 0, "y": 0}, "k": 5}
    with client_of(toy_store, settings={"warm_tiles": 22}) as warm, client_of(toy_store) as cold:
        deadline = time.monotonic() + 300
        while (state := warm.get("/api/collections/toy").json()["warm"])["state"] == "building":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert state["state"] == "ready" and state["tiles"] == 22 and "folder" not in state
        assert warm.post(SEARCH, json=query).json() == cold.post(SEARCH, json=query).json()


def test_a_collection_that_was_removed_is_not_found(tmp_path: Path):
    store = make_store(tmp_path, {"a.svs": grid(2, 2)})
    body = {"query": {"slide_id": "a.svs", "x": 1, "y": 1}, "k": 1}
    with client_of(store) as client:
        assert client.post(SEARCH, json=body).status_code == 200
        remove_collection(StoreTables.open(store.uri), "toy")
        for answer in (client.post(SEARCH, json=body), client.get("/api/collections/toy")):
            assert answer.status_code == 404, answer.text
            assert answer.json()["error"]["type"] == "CollectionNotFoundError"
        assert client.get("/api/collections").json() == [] and client.get("/api/slides").json()["total"] == 1
