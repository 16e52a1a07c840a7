"""Structured logs: a JSON object a line on stderr, for programs that watch a command."""

import contextlib
import datetime as dt
import json
import logging
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from embedstore.progress import Progress

#: Pause between two lines about progress, seconds.
PROGRESS_S = 10.0
_LEVELS = {logging.WARNING: "warning", logging.ERROR: "error", logging.CRITICAL: "error"}


class JsonLog(logging.Handler):
    """Writes events; the keys are those of docs/operations.md."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._progress_at = 0.0

    def write(self, event: str, message: str, *, level: str = "info", **values: Any) -> None:
        """Write one event."""
        time_now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        record = {"time": time_now, "level": level, "event": event, "message": message, **values}
        click.echo(json.dumps(record, ensure_ascii=False, default=str), err=True)

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


@contextlib.contextmanager
def json_log() -> Iterator[JsonLog]:
    """Write what is logged meanwhile as JSON, and an error that ends the command too."""
    root, log = logging.getLogger(), JsonLog()
    before = root.level
    root.addHandler(log)
    root.setLevel(logging.WARNING)
    for name in ("embedstore", "actors"):
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        yield log
    except Exception as error:
        from embedstore.access_errors import access_error

        told = access_error(error)
        if told is None:
            raise
        log.write("error", str(told), level="error", kind=type(told).__name__)
        sys.exit(1)
    finally:
        root.removeHandler(log)
        root.setLevel(before)
        for name in ("embedstore", "actors"):
            logging.getLogger(name).setLevel(logging.NOTSET)
