"""`embedstore status --runs` and `--watch`: what others see of an ingest."""

import json
import logging
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.json_log import json_log
from cli.main import app
from embedstore.errors import SlideNotFoundError
from embedstore.progress import Progress
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
    monkeypatch.setattr("cli.status.time.sleep", lambda seconds: store.runs.record(Run(**vars(run) | next(looks))))
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
