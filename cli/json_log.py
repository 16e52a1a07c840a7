"""Structured logs: a JSON object a line on stderr, for programs that watch a command."""

import contextlib
import datetime as dt
import functools
import io
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import click

from embedstore.progress import Progress
from embedstore.progress_bar import reporting_to

#: Pause between two lines about progress, seconds.
PROGRESS_S = 10.0
_LEVELS = {logging.WARNING: "warning", logging.ERROR: "error", logging.CRITICAL: "error"}


class JsonLog(logging.Handler):
    """Writes events; the keys are those of docs/operations.md."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._progress_at = 0.0
        self._stream = sys.stderr

    def write(self, event: str, message: str, *, level: str = "info", **values: Any) -> None:
        """Write one event."""
        time_now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        record = {"time": time_now, "level": level, "event": event, "message": message, **values}
        click.echo(json.dumps(record, ensure_ascii=False, default=str), file=self._stream)

    def emit(self, record: logging.LogRecord) -> None:
        self.write("log", record.getMessage(), level=_LEVELS.get(record.levelno, "info"), logger=record.name)

    def progress(self, progress: Progress) -> None:
        """Take the progress of a long call; see `OnProgress`."""
        if progress.unit and progress.done != progress.total and time.monotonic() < self._progress_at:
            return
        if progress.unit:
            self._progress_at = time.monotonic() + PROGRESS_S
        counts: dict[str, Any] = (
            {"done": progress.done, "total": progress.total, "unit": progress.unit} if progress.unit else {}
        )
        self.write("progress", progress.message, stage=progress.stage, **counts)


class _Notes(io.TextIOBase):
    """Stands for stderr: what is written to it, a line at a time, are events of a log."""

    encoding, errors = "utf-8", "strict"

    def __init__(self, log: JsonLog) -> None:
        self._log, self._line = log, ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"expected text, not {type(text).__name__}")
        *lines, self._line = (self._line + text).split("\n")
        for line in filter(str.strip, lines):
            self._log.write("note", line)
        return len(text)


def log_json_option(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option --log-json: while it runs, all that it says on stderr is JSON."""

    @log_json_flag
    @functools.wraps(command)
    def logged(*arguments: Any, log_json: bool, **options: Any) -> None:
        with json_log() if log_json else contextlib.nullcontext():
            command(*arguments, **options)

    return logged


log_json_flag = click.option(
    "--log-json", is_flag=True, help="Write progress, warnings and errors to stderr as JSON, one a line."
)


@contextlib.contextmanager
def json_log() -> Iterator[JsonLog]:
    """Write progress, what is logged and all that is said on stderr meanwhile as JSON, and an error that ends it."""
    root, log = logging.getLogger(), JsonLog()
    before = root.level
    root.addHandler(log)
    root.setLevel(logging.WARNING)
    for name in ("embedstore", "actors"):
        logging.getLogger(name).setLevel(logging.INFO)
    notes = _Notes(log)
    try:
        with reporting_to(log.progress), contextlib.redirect_stderr(notes):
            yield log
    except Exception as error:
        from embedstore.access_errors import access_error

        told = access_error(error)
        if told is None:
            raise
        log.write("error", str(told), level="error", kind=type(told).__name__)
        sys.exit(1)
    finally:
        notes.write("\n")  # what had no end of line
        root.removeHandler(log)
        root.setLevel(before)
        for name in ("embedstore", "actors"):
            logging.getLogger(name).setLevel(logging.NOTSET)
