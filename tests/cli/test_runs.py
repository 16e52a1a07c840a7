"""`embedstore status --runs` and `--watch`: what others see of an ingest."""

import json
import logging
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from click.testing import CliRunner

from actors.jobs import SlideReason
from actors.summary import IngestSummary
from cli.json_log import json_log, log_json_option
from cli.main import COMMANDS, app
from cli.run_summary import end_with
from embedstore.api.ingest import IngestResult
from embedstore.errors import ExportError, SlideNotFoundError
from embedstore.progress import Progress
from embedstore.progress_bar import progress_bar
from embedstore.slides import SourceSummary
from embedstore.store import Run, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")


def status(store: Store, *options: str) -> str:
    done = CliRunner().invoke(app, ["status", "--store", store.uri, *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_runs_are_listed_with_how_they_ended(store: Store):
    assert "no ingest has run" in status(store, "--runs")
    failed = Run(run_id="r1", collections=("c",), slides=9, done=4, failed=1, error="OSError: disk full")
    store.runs.begin(failed)
    store.runs.record(Run(**vars(failed) | {"state": "failed"}))
    store.runs.left("r1")
    store.runs.begin(Run(run_id="r2", collections=("d",), settings={"limit": 3}))
    store.runs.left("r2")  # as if its process were dead
    table = status(store, "--runs")
    assert "4/9" in table and "OSError: disk full" in table
    rows = {row["run_id"]: row for row in json.loads(status(store, "--runs", "--json"))}
    assert (rows["r1"]["state"], rows["r2"]["state"]) == ("failed", "lost")
    assert rows["r2"]["settings"] == {"limit": 3}
    assert json.loads(status(store, "--runs", "--json", "--collection", "d"))[0]["run_id"] == "r2"


def test_runs_are_watched_until_none_is_left(store: Store, monkeypatch: pytest.MonkeyPatch):
    run = Run(run_id="r1", collections=("c",), slides=2, in_hand=("a", "b"))
    store.runs.begin(run)
    looks = iter([{"done": 1, "in_hand": ("b",)}, {"done": 2, "in_hand": (), "state": "done"}])
    clock = SimpleNamespace(
        monotonic=time.monotonic, sleep=lambda seconds: store.runs.record(Run(**vars(run) | next(looks)))
    )
    monkeypatch.setattr("cli.status.time", clock)  # there alone: threads of other tests may sleep
    seen = [json.loads(line) for line in status(store, "--watch", "--json").splitlines()]
    assert [(row["done"], row["in_hand"], row["state"]) for row in seen] == [
        (0, 2, "running"), (1, 1, "running"), (2, 0, "done"),
    ]  # fmt: skip
    store.runs.left("r1")
    assert status(store, "--watch") == ""


def test_runs_and_slides_are_not_asked_for_at_once(store: Store):
    refused = CliRunner().invoke(app, ["status", "--store", store.uri, "--runs", "--state", "failed"])
    assert refused.exit_code == 2


def test_a_structured_log_is_json_with_stable_keys(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended, json_log() as log:
        for done in range(4):
            log.progress(Progress(stage="ingest", message="5 tiles/s", done=done, total=3, unit="slides"))
        logging.getLogger("actors.scheduler").warning("worker %s died", "reader-0")
        log.write("slide", "no resolution", level="error", slide_id="a", state="failed")
        raise SlideNotFoundError("no slide in 'x'")
    assert ended.value.code == 1
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [event["event"] for event in events] == ["progress", "progress", "log", "slide", "error"]
    assert all(list(event)[:4] == ["time", "level", "event", "message"] for event in events)
    assert [event["done"] for event in events[:2]] == [0, 3]  # the last one is always told
    assert (events[2]["logger"], events[2]["message"]) == ("actors.scheduler", "worker reader-0 died")
    assert events[4]["kind"] == "SlideNotFoundError"
    assert logging.getLogger("actors").level == logging.NOTSET


def test_a_long_command_says_all_of_it_in_json(store: Store, monkeypatch: pytest.MonkeyPatch):
    @log_json_option
    def work(failing: bool) -> None:
        with progress_bar(None) as report:
            report(Progress(stage="map", done=3, total=3, unit="tiles"))
        click.echo("note: few tiles\nnext: look at it", err=True)
        click.echo("result")
        if failing:
            raise SlideNotFoundError("no slide")

    monkeypatch.setitem(COMMANDS, "work", ("tests.cli.test_runs", ""))
    monkeypatch.setattr(
        sys.modules[__name__], "command", click.command()(click.option("--failing", is_flag=True)(work)), raising=False
    )
    done = CliRunner().invoke(app, ["work", "--log-json"])
    assert (done.exit_code, done.stdout) == (0, "result\n")
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(event["event"], event["message"]) for event in events] == [
        ("progress", ""), ("note", "note: few tiles"), ("note", "next: look at it"),
    ]  # fmt: skip
    failed = CliRunner().invoke(app, ["work", "--log-json", "--failing"])
    assert failed.exit_code == 1 and json.loads(failed.stderr.splitlines()[-1])["kind"] == "SlideNotFoundError"
    assert CliRunner().invoke(app, ["work"]).stderr == "note: few tiles\nnext: look at it\n"


def test_what_slides_were_understood_as_is_told_once(store: Store, capsys: pytest.CaptureFixture[str]):
    summary = IngestSummary(run_id="r1", collections=("c",), understood=SourceSummary(slides={"TRIDENT": 2}))
    end_with(IngestResult(summary), store.uri, as_json=False)  # when the run began, it was told as its progress
    assert summary.understood.lines() and "TRIDENT" not in "".join(capsys.readouterr())


def test_the_summary_of_an_ingest_is_also_written_to_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    summary = IngestSummary(run_id="r1", collections=("c",), done=2, failed=[SlideReason("é.svs", "it is torn")])
    monkeypatch.setattr("embedstore.api.ingest.ingest_request", lambda *_, **__: None)
    monkeypatch.setattr("embedstore.api.ingest.run_ingest", lambda *_, **__: IngestResult(summary))
    line = ["ingest", "slides", "--store", str(tmp_path / "store"), "--json", "--summary"]
    ended = CliRunner().invoke(app, [*line, str(tmp_path / "runs" / "1.json")])
    assert ended.exit_code == 3
    assert json.loads((tmp_path / "runs" / "1.json").read_text("utf-8")) == json.loads(ended.stdout)
    monkeypatch.setattr("embedstore.api.ingest.run_ingest", lambda *_, **__: pytest.fail("it has begun to work"))
    (tmp_path / "file").touch()
    assert isinstance(CliRunner().invoke(app, [*line, str(tmp_path / "file" / "1.json")]).exception, ExportError)
