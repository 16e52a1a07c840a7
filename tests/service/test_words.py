"""Words over HTTP: what they find, for whom, and that the extractor stays loaded."""

from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

import embedstore
from embedstore.errors import ExtractorError, HeadExistsError, LabelError, QueryError
from embedstore.progress import no_progress
from embedstore.service_config import ServiceConfig
from embedstore.store import Store
from tests.client.served import served
from tests.client.served_by import connect_by
from tests.service.clients import client_of
from tests.two_towers import Colours, colour_store

PATH = "/api/collections/toy/embed-text"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return colour_store(tmp_path_factory.mktemp("words"))[0]


@pytest.fixture(scope="module")
def client(store: Store):
    with client_of(store, settings={"trust_extractor": True}) as client:
        yield client


def test_words_are_a_query(client: TestClient):
    query = client.post(PATH, json={"texts": ["red"]}).json()
    assert query["title"] == 'text "red"'
    asked = {"query": {"vector": query["vector"], "title": query["title"]}, "k": 3}
    found = client.post("/api/collections/toy/search", json=asked).json()
    assert [(hit["slide_id"], hit["x"]) for hit in found["hits"][:2]] == [("a.svs", 0), ("b.svs", 512)]


def test_the_extractor_stays_loaded(client: TestClient, monkeypatch):
    client.post(PATH, json={"texts": ["red"]})
    monkeypatch.setattr(Colours, "__init__", lambda self: pytest.fail("it was loaded again"))
    assert client.post(PATH, json={"texts": ["blue"]}).status_code == 200


@pytest.mark.parametrize(
    ("texts", "status"), [([], 422), (["x" * 2001], 422), (["red"] * 101, 422), ([" "], 400), (["mauve"], 400)]
)
def test_texts_that_are_refused(client: TestClient, texts: list[str], status: int):
    answer = client.post(PATH, json={"texts": texts})
    assert answer.status_code == status, answer.text


def test_a_function_is_not_run_for_words_unless_the_service_trusts_it(store: Store):
    with client_of(store) as client:
        answer = client.post(PATH, json={"texts": ["red"]})
        assert answer.status_code == 400 and "must be run" in answer.json()["error"]["message"]


def test_python_here_and_there_find_the_same(store: Store):
    here = embedstore.open(store.uri).collection()
    with served(store.uri, ServiceConfig(trust_extractor=True)) as socket, connect_by(socket) as remote:
        there = remote.collection()
        assert here.summary().text and there.summary().text
        asked = here.query_by_text(["red", "orange"], trust_extractor=True), there.query_by_text(["red", "orange"])
        np.testing.assert_array_equal(asked[0].vector, asked[1].vector)
        found = [each.search(query, k=3) for each, query in zip((here, there), asked, strict=True)]
        assert list(found[0]["tile_id"]) == list(found[1]["tile_id"])
        for collection in (here, there):
            with pytest.raises(QueryError, match="is empty"):
                collection.query_by_text("")
            with pytest.raises((QueryError, ExtractorError), match="names no colour"):
                collection.query_by_text("mauve", trust_extractor=True)


@pytest.mark.slow  # it starts the worker of jobs
def test_a_head_is_made_of_words_as_a_job(tmp_path: Path):
    store = colour_store(tmp_path)[0]
    here = embedstore.open(store.uri)
    classes = {"warm": ["red", "orange"], "cold": "blue"}
    with served(store.uri, ServiceConfig(trust_extractor=True)) as socket, connect_by(socket) as remote:
        head = remote.zero_shot_head("colour", classes, templates=["a {} tile"], on_progress=no_progress)
        assert (head.name, head.model, head.classes) == ("colour-zero-shot", "zero-shot", ("warm", "cold"))
        assert head.as_record() == here.head("colour-zero-shot").as_record() and not head.metrics
        same = here.zero_shot_head(
            "colour", classes, templates=["a {} tile"], name="here", trust_extractor=True, on_progress=no_progress
        )
        assert same.record.words == head.record.words
        head.predict(on_progress=no_progress)
        assert sorted(here.head(head.name).predictions["label"])[:2] == ["cold", "cold"]
        with pytest.raises(HeadExistsError):
            remote.zero_shot_head("colour", classes, on_progress=no_progress)
        with pytest.raises(LabelError, match="no curves"):
            head.plot()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"task": "c", "settings": {}}, "no classes"),
        ({"task": "c", "settings": {"classes": {"a": "b"}}}, "classes is 1"),
        ({"task": "c", "settings": {"classes": "x"}}, "classes is"),
        ({"task": "c", "settings": {}, "trust_extractor": 1}, ""),
    ],
)
def test_heads_that_are_refused(client: TestClient, body: dict, said: str):
    answer = client.post("/api/heads/zero-shot", json=body)
    assert answer.status_code in (400, 422) and said in answer.json()["error"]["message"]
