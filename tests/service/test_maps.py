"""The map over HTTP: as the caller sees the store."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from embedstore.api import Store as Face
from embedstore.map_config import MapConfig
from embedstore.maps import colours_from_bytes, make_map, map_from_bytes
from embedstore.progress import no_progress
from embedstore.service.jobs import MakeMap, Workplace
from embedstore.store import Store
from embedstore.store.removal import remove_slides
from tests.export.prediction_scene import grid, make_store
from tests.service.clients import client_of

MAP = "/api/collections/toy/map"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = make_store(tmp_path_factory.mktemp("maps"), {"a": grid(4, 3), "b": grid(3, 2), "c": grid(2, 2)})
    make_map(store, store.collection("toy"), MapConfig(method="pca"))
    return store


@pytest.fixture(scope="module")
def client(store: Store) -> Iterator[TestClient]:
    with client_of(store) as client:
        yield client


def test_a_map_is_sent_once_and_again_when_it_has_changed(store: Store, client: TestClient):
    answer = client.get(MAP)
    tiles = map_from_bytes(answer.content)
    assert answer.headers["content-type"] == "application/vnd.safetensors"
    assert (len(tiles.tile_ids), tiles.slide_names, tiles.facts.record.method) == (22, ("a", "b", "c"), "pca")
    known = {"If-None-Match": answer.headers["etag"]}
    assert client.get(MAP, headers=known).status_code == 304
    make_map(store, store.collection("toy"), MapConfig(method="pca", seed=3), rebuild=True)
    assert client.get(MAP, headers=known).status_code == 200


def test_colours_are_in_the_order_of_the_tiles(client: TestClient):
    tiles = map_from_bytes(client.get(MAP).content)
    colours = colours_from_bytes(client.get(f"{MAP}/colours", params={"by": "patient"}).content)
    patients = [f"P{'abc'.index(name)}" for name in tiles.rows["slide_id"].to_pylist()]
    assert [colours.classes[code] for code in colours.values] == patients


def test_what_is_not_shown_colours_nothing(client: TestClient):
    for hidden in ("path", "fingerprint", "tile.vector"):
        answer = client.get(f"{MAP}/colours", params={"by": hidden})
        assert answer.status_code == 400 and "/nowhere" not in answer.text
    assert client.get(f"{MAP}/colours", params={"by": "label:nothing"}).status_code == 404
    assert client.get("/api/collections/none/map").status_code == 404


def test_a_project_has_the_map_of_its_slides(store: Store):
    token = store.tokens.create("of-project", role="admin", project="cohort = 'A'")
    with client_of(store, token=token) as client:
        tiles = map_from_bytes(client.get(MAP).content)
        assert tiles.slide_names == ("a", "c")
        assert (tiles.facts.tiles, tiles.facts.collection_tiles, tiles.facts.record.tiles) == (16, 16, 16)
        colours = colours_from_bytes(client.get(f"{MAP}/colours", params={"by": "slide"}).content)
        assert (len(colours.values), colours.classes) == (16, ("a", "c"))
        assert client.post(MAP, json={}).status_code == 403


def test_pseudonyms_are_on_the_map(store: Store):
    token = store.tokens.create("reader", role="read")
    with client_of(store, token=token, pseudonyms=True) as client:
        tiles = map_from_bytes(client.get(MAP).content)
        assert all(name.startswith("slide-") for name in tiles.slide_names)
        colours = colours_from_bytes(client.get(f"{MAP}/colours", params={"by": "slide"}).content)
        assert [colours.classes[code] for code in colours.values] == tiles.rows["slide_id"].to_pylist()
        patients = colours_from_bytes(client.get(f"{MAP}/colours", params={"by": "patient"}).content)
        assert all(name.startswith("patient-") for name in patients.classes)
        assert client.get(f"{MAP}/colours", params={"by": "cohort"}).status_code == 400


def test_a_removed_slide_is_gone_from_it_at_once(tmp_path: Path):
    store = make_store(tmp_path, {"a": grid(4, 3), "b": grid(3, 2)})
    make_map(store, store.collection("toy"), MapConfig(method="pca"))
    with client_of(store) as client:
        assert map_from_bytes(client.get(MAP).content).slide_names == ("a", "b")
        remove_slides(store, ["b"])
        assert map_from_bytes(client.get(MAP).content).slide_names == ("a",)
        assert len(colours_from_bytes(client.get(f"{MAP}/colours", params={"by": "slide"}).content).values) == 12


def test_a_job_is_checked_before_it_waits_and_makes_the_map(tmp_path: Path):
    store = make_store(tmp_path, {"a": grid(4, 3), "b": grid(3, 2), "c": grid(2, 2)})
    make_map(store, store.collection("toy"), MapConfig(method="pca"))
    with client_of(store) as client:
        _ask_for_a_map(store, client)


def _ask_for_a_map(store: Store, client: TestClient) -> None:
    refused = client.post(MAP, json={"seed": 77})
    assert refused.status_code == 400 and "rebuild" in refused.json()["error"]["message"]
    assert client.post(MAP, json={"method": "umap"}).status_code == 422
    at = Workplace(tables=store, store=Face(store), folder=Path(), on_progress=no_progress)
    result = MakeMap(collection="toy", rebuild=True, method="pca", tiles=9).run(at)
    assert (result["tiles"], result["record"]["config"]["tiles"]) == (9, 9)
    assert result["note"] == "9 of 22 tiles, drawn evenly over the slides"
    places = map_from_bytes(client.get(MAP).content).places
    assert places.shape == (9, 2) and np.isfinite(places).all()


def test_an_administrator_removes_it_and_collections_tell_of_it(tmp_path: Path):
    store = make_store(tmp_path, {"a": grid(4, 3), "b": grid(3, 2), "c": grid(2, 2)})
    make_map(store, store.collection("toy"), MapConfig(method="pca"))
    project = store.tokens.create("of-project", role="admin", project="cohort = 'A'")
    with client_of(store, token=project) as client:
        facts = client.get("/api/collections/toy").json()
        assert (facts["map_tiles"], facts["slides_off_map"]) == (16, 0)
        assert client.delete(MAP).status_code == 403
    with client_of(store, token=store.tokens.create("all", role="admin")) as client:
        assert client.get("/api/collections/toy").json()["map_tiles"] == 22
        assert client.delete(MAP).status_code == 204
        assert client.get(MAP).status_code == 404 and client.delete(MAP).status_code == 404
        assert client.get("/api/collections/toy").json()["map_tiles"] == 0
    with client_of(store, token=store.tokens.create("last", role="admin")) as client:
        actions = [row["action"] for row in client.get("/api/access-log").json()["rows"]]
        assert actions.count("map.remove") == 1
