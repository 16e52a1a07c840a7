"""Jobs from the queue to their end, in a worker that fits, predicts and exports."""

import asyncio
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from embedstore.errors import (
    ConfigError,
    HeadExistsError,
    JobNotFoundError,
    JobsFullError,
    SplitError,
    TaskNotFoundError,
)
from embedstore.service.jobs import Compact, Export, Fit, JobManager, Predict, job_kind, manager
from embedstore.service.jobs.events import job_changes
from embedstore.store import Job, Store
from embedstore.store.removal import remove_slides
from embedstore.store.table import now
from tests.heads.scene import make_store
from tests.service.jobs.conftest import Jobs
from tests.service.jobs.waiting import until


def slow_fit(name: str) -> Fit:
    """A fit that takes minutes, unless it is ended."""
    return Fit(tasks=("tissue",), names=(name,), settings={"model": "mlp", "bootstrap": 200_000})


def test_fit_saves_a_head_and_tells_its_metrics(jobs: Jobs, fitted: Job):
    assert fitted.state == "done", fitted.message
    assert jobs.store.heads.get("cells").digest == fitted.result["heads"][0]["digest"]
    assert 0.5 < fitted.result["heads"][0]["metrics"]["auroc"]["value"] <= 1
    assert fitted.started_at <= fitted.ended_at and fitted.progress.stage == "fit"
    assert Store(jobs.store.uri).jobs.get(fitted.id) == fitted  # the row says the same


def test_predictions_are_stored_and_exported_to_a_file(jobs: Jobs, predicted: Job):
    assert predicted.state == "done", predicted.message
    assert predicted.result["rows"] == 480 and len(jobs.store.predictions("cells")) == 480
    export = jobs.finished(Export(format="csv", head="cells", where="site = 'A'"))
    assert export.state == "done", export.message
    file = jobs.manager.file(export)
    assert file.name == "cells-tiles.csv" and file.media_type.startswith("text/csv")
    assert file.path.read_text().count("\n") == 1 + 4 * 40
    assert str(jobs.spool) not in json.dumps(export.row(), default=str)  # no path of the server in any answer


def test_file_for_each_slide_comes_as_a_zip(jobs: Jobs, predicted: Job):
    import zipfile

    export = jobs.finished(Export(format="geojson", head="cells", slides=("s00.svs", "s01.svs")))
    with zipfile.ZipFile(jobs.manager.file(export).path) as archive:
        assert archive.namelist() == ["s00.svs.geojson", "s01.svs.geojson"]


@pytest.mark.parametrize(
    ("kind", "params", "error", "message"),
    [
        ("fit", {"tasks": ["tumor"]}, TaskNotFoundError, "tumor"),
        ("fit", {"tasks": ["tissue"], "settings": {"modle": "mlp"}}, ConfigError, "did you mean model"),
        ("fit", {"tasks": ["tissue"], "settings": {"split": {"kind": "file", "file": "/x"}}}, ConfigError, "a service"),
        ("fit", {"tasks": ["tissue"], "settings": {"split": {"folds": 40}}}, SplitError, "folds"),
        ("fit", {"tasks": ["tissue"], "where": "nowhere = 1"}, ConfigError, "nowhere"),
        ("fit", {"tasks": ["tissue"], "names": ["cells"]}, HeadExistsError, "cells"),
        ("fit", {}, ConfigError, "needs tasks"),
        ("fit", {"tasks": ["tissue"], "task": "x"}, ConfigError, "no setting 'task'"),
        ("fits", {}, ConfigError, "did you mean fit"),
        ("predict", {"head": "cells", "where": "1 ="}, ConfigError, "1 ="),
        ("export", {"format": "csv", "settings": {"path": "/etc/x"}}, ConfigError, "path"),
        ("select-extractor", {"task": "tissue", "candidates": ["os:system"]}, ConfigError, "catalogue"),
    ],
)
def test_what_cannot_be_run_is_refused_before_it_waits(jobs: Jobs, predicted: Job, kind, params, error, message):
    before = len(jobs.manager.all())
    with pytest.raises(error, match=message):
        jobs.manager.submit(job_kind(kind, params), caller="ann")
    assert len(jobs.manager.all()) == before


def test_job_that_fails_says_why_and_the_next_one_runs(jobs: Jobs, predicted: Job, monkeypatch):
    monkeypatch.setattr(Predict, "check", lambda self, tables: None)
    failed = jobs.finished(Predict(head="cells", slides=("nowhere.svs",)))
    assert failed.state == "failed" and failed.error == "SlideNotInStoreError" and "nowhere.svs" in failed.message
    assert jobs.finished(Compact()).state == "done"


