"""Slides are removed over HTTP as at the store, and the access log is read."""

import datetime as dt

import pyarrow as pa
import pytest

import embedstore
from embedstore import errors
from embedstore.progress import no_progress
from embedstore.store import Run
from tests.client.served import served
from tests.client.served_by import connect_by
from tests.export.prediction_scene import grid, make_store
from tests.service.clients import client_of


@pytest.mark.slow
def test_slides_are_removed_and_the_log_tells_of_it(tmp_path):
    tables = make_store(tmp_path, {"a.svs": grid(2, 1), "b.svs": grid(1, 1), "c.svs": grid(1, 1)})
    local = embedstore.open(tables.uri)
    tables.runs.begin(Run(run_id="r1", collections=("toy",), settings={"limit": 3}, in_hand=("a.svs",)))
    tables.runs.left("r1")
    with served(tables.uri) as socket, connect_by(socket) as remote:
        assert remote.runs.to_pylist() == local.runs.to_pylist()
        assert remote.runs.column_names == local.runs.column_names
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
        with pytest.raises(errors.OnlyAtStoreError, match="run `embedstore ingest` there") as refused:
            remote.ingest("slides")
        assert refused.value.__notes__ == ["In Python, on that machine: store.ingest(slides)"]


@pytest.mark.slow
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


@pytest.mark.slow  # it starts the worker of jobs
def test_slides_are_encoded_by_a_job_and_an_encoding_is_removed(tmp_path):
    tables = make_store(tmp_path, {"a.svs": grid(4, 3), "b.svs": grid(3, 2)})
    local = embedstore.open(tables.uri).collection()
    with served(tables.uri) as socket, connect_by(socket) as remote:
        there = remote.collection()
        assert there.encodings == {}
        done = there.encode_slides(slides="a.svs", on_progress=no_progress)
        assert (done.encoded, done.already, done.failed) == (("a.svs",), 0, {})
        assert done.record == local.encodings["mean"].record
        assert there.encodings == local.encodings and there.encodings["mean"].note == "mean: 1 slides, lacks 1"
        words = there.encode_slides("visual-words", name="kinds", words=2, on_progress=no_progress)
        assert len(words.encoded) == 2 and there.encodings["kinds"].record.details == words.record.details
        with pytest.raises(errors.EncoderMismatchError, match="was made with builtin:mean"):
            there.encode_slides("visual-words", name="mean", words=2, on_progress=no_progress)
        with pytest.raises(errors.OnlyAtStoreError, match="no function is run"):
            there.encode_slides("titan.py:titan")
        there.remove_encoding("mean")
        assert list(local.encodings) == ["kinds"]


def test_a_project_is_told_of_its_own_slides_and_changes_no_encoding(tmp_path):
    tables = make_store(tmp_path, {"a": grid(2, 2), "b": grid(2, 2), "c": grid(2, 2)})
    for encoder, settings in (("mean", {}), ("visual-words", {"words": 2})):
        embedstore.open(tables.uri).collection().encode_slides(
            encoder, slides=["b", "c"], on_progress=no_progress, **settings
        )
    token = tables.tokens.create("of-project", role="admin", project="slide_id <> 'c'")
    with client_of(tables, token=token) as client:
        at = "/api/collections/toy/encodings"
        facts = client.get(at).json()
        assert (facts["mean"]["slides"], facts["mean"]["lacking"]) == (1, 1)
        vectors = pa.ipc.open_stream(client.get(f"{at}/mean/vectors").content).read_all()
        assert vectors["slide_id"].to_pylist() == ["b"] and vectors.column_names == ["slide_id", "vector"]
        sample = facts["visual-words"]["record"]["details"]["codebook_of"]
        assert sample == {"collection": "toy", "slides": 0, "tiles": 0}
        assert client.post(at, json={}).status_code == 403
        assert client.delete(f"{at}/mean").status_code == 403
    with client_of(tables, token=tables.tokens.create("all", role="admin")) as client:
        assert client.post(at, json={"encoder": "os.py:system"}).status_code == 422
        page = pa.ipc.open_stream(client.get(f"{at}/mean/vectors", params={"offset": 1, "limit": 1}).content).read_all()
        assert page["slide_id"].to_pylist() == ["c"] and page.schema.metadata[b"total"] == b"2"
        assert client.get(f"{at}/none/vectors").status_code == 404
