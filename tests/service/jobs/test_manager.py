"""Jobs from the queue to their end, in a worker that fits, predicts and exports."""

import asyncio
import contextlib
import json
import os
import signal
import time
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path

import psutil
import pytest

from embedstore.errors import (
    AccessError,
    ConfigError,
    HeadExistsError,
    JobNotFoundError,
    JobsFullError,
    SplitError,
    TaskNotFoundError,
)
from embedstore.service.jobs import Compact, Export, Fit, JobManager, Predict, job_kind, job_server, manager
from embedstore.service.jobs.events import job_changes
from embedstore.service.jobs.spool import Spool, keep_slides
from embedstore.store import Job, Store
from embedstore.store.removal import remove_slides
from embedstore.store.table import now
from tests.heads.scene import make_store
from tests.service.jobs.conftest import ENDLESS, Jobs
from tests.service.jobs.waiting import ended, until

pytestmark = pytest.mark.slow  # they share a worker, whose start takes seconds


def endless_fit(name: str) -> Fit:
    """A fit that goes on until it is ended."""
    return Fit(tasks=("tissue",), names=(name,), settings=ENDLESS)


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
        ("export", {"format": "png", "head": "cells", "settings": {"picture_px": 10**6}}, ConfigError, "at most 8192"),
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
    running = jobs.manager.submit(endless_fit("never"), caller="ann")
    waiting = jobs.manager.submit(Compact(), caller="ann")
    until(lambda: jobs.manager.get(running.id).progress is not None)
    assert jobs.manager.cancel(waiting.id).message == "it was cancelled before it began; nothing was written"
    jobs.manager.cancel(running.id)
    until(lambda: jobs.manager.get(running.id).is_finished)
    job = jobs.manager.get(running.id)
    assert (job.state, job.message) == ("cancelled", "it was cancelled: nothing was written")
    assert jobs.manager.cancel(running.id) == job  # once more changes nothing
    assert "never" not in jobs.store.heads.names() and jobs.finished(Compact()).state == "done"


def test_worker_that_is_killed_fails_its_job_alone(jobs: Jobs, fitted: Job):
    running = jobs.manager.submit(endless_fit("killed"), caller="ann")
    until(lambda: jobs.manager.get(running.id).progress is not None)
    os.kill(jobs.manager._live[running.id].worker.pid, signal.SIGKILL)
    until(lambda: jobs.manager.get(running.id).is_finished)
    job = jobs.manager.get(running.id)
    assert job.state == "failed" and "memory runs out; nothing was written" in job.message
    assert jobs.finished(Compact()).state == "done"


def test_callers_take_turns_and_the_queue_has_an_end(jobs: Jobs, fitted: Job, monkeypatch):
    monkeypatch.setattr(manager, "MOST_QUEUED_EACH", 3)
    first = jobs.manager.submit(endless_fit("turns"), caller="ann")
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


def _workers() -> list[psutil.Process]:
    """The workers of jobs among the children of this process, which may read slides in others."""
    found = []
    for each in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # it ended meanwhile
            found += [each] * ("job_server" in " ".join(each.cmdline()))
    return found


def test_worker_that_has_grown_is_replaced(jobs: Jobs, fitted: Job, monkeypatch):
    jobs.finished(Compact())
    (before,) = _workers()
    monkeypatch.setattr(manager, "WORKER_BYTES", 1)
    jobs.finished(Compact())
    until(lambda: ended(before) and len(_workers()) == 1)
    assert jobs.finished(Compact()).state == "done"


def test_store_that_cannot_be_written_takes_no_job(jobs: Jobs, monkeypatch):
    def refuse(self: Store) -> None:
        raise AccessError("the store cannot be written")

    before = len(jobs.manager.all())
    monkeypatch.setattr(Store, "require_writable", refuse)
    with pytest.raises(AccessError):
        jobs.manager.submit(Compact(), caller="ann")
    assert len(jobs.manager.all()) == before


def test_numbers_that_json_has_no_word_for_are_null(jobs: Jobs, monkeypatch, tmp_path: Path):
    ours, theirs = Pipe()
    monkeypatch.setattr(Compact, "run", lambda self, at: {"score": float("nan"), "names": ("a",)})
    state, result = job_server._answer(jobs.store, None, theirs, "compact", {}, str(tmp_path))
    assert (state, result) == ("done", {"score": None, "names": ["a"]})
    ours.close()


def test_export_with_a_removed_slide_is_no_longer_handed_out(tmp_path: Path):
    store = make_store(tmp_path, slides=4, tiles=4)
    spool = Spool(tmp_path / "spool", most_bytes=1000, keep_s=1000)
    file = {"name": "toy-tiles.csv", "bytes": 2, "media_type": "text/csv"}
    of_all = Job(id="a", kind="export", caller="ann", state="done", result={"file": file})
    of_one = replace(of_all, id="b", params={"slides": ["s01.svs"]})
    by_name = replace(of_all, id="c", params={"where": "patient = 'P00'"})
    similar = replace(of_all, id="d", params={"where": "patient = 'P001'"})
    store.jobs.record([of_all, of_one, by_name, similar])
    for job in (of_all, of_one):
        folder = spool.make(job.id)
        keep_slides(folder, ["s00.svs", "s01.svs"])
        (folder / "toy-tiles.csv").write_text("a\n")
    assert spool.file(of_all, store).bytes == 2
    remove_slides(store, ["s00.svs", "s01.svs"])  # all of patient P00
    with pytest.raises(JobNotFoundError, match="removed from the store"):
        spool.file(of_all, store)
    with pytest.raises(JobNotFoundError, match="no longer kept"):
        spool.file(of_all, store)
    assert sorted(job.id for job in store.jobs.all()) == ["a", "d"]


def test_job_that_names_a_slide_which_is_removed_meanwhile_is_forgotten(tmp_path: Path):
    store = make_store(tmp_path, slides=4, tiles=4)
    own = JobManager(store, spool=tmp_path / "spool")  # not started: its jobs wait
    named = own.submit(Export(format="csv", slides=("s01.svs",)), caller="ann")
    other = own.submit(Export(format="csv", slides=("s02.svs",)), caller="ann")
    remove_slides(store, ["s01.svs"])
    own.cancel(named.id)
    own.cancel(other.id)
    assert [job.id for job in own.all()] == [other.id]
    own.close()


def test_exports_are_kept_for_a_time_and_up_to_a_size(tmp_path: Path):
    spool = Spool(tmp_path, most_bytes=25, keep_s=1000)
    for age, job_id in enumerate(("new", "old", "older", "running", "ancient")):
        folder = spool.make(job_id)
        (folder / "file").write_text("0123456789")
        made = time.time() - (2000 if job_id == "ancient" else age)
        os.utime(folder, (made, made))
    spool.tidy(running=["running"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old", "running"]


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
