"""Slides are removed over HTTP as at the store, and the access log is read."""

import datetime as dt

import pytest

import embedstore
from embedstore import errors
from tests.client.served import served
from tests.client.served_by import connect_by
from tests.export.prediction_scene import grid, make_store


def test_slides_are_removed_and_the_log_tells_of_it(tmp_path):
    tables = make_store(tmp_path, {"a.svs": grid(2, 1), "b.svs": grid(1, 1), "c.svs": grid(1, 1)})
    local = embedstore.open(tables.uri)
    with served(tables.uri) as socket, connect_by(socket) as remote:
        remote.slide("c.svs")
        assert remote.remove(slides="a.svs") == {"toy": 2}
        assert remote.remove(patients=["P1"]) == {"toy": 1}
        with pytest.raises(errors.SlideNotInStoreError, match=r"no slide 'a\.svs'"):
            remote.remove(slides=["a.svs"])
        assert list(local.slides["slide_id"]) == ["c.svs"]
        removals = remote.access_log.table(action="slides.remove")
        assert removals.to_pylist() == local.access_log.table(action="slides.remove").to_pylist()
        assert [row["outcome"] for row in removals] == ["allowed", "allowed"]
        assert len(remote.access_log.table(since=dt.datetime(2999, 1, 1, tzinfo=dt.UTC))) == 0
        with pytest.raises(errors.OnlyAtStoreError, match="delete what they did"):
            remote.access_log.purge(dt.datetime.now(dt.UTC))


def test_a_map_is_removed(tmp_path):
    tables = make_store(tmp_path, {"a.svs": grid(4, 3)})
    local = embedstore.open(tables.uri).collection()
    local.make_map(method="pca")
    with served(tables.uri) as socket, connect_by(socket) as remote:
        assert remote.collection().summary() == local.summary() and local.summary().map_tiles == 12
        remote.collection().remove_map()
        assert local.map_facts is None
        with pytest.raises(errors.MapNotFoundError):
            remote.collection().remove_map()
