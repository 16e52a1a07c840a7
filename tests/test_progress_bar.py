"""What long calls show of their progress."""

import logging
import sys
from types import SimpleNamespace

import pytest

from embedstore.progress import Progress
from embedstore.progress_bar import progress_bar

HALF = Progress(stage="predict", done=50, total=100, unit="tiles", message="12 tiles/s")


def test_the_callers_own_function_gets_everything():
    seen: list[Progress] = []
    with progress_bar(seen.append) as report:
        report(HALF)
    assert seen == [HALF]


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress_bar(None) as report:
        report(Progress(stage="fit", message="3 patients"))
        report(HALF)
        report(Progress(stage="predict", message="a note"))
        report(Progress(stage="write", done=1, total=None, unit="files"))
    text = capsys.readouterr().err
    assert "3 patients\n" in text and "a note\n" in text
    assert "predict:  50%" in text and "50/100" in text and "12 tiles/s" in text and "write: 1 files" in text


def test_log_lines_elsewhere(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    now = [0.0]
    monkeypatch.setattr("embedstore.progress_bar.time", SimpleNamespace(monotonic=lambda: now[0]))
    with caplog.at_level(logging.INFO, "embedstore"), progress_bar(None) as report:
        report(HALF)  # too early for a line
        now[0] = 31
        report(HALF)
        report(HALF)  # too early for another line
        report(Progress(stage="fit", message="a note"))
    told = [record.message for record in caplog.records if record.name == "embedstore.progress_bar"]
    assert told == ["predict: 50/100 tiles, 12 tiles/s", "fit: a note"]
