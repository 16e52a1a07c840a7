"""An administrator removes slides and patients, and reads who did what."""

import json
from dataclasses import replace

import pytest

from embedstore.service.security.pseudonyms import Pseudonyms
from embedstore.store import Run, Store
from tests.export.prediction_scene import grid, make_store
from tests.service.clients import client_of

SEARCH = {"query": {"vector": [1, 0, 0, 0]}, "k": 10}


@pytest.fixture
def store(tmp_path) -> Store:
    """Slides of the patients P0, P1, P2, in the cohorts A, B, A."""
    return make_store(tmp_path, {"a.svs": grid(2, 1), "b.svs": grid(1, 1), "c.svs": grid(1, 1)})


def test_patient_that_is_removed_is_in_no_answer_and_without_a_name_in_the_log(store: Store):
    with client_of(store) as client:
        assert client.get("/api/slides/a.svs").status_code == 200
        answer = client.post("/api/remove", json={"patients": ["P0"]})
        assert answer.json() == {"slides": ["a.svs"], "tiles": {"toy": 2}}
        assert client.get("/api/slides/a.svs").status_code == 404
        hits = client.post("/api/collections/toy/search", json=SEARCH).json()["hits"]
        assert {hit["slide_id"] for hit in hits} == {"b.svs", "c.svs"}
        assert client.post("/api/remove", json={"patients": ["P0"]}).status_code == 404
        client.get("/api/slides/b.svs")
    with client_of(store) as client:  # what waited was written when the service ended
        rows = client.get("/api/access-log").json()["rows"]
        assert [(row["action"], row["outcome"]) for row in rows if row["action"] != "look"] == [
            ("slides.remove", "allowed"),
        ]  # fmt: skip
        assert "a.svs" not in str(rows) and sum("removed" in str(row["slide_id"]) for row in rows) == 2
        assert [row["action"] for row in client.get("/api/access-log?slide_id=b.svs").json()["rows"]] == ["look"]
        assert client.get("/api/access-log?action=look&caller=nobody").json()["rows"] == []
        assert client.get("/api/access-log?since=2999-01-01").json()["rows"] == []


def test_administrator_of_a_project_removes_what_is_in_it_alone(store: Store):
    token = store.tokens.create("ann", role="admin", project="slide_id <> 'c.svs'")
    store.ledger.refresh([("c.svs", "/nowhere/c.svs", {"patient": "P0"})])
    with client_of(store, token=token) as client:
        for asked, status in (
            ({"slides": ["c.svs"]}, 404),
            ({"patients": ["P0"]}, 403),  # who has a slide of another project, too
            ({"patients": ["P9"]}, 404),
            ({"slides": ["b.svs", "c.svs"]}, 404),
            ({}, 404),
        ):
            assert client.post("/api/remove", json=asked).status_code == status, asked
        assert client.get("/api/access-log").status_code == client.get("/api/runs").status_code == 403
        assert client.get("/api/slides").json()["total"] == 2
        assert client.post("/api/remove", json={"slides": ["a.svs"]}).json()["slides"] == ["a.svs"]
    assert {row.slide_id for row in store.ledger.slides()} == {"b.svs", "c.svs"}


def test_runs_are_shown_with_the_names_that_the_caller_knows(store: Store):
    run = Run(run_id="r1", collections=("toy",), in_hand=("a.svs",), settings={"weights": "/secret/w.pt", "n": 2})
    store.runs.begin(run)
    store.runs.record(replace(run, state="failed", done=3, error="OSError: /secret/a.svs of a.svs is torn"))
    store.runs.left("r1")
    with client_of(store, token=store.tokens.create("boss", role="admin"), pseudonyms=True) as client:
        (row,) = client.get("/api/runs").json()["rows"]
        assert (row["run_id"], row["state"], row["done"], row["in_hand"]) == ("r1", "failed", 3, 1)
        assert "secret" not in str(row) and "a.svs" not in str(row) and "is torn" in row["error"]
        assert json.loads(row["settings"])["n"] == 2
    with client_of(store, token=store.tokens.create("reader", role="read")) as client:
        assert client.get("/api/runs").status_code == 403


@pytest.mark.slow
def test_pseudonyms_hold_for_removal_and_for_the_log(store: Store):
    with client_of(store, insecure=True, pseudonyms=True) as client:
        shown = Pseudonyms(store, store.secrets.get("pseudonyms")).shown
        a, patient = shown("slide", "a.svs"), shown("patient", "P1")
        client.get(f"/api/slides/{a}")
        assert client.post("/api/remove", json={"slides": ["a.svs"]}).status_code == 404
        client.app.state.service.access_log.flush()  # type: ignore[attr-defined]
        rows = client.get("/api/access-log", params={"slide_id": a}).json()["rows"]
        assert [row["slide_id"] for row in rows] == [a]
        assert client.post("/api/remove", json={"patients": [patient]}).json()["slides"] == [shown("slide", "b.svs")]
