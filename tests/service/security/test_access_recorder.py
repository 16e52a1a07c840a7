"""What a service writes into the access log, when, and what happens where it cannot be written."""

import errno

import pytest

from embedstore import errors
from embedstore.api import Store
from embedstore.service.security import Caller
from embedstore.service.security import access_recorder as module
from embedstore.service.security.access_recorder import AccessRecorder
from embedstore.store import Store as StoreTables
from embedstore.store.removal import remove_slides
from tests.export.prediction_scene import grid, make_store
from tests.service.clients import client_of

ADA = Caller(name="ada", role="admin", by="token", address="10.0.0.1")


@pytest.fixture
def tables(tmp_path) -> StoreTables:
    return make_store(tmp_path, {"a.svs": grid(1, 1), "b.svs": grid(1, 1)})


@pytest.fixture
def store(tables: StoreTables) -> Store:
    return Store(tables)


@pytest.fixture
def recorder(tables: StoreTables) -> AccessRecorder:
    return AccessRecorder(tables)


def log(store: Store) -> list[tuple]:
    return [(row["caller"], row["action"], row["slide_id"], row["outcome"]) for row in store.access_log.table()]


def full_disk(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "/store/access_log.lance")


def test_looks_are_written_in_batches_once_an_hour(store, recorder, monkeypatch):
    for _ in range(3):
        recorder.looked(ADA, "a.svs", "picture")
    recorder.looked(ADA, "b.svs", "picture")
    assert log(store) == []
    recorder.flush()
    assert log(store) == [("ada", "look", "a.svs", "allowed"), ("ada", "look", "b.svs", "allowed")]
    recorder.looked(ADA, "a.svs", "picture")
    recorder.looked(ADA, "a.svs", "labels")
    recorder.flush()
    assert len(log(store)) == 3 and store.access_log.table()["detail"][2] == '{"at": "labels"}'
    recorder._hour -= 1
    recorder.looked(ADA, "a.svs", "picture")
    recorder.close()
    assert len(log(store)) == 4


def test_changes_are_written_before_they_are_made(store, recorder):
    request = recorder.changed(ADA, "labels.add", slides=["a.svs", "b.svs"], detail={"task": "tumour", "labels": 2})
    rows = store.access_log.table().to_pylist()
    assert [(row["slide_id"], row["subject"], row["request"]) for row in rows] == [
        ("a.svs", "tumour", request), ("b.svs", "tumour", request),
    ]  # fmt: skip
    assert rows[0]["detail"] == '{"labels": 2}' and rows[0]["address"] == "10.0.0.1" and rows[0]["by"] == "token"


def test_slide_that_is_removed_before_its_look_is_written_leaves_no_name(tables, store, recorder):
    recorder.looked(ADA, "a.svs", "picture")
    remove_slides(tables, ["a.svs"])
    recorder.flush()
    assert log(store) == [("ada", "look", "removed", "allowed")]


def test_slide_that_is_removed_while_its_look_is_written_leaves_no_name(tables, store, recorder, monkeypatch):
    append = tables.access_log.append

    def slowly(rows: list) -> None:
        remove_slides(tables, ["a.svs"])
        append(rows)

    monkeypatch.setattr(tables.access_log, "append", slowly)
    recorder.looked(ADA, "a.svs", "picture")
    recorder.flush()
    ((_, action, name, _),) = log(store)
    assert action == "look" and name.startswith("removed-")


def test_nothing_is_seen_or_changed_while_the_log_cannot_be_written(store, recorder, monkeypatch):
    recorder.looked(ADA, "a.svs", "picture")
    with monkeypatch.context() as patched:
        patched.setattr("embedstore.store.access_log.lance.write_dataset", full_disk)
        with pytest.raises(errors.AccessError, match="nothing may be seen or changed"):
            recorder.flush()
        with pytest.raises(errors.AccessError, match="access log"):
            recorder.looked(ADA, "b.svs", "picture")
        with pytest.raises(errors.AccessError, match="access log"):
            recorder.changed(ADA, "labels.add")
    recorder.flush()
    recorder.looked(ADA, "b.svs", "picture")
    recorder.flush()
    assert [row[2] for row in log(store)] == ["a.svs", "b.svs"]


def test_looks_that_wait_are_bounded(recorder, monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    recorder.looked(ADA, "a.svs", "1")
    recorder.looked(ADA, "a.svs", "2")
    with pytest.raises(errors.AccessError, match="cannot keep up"):
        recorder.looked(ADA, "a.svs", "3")


def test_service_writes_who_looked_and_who_was_refused(tables, store):
    reader, admin = store.tokens.create("ann", role="read"), store.tokens.create("boss", role="admin")
    with client_of(tables, token=reader) as client:
        assert client.get("/api/slides/a.svs").status_code == 200
        client.get("/api/slides/a.svs")
        assert client.get("/api/slides/none.svs").status_code == 404
        client.get("/api/slides", headers={"Authorization": "Bearer nonsense"})
        client.get("/api/slides", headers={"Authorization": "Bearer other"})
        client.get("/api/slides", headers={"Authorization": f"Bearer {admin}"})
    assert sorted(log(store), key=str) == [
        ("ann", "look", "a.svs", "allowed"), ("unknown", "token", None, "refused"),
    ]  # fmt: skip
    used = {token.name: token.used_at is not None for token in store.tokens.all()}
    assert used == {"ann": True, "boss": True}


def test_looks_may_go_unwritten_and_changes_may_not(tables, store):
    with client_of(tables, insecure=True, access_log=False) as client:
        client.get("/api/slides/a.svs")
        client.app.state.service.access_log.changed(ADA, "labels.add")  # type: ignore[attr-defined]
    assert [row[1] for row in log(store)] == ["labels.add"]


def test_answer_is_503_where_the_log_cannot_be_written(tables, monkeypatch):
    client = client_of(tables, insecure=True)
    service = client.app.state.service  # type: ignore[attr-defined]
    monkeypatch.setattr(service.tables.access_log, "append", full_disk)
    client.get("/api/slides/a.svs")
    with pytest.raises(errors.AccessError):
        service.access_log.flush()
    answer = client.get("/api/slides/b.svs")
    assert answer.status_code == 503 and "access log" in answer.json()["error"]["message"]
    assert client.get("/api/slides").status_code == 200  # a list of slides is no look at one


def test_many_slides_of_a_change_are_counted(tables, store, monkeypatch):
    monkeypatch.setattr(module, "MOST_SLIDES", 2)
    AccessRecorder(tables).changed(ADA, "predict", slides=iter("abc"), detail={"head": "h"})
    (row,) = store.access_log.table()
    assert (row["slide_id"], row["subject"], row["detail"]) == (None, "h", '{"slides": 3}')
