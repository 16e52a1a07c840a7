"""Heads, predictions, exports and jobs over HTTP."""

import io
import json
import zipfile

import numpy as np
import pyarrow as pa
import pytest

from embedstore.export import PredictionRaster
from embedstore.service.answers import ARROW
from embedstore.store import Job
from tests.service.jobs.conftest import ENDLESS, QUICK, Jobs
from tests.service.jobs.waiting import until

pytestmark = pytest.mark.slow  # they share a worker, whose start takes seconds


def run(jobs: Jobs, path: str, body: dict) -> dict:
    """Start a job and follow it to its end."""
    started = jobs.client.post(path, json=body)
    assert started.status_code == 202, started.text
    assert started.json()["state"] == "queued" and started.json()["params"].items() >= body.items()
    events = jobs.client.get(f"{started.headers['location']}/events")
    assert events.headers["content-type"].startswith("text/event-stream")
    last = json.loads(
        [line for line in events.text.splitlines() if line.startswith("data: ")][-1].removeprefix("data: ")
    )
    assert last == jobs.client.get(started.headers["location"]).json()
    return last


def test_a_head_is_fitted_shown_and_removed(jobs: Jobs):
    job = run(jobs, "/api/heads", {"tasks": ["grade"], "names": ["short"], "settings": {"model": "mean", **QUICK}})
    assert job["state"] == "done", job
    listed = {head["name"]: head for head in jobs.client.get("/api/heads").json()}
    assert listed["short"]["level"] == "slide" and listed["short"]["classes"] == ["high", "low"]
    assert job["result"]["heads"][0]["metrics"]["auroc"] == listed["short"]["metrics"]["auroc"]
    card = jobs.client.get("/api/heads/short").json()
    assert card["digest"] == listed["short"]["digest"] and card["config"]["model"] == "mean"
    assert jobs.client.delete("/api/heads/short").status_code == 204
    gone = jobs.client.get("/api/heads/short")
    assert gone.status_code == 404 and gone.json()["error"]["type"] == "HeadNotFoundError"


def test_one_job_fits_and_predicts_the_slide_that_is_looked_at_first(jobs: Jobs):
    body = {"tasks": ["tissue"], "names": ["looped"], "replace": True, "predict": True, "slides": ["s03.svs"]}
    started = jobs.client.post("/api/heads", json=body | {"settings": QUICK}).headers["location"]
    events = jobs.client.get(f"{started}/events").text
    assert '"state":"done"' in events and '"stage":"predict"' in events
    path = "/api/heads/looped/predictions"
    assert set(jobs.client.get(f"{path}/slides").json().values()) == {40}
    first = jobs.client.get(f"{path}/s03.svs/raster")
    label = {"label": "normal", "slide_id": "s03.svs", "x": 0, "y": 0, "edge_l0": 512}
    other = {**label, "label": "tumour", "x": 512}
    assert jobs.client.post("/api/labels/tissue/add", json={"labels": [label, other]}).status_code == 200
    assert run(jobs, "/api/heads", body | {"settings": QUICK})["state"] == "done"
    again = jobs.client.get(f"{path}/s03.svs/raster")
    assert again.status_code == 200 and again.headers["etag"] != first.headers["etag"]
    assert jobs.client.post("/api/labels/tissue/undo", json={}).status_code == 200


def test_slides_to_show_first_go_with_predict(jobs: Jobs):
    refused = jobs.client.post("/api/heads", json={"tasks": ["tissue"], "names": ["x"], "slides": ["s03.svs"]})
    assert refused.status_code == 400 and "predict" in refused.json()["error"]["message"]


def test_curves_and_split_of_a_head(jobs: Jobs, fitted: Job):
    assert jobs.client.get("/api/heads/cells/curves.png").content.startswith(b"\x89PNG")
    curves = jobs.client.get("/api/heads/cells/curves").json()
    assert curves["classes"] == ["normal", "tumour"] and curves["roc"]["tumour"]
    split = jobs.client.get("/api/heads/cells/split.csv")
    assert split.headers["content-disposition"] == 'attachment; filename="cells-split.csv"'
    assert split.text.startswith("fold,split,group,slide_id") and split.text.count("\n") == 1 + 3 * 480


def test_predictions_are_paged_and_come_as_arrow(jobs: Jobs, predicted: Job):
    path = "/api/heads/cells/predictions"
    assert jobs.client.get(f"{path}/slides").json()["s03.svs"] == 40
    page = jobs.client.get(path, params={"offset": 38, "limit": 4}).json()
    assert page["total"] == 480 and [row["slide_id"] for row in page["rows"]] == ["s00.svs"] * 2 + ["s01.svs"] * 2
    assert isinstance(page["rows"][0]["tile_id"], str) and "p_tumour" in page["rows"][0]
    found = jobs.client.get(path, params={"slide_id": "s03.svs"}, headers={"Accept": ARROW})
    rows = pa.ipc.open_stream(found.content).read_all()
    assert rows.equals(
        jobs.store.predictions("cells").table(slides=["s03.svs"]).replace_schema_metadata(rows.schema.metadata)
    )


