"""The access log: rows are added, found, and lose the names of what is removed."""

import datetime as dt

import pytest

from embedstore.store import AccessRow, Store
from embedstore.store import access_log as module
from embedstore.store.compaction import compact
from embedstore.store.removal import remove_slides
from tests.export.prediction_scene import grid, make_store

AT = dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC)


def rows(store: Store, **conditions: object) -> list[dict]:
    return store.access_log.table(**conditions).drop_columns(["key"]).to_pylist()


def test_rows_are_found_by_slide_caller_action_and_time(store: Store):
    assert rows(store) == []
    store.access_log.append([])
    store.access_log.append([AccessRow(at=AT, caller="ada", action="look", slide_id="it's.svs")])
    later = AT + dt.timedelta(hours=1)
    store.access_log.append([AccessRow(at=later, caller="bob", action="labels.add", detail={"n": 2}, outcome="failed")])
    assert [row["caller"] for row in rows(store)] == ["ada", "bob"]
    assert rows(store, slide_id="it's.svs") == rows(store, caller="ada") == rows(store)[:1]
    assert rows(store, action="labels.add") == rows(store, since=later) == rows(store)[1:]
    assert rows(store, since=AT.astimezone(dt.timezone(dt.timedelta(hours=5)))) == rows(store)
    assert rows(store)[1]["detail"] == '{"n": 2}' and rows(store)[1]["outcome"] == "failed"


def test_purge_deletes_what_is_older_and_nothing_else(store: Store):
    assert store.access_log.purge(AT) == 0
    store.access_log.append(AccessRow(at=AT + dt.timedelta(hours=i), caller=str(i), action="look") for i in range(3))
    assert store.access_log.purge(AT + dt.timedelta(hours=1)) == 1
    assert [row["caller"] for row in rows(store)] == ["1", "2"]


def test_small_files_are_merged_now_and_then(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "TIDY_AFTER", 4)
    for i in range(5):
        store.access_log.append([AccessRow(caller=str(i), action="look")])
    assert len(rows(store)) == 5
    assert len(store.access_log._table.open().get_fragments()) == 2


def test_names_of_what_is_removed_are_taken_out_of_rows_and_files(tmp_path):
    store = make_store(tmp_path, {"case-ämber.svs": grid(1, 1), "b.svs": grid(1, 1)})  # of patients P0 and P1
    detail = {"where": "patient = 'P0' OR slide_id = 'case-ämber.svs' OR patient = 'P01'"}
    store.access_log.append(
        [
            AccessRow(caller="ada", action="look", slide_id="case-ämber.svs"),
            AccessRow(caller="ada", action="slides.remove", slide_id="case-ämber.svs", subject="P0", detail=detail),
            AccessRow(caller="bob", action="look", slide_id="b.svs"),
        ]
    )
    remove_slides(store, ["case-ämber.svs"])
    first, second, third = rows(store)
    stand_in = first["slide_id"]
    assert stand_in.startswith("removed-") and second["slide_id"] == stand_in and third["slide_id"] == "b.svs"
    assert (first["caller"], first["at"]) == ("ada", first["at"])
    assert second["subject"].startswith("removed-") and second["subject"] != stand_in
    assert second["detail"].count(stand_in) == 1 and "'P01'" in second["detail"] and "'P0'" not in second["detail"]
    compact(store, keep_s=0)
    for file in (tmp_path / "store" / "access_log.lance").rglob("*"):
        assert not file.is_file() or "case-ämber".encode() not in file.read_bytes()
