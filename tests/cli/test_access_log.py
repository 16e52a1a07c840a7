"""`embedstore access-log` shows the log and purges old rows."""

import datetime as dt
import json

import pytest
from click.testing import CliRunner

from cli.main import app
from embedstore.store import AccessRow, Store

OLD = dt.datetime(2020, 5, 6, tzinfo=dt.UTC)


@pytest.fixture
def run(tmp_path):
    rows = [
        AccessRow(at=OLD, caller="ada", action="look", slide_id="a.svs"),
        AccessRow(caller="bob", action="heads.fit"),
    ]
    Store.create(tmp_path).access_log.append(rows)
    return lambda *words, **options: CliRunner().invoke(
        app, ["access-log", *words, "--store", str(tmp_path)], **options
    )


@pytest.mark.parametrize(
    ("words", "callers"),
    [
        ([], ["ada", "bob"]),
        (["--slide", "a.svs"], ["ada"]),
        (["--caller", "bob"], ["bob"]),
        (["--action", "look"], ["ada"]),
        (["--since", "1d"], ["bob"]),
        (["--since", "2020-05-06T00:00:00Z"], ["ada", "bob"]),
    ],
)
def test_rows_are_shown_by_slide_caller_action_and_time(run, words: list[str], callers: list[str]):
    assert [row["caller"] for row in json.loads(run(*words, "--json").stdout)] == callers
    shown = run(*words).stdout
    assert all(name in shown for name in callers) and shown.count("\n") == 1 + len(callers)


def test_old_rows_are_purged_and_that_is_written(run):
    assert run("purge", "--before", "2021-01-01", input="n\n").exit_code == 1
    assert "1 rows deleted" in run("purge", "--before", "2021-01-01", "--yes").stderr
    assert [row["action"] for row in json.loads(run("--json").stdout)] == ["heads.fit", "access-log.purge"]


@pytest.mark.parametrize("when", ["soon", "1y", "2020-13-01"])
def test_time_that_is_none_is_wrong_usage(run, when: str):
    asked = run("--since", when)
    assert asked.exit_code == 2 and "such as 2026-01-31" in asked.output


def test_nobody_purges_what_is_yet_to_come(run):
    asked = run("purge", "--before", "2999-01-01", "--yes")
    assert asked.exception is not None and "yet to come" in str(asked.exception)