def test_raster_has_the_value_of_every_tile_and_is_made_once(jobs: Jobs, predicted: Job):
    path = "/api/heads/cells/predictions/s03.svs/raster"
    answer = jobs.client.get(path, params={"type": "float16"})
    raster = PredictionRaster.from_bytes(answer.content)
    rows = jobs.store.predictions("cells").table(slides=["s03.svs"]).to_pylist()
    for row in rows:
        value = raster.values[raster.planes.index("tumour"), row["y"] // raster.step_l0, row["x"] // raster.step_l0]
        assert value == pytest.approx(row["p_tumour"], abs=0.001)
    again = jobs.client.get(path, params={"type": "float16"}, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304 and not again.content
    as_bytes = PredictionRaster.from_bytes(jobs.client.get(path).content)
    assert np.nanmax(np.abs(as_bytes.values - raster.values)) < 0.003


@pytest.mark.parametrize(
    ("format", "kind", "begins"),
    [
        ("geojson", "application/geo+json", b"{"),
        ("csv", "text/csv", b'"tile_id"'),
        ("parquet", "application/vnd", b"PAR1"),
    ],
)
def test_predictions_of_a_slide_as_a_file(jobs: Jobs, predicted: Job, format, kind, begins):
    answer = jobs.client.get("/api/heads/cells/predictions/s03.svs/export", params={"format": format})
    assert answer.headers["content-type"].startswith(kind) and answer.content.startswith(begins)
    assert answer.headers["content-disposition"].startswith('attachment; filename="cells-')


def test_an_export_is_written_and_downloaded(jobs: Jobs, predicted: Job):
    job = run(jobs, "/api/exports", {"format": "geojson", "head": "cells", "where": "site = 'A'"})
    assert job["result"]["slides"] == 4 and job["result"]["file"]["name"] == "cells-geojson.zip"
    answer = jobs.client.get(f"/api/jobs/{job['id']}/file")
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == 'attachment; filename="cells-geojson.zip"'
    assert len(zipfile.ZipFile(io.BytesIO(answer.content)).namelist()) == 4


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("post", "/api/heads", {"tasks": ["tumor"]}, 404, "TaskNotFoundError"),
        ("post", "/api/heads", {"tasks": ["tissue"], "names": ["cells"]}, 409, "HeadExistsError"),
        ("post", "/api/heads", {"tasks": ["tissue"], "settings": {"folds": 3}}, 400, "ConfigError"),
        ("post", "/api/heads", {"tasks": ["tissue"], "settings": {"classes": ["tumour"]}}, 400, "LabelError"),
        ("post", "/api/heads", {"task": "tissue"}, 422, "ValidationError"),
        ("post", "/api/heads/none/predict", {}, 404, "HeadNotFoundError"),
        ("post", "/api/heads/cells/predict", {"slides": ["s99.svs"]}, 404, "SlideNotInStoreError"),
        ("post", "/api/exports", {"format": "anndata", "head": "none"}, 404, "HeadNotFoundError"),
        ("post", "/api/exports", {"format": "csv", "settings": {"path": "/etc/passwd"}}, 400, "ConfigError"),
        ("post", "/api/collections/none/index", {}, 404, "CollectionNotFoundError"),
        ("get", "/api/jobs/0123", None, 404, "JobNotFoundError"),
        ("get", "/api/jobs/0123/events", None, 404, "JobNotFoundError"),
        ("get", "/api/jobs/0123/file", None, 404, "JobNotFoundError"),
        ("post", "/api/jobs/0123/cancel", None, 404, "JobNotFoundError"),
        ("get", "/api/heads/cells/predictions/s99.svs/raster", None, 404, "SlideNotInStoreError"),
        ("get", "/api/heads/none/predictions", None, 404, "HeadNotFoundError"),
        ("get", "/api/augmenters/none", None, 404, "AugmenterNotFoundError"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_shape(jobs: Jobs, predicted: Job, method, path, body, status, error):
    before = len(jobs.manager.all())
    answer = jobs.client.request(method, path, json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, error), answer.text
    assert str(jobs.spool.parent) not in answer.text and len(jobs.manager.all()) == before


def test_jobs_are_listed_and_cancelled(jobs: Jobs, fitted: Job):
    endless = {"tasks": ["tissue"], "names": ["slow"], "settings": ENDLESS}
    first = jobs.client.post("/api/heads", json=endless).json()
    second = jobs.client.post("/api/compact", json={}).json()
    waiting = jobs.client.get("/api/jobs", params={"state": "queued"}).json()
    assert 'embedstore_jobs{state="queued"}' in jobs.client.get("/metrics").text
    assert second["id"] in [job["id"] for job in waiting]
    assert jobs.client.post(f"/api/jobs/{second['id']}/cancel").json()["state"] == "cancelled"
    until(lambda: jobs.manager.get(first["id"]).state == "running")
    jobs.client.post(f"/api/jobs/{first['id']}/cancel")
    until(lambda: jobs.manager.get(first["id"]).is_finished)
    ended = jobs.client.get(f"/api/jobs/{first['id']}").json()
    assert (ended["state"], ended["message"]) == ("cancelled", "it was cancelled: nothing was written")
    kinds = [job["kind"] for job in jobs.client.get("/api/jobs", params={"kind": "compact"}).json()]
    assert set(kinds) == {"compact"}
    missing = jobs.client.get(f"/api/jobs/{first['id']}/file")
    assert missing.status_code == 404 and "it is cancelled" in missing.json()["error"]["message"]