def test_cancelling_ends_what_runs_and_takes_out_what_waits(jobs: Jobs, fitted: Job):
    running = jobs.manager.submit(slow_fit("never"), caller="ann")
    waiting = jobs.manager.submit(Compact(), caller="ann")
    until(lambda: jobs.manager.get(running.id).progress is not None)
    assert jobs.manager.cancel(waiting.id).message == "it was cancelled before it began; nothing was written"
    jobs.manager.cancel(running.id)
    until(lambda: jobs.manager.get(running.id).is_finished)
    ended = jobs.manager.get(running.id)
    assert (ended.state, ended.message) == ("cancelled", "it was cancelled: nothing was written")
    assert jobs.manager.cancel(running.id) == ended  # once more changes nothing
    assert "never" not in jobs.store.heads.names() and jobs.finished(Compact()).state == "done"


@pytest.mark.slow
def test_worker_that_is_killed_fails_its_job_alone(jobs: Jobs, fitted: Job):
    running = jobs.manager.submit(slow_fit("killed"), caller="ann")
    until(lambda: jobs.manager.get(running.id).progress is not None)
    os.kill(jobs.manager._live[running.id].worker.pid, signal.SIGKILL)
    until(lambda: jobs.manager.get(running.id).is_finished)
    ended = jobs.manager.get(running.id)
    assert ended.state == "failed" and "memory runs out; nothing was written" in ended.message
    assert jobs.finished(Compact()).state == "done"


@pytest.mark.slow
def test_callers_take_turns_and_the_queue_has_an_end(jobs: Jobs, fitted: Job, monkeypatch):
    monkeypatch.setattr(manager, "MOST_QUEUED_EACH", 3)
    first = jobs.manager.submit(slow_fit("turns"), caller="ann")
    until(lambda: jobs.manager.get(first.id).state == "running")
    waiting = [jobs.manager.submit(Compact(), caller=caller) for caller in ("ann", "ann", "ann", "bob")]
    with pytest.raises(JobsFullError, match="3 of your jobs wait"):
        jobs.manager.submit(Compact(), caller="ann")
    jobs.manager.cancel(first.id)
    until(lambda: all(jobs.manager.get(job.id).is_finished for job in waiting))
    began = sorted((jobs.manager.get(job.id) for job in waiting), key=lambda job: job.started_at)
    assert [job.caller for job in began] == ["ann", "bob", "ann", "ann"]


def test_changes_come_as_they_happen_and_not_twice(jobs: Jobs, fitted: Job):
    async def listen(last: str | None) -> list[tuple[str, Job]]:
        return [change async for change in job_changes(jobs.manager, job.id, last=last)]

    job = jobs.manager.submit(Predict(head="cells"), caller="ann")
    seen = asyncio.run(listen(None))
    assert seen[-1][1].state == "done" and [change[1].state for change in seen].count("done") == 1
    assert len({mark for mark, _ in seen}) == len(seen)
    again = asyncio.run(listen(None))
    assert [change[1].state for change in again] == ["done"] and asyncio.run(listen(again[0][0])) == []


def test_export_with_a_removed_slide_is_no_longer_handed_out(tmp_path: Path, jobs: Jobs):
    store = make_store(tmp_path, slides=4, tiles=4)
    own = JobManager(store, spool=tmp_path / "spool")
    own.start()
    try:
        alone = replace(jobs, manager=own, store=store)
        done = alone.finished(Export(format="parquet"))
        named = alone.finished(Export(format="parquet", slides=("s01.svs",)))
        assert own.file(done).bytes > 0
        remove_slides(store, ["s01.svs"])
        with pytest.raises(JobNotFoundError, match="removed from the store"):
            own.file(done)
        with pytest.raises(JobNotFoundError, match="no job"):
            own.get(named.id)
        assert [job.id for job in own.all()] == [done.id]
        assert not list((tmp_path / "spool" / done.id).glob("*"))
    finally:
        own.close()


def test_jobs_of_a_server_that_is_gone_are_interrupted(tmp_path: Path):
    store = make_store(tmp_path, slides=4, tiles=4)
    store.jobs.record(
        [
            Job(id="a", kind="fit", caller="ann", params={"tasks": ["tissue"]}, server="jobs-gone"),
            Job(id="b", kind="nothing", caller="ann", server="jobs-gone", state="running", started_at=now()),
        ]
    )
    own = JobManager(store, spool=tmp_path / "spool")
    own.start()
    try:
        assert {job.id: job.state for job in own.all()} == {"a": "interrupted", "b": "interrupted"}
        assert own.get("a").message == "the server ended before it began; nothing was written"
        assert "no kind of job" in own.get("b").message
    finally:
        own.close()
