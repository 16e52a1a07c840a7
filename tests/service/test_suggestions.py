"""What to label next, over HTTP: the same as at the store, of the slides that the caller sees."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from embedstore import api
from embedstore.store import Store
from tests.heads.active.scene import SLIDES, TILES, make_active_store
from tests.service.clients import client_of

PROJECT = "patient IN ('P00', 'P01')"
SEEN = {"s00.svs", "s01.svs", "s02.svs", "s03.svs"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_active_store(tmp_path_factory.mktemp("suggestions"))


@pytest.fixture(scope="module")
def client(store: Store) -> Iterator[TestClient]:
    with client_of(store, insecure=True) as client:
        yield client


def test_suggestions_are_those_of_the_store(store: Store, client: TestClient):
    answer = client.post("/api/heads/folds/suggest", json={"n": 5, "seed": 3}).json()
    expected = api.Store(store).head("folds").suggest(n=5, seed=3)
    assert [tile["tile_id"] for tile in answer["tiles"]] == [str(tile_id) for tile_id in expected["tile_id"]]
    assert answer["title"] == expected.title and answer["notes"] == list(expected.notes)
    assert answer["collection"] == "toy" and answer["tiles"][0]["probability"] > 0
    first = client.post("/api/collections/toy/suggest", json={"n": 5, "task": "tissue"}).json()
    assert [int(tile["tile_id"]) for tile in first["tiles"]] == (
        api.Store(store).collection().suggest(n=5, task="tissue")["tile_id"]
    )
    assert {tile["probability"] for tile in first["tiles"]} == {None}


def test_mistakes_are_those_of_the_store(store: Store, client: TestClient):
    answer = client.post("/api/heads/folds/mistakes", json={"n": 4, "label": "tumour"}).json()
    expected = api.Store(store).head("folds").mistakes(n=4, label="tumour").to_pylist()
    assert answer["tiles"] == [{**row, "tile_id": str(row["tile_id"])} for row in expected]


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("heads/none/suggest", {}, 404, "no head 'none'"),
        ("heads/folds/suggest", {"n": 0}, 422, "n"),
        ("heads/folds/suggest", {"strategy": "best"}, 422, "strategy"),
        ("heads/folds/suggest", {"label": "tumour"}, 400, "nearest-to-marks"),
        ("heads/folds/suggest", {"where": "colour = 1"}, 400, "colour"),
        ("heads/folds/suggest", {"task": "tissue"}, 422, "task"),
        ("collections/toy/suggest", {"strategy": "uncertainty"}, 400, "name a head"),
        ("collections/none/suggest", {}, 404, "none"),
        ("heads/folds/mistakes", {"label": "stroma"}, 400, "stroma"),
        ("heads/folds/mistakes", {"part": "all"}, 422, "part"),
        ("heads/folds/mistakes", {"n": 100_000}, 422, "n"),
    ],
)
def test_refusals_say_what_is_wrong(client: TestClient, path: str, body: dict, status: int, words: str):
    answer = client.post(f"/api/{path}", json=body)
    assert answer.status_code == status and words in answer.json()["error"]["message"]


def test_a_project_hears_of_its_own_slides_and_labels_alone(store: Store):
    token = store.tokens.create("half", project=PROJECT)
    with client_of(store, token=token) as client:
        unlabelled = len(SEEN) * TILES // 2
        for path, body in (
            ("heads/folds/suggest", {}),
            ("heads/folds/suggest", {"strategy": "nearest-to-marks"}),
            ("collections/toy/suggest", {"task": "tissue", "strategy": "diverse"}),
        ):
            answer = client.post(f"/api/{path}", json={"n": 40, "per_slide": 40, **body}).json()
            assert {tile["slide_id"] for tile in answer["tiles"]} <= SEEN and len(answer["tiles"]) == 40
            if "strategy" not in body:
                assert f"{unlabelled} tiles of {len(SEEN)} slides" in answer["notes"][0]
        answer = client.post("/api/heads/folds/mistakes", json={"n": 1000}).json()
        assert {tile["slide_id"] for tile in answer["tiles"]} == SEEN
        assert f"of {len(SEEN) * TILES // 2} labelled tiles" in answer["notes"][0]
    assert len(SEEN) < SLIDES
