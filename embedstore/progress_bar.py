"""Progress of long calls: a bar in terminals and notebooks, a log line every half minute elsewhere."""

import contextlib
import logging
import sys
import time
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from embedstore.progress import OnProgress, Progress

log = logging.getLogger(__name__)

LOG_S = 30.0  # seconds between two log lines
#: What long calls report to that were given no function.
_default: ContextVar[OnProgress | None] = ContextVar("default", default=None)


@contextlib.contextmanager
def progress_bar(on_progress: OnProgress | None) -> Iterator[OnProgress]:
    """The function that a long call reports to: the caller's own, else a bar or log lines.

    Args:
        on_progress: The caller's function; None stands for that of `reporting_to`. Without any, a bar is shown where
            stderr is a terminal or a notebook's, and a log line written every half minute elsewhere.
    """
    on_progress = on_progress or _default.get()
    if on_progress is not None:
        yield on_progress
    elif sys.stderr.isatty() or "ipykernel" in sys.modules:
        with _Bar() as bar:
            yield bar
    else:
        yield _LogLines()


@contextlib.contextmanager
def reporting_to(on_progress: OnProgress) -> Iterator[None]:
    """Let long calls that are given no function report to this one meanwhile."""
    token = _default.set(on_progress)
    try:
        yield
    finally:
        _default.reset(token)


class _Bar:
    """A tqdm bar for each stage; messages without counts are written above it."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._stage = ""

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, progress: Progress) -> None:
        if not progress.unit:
            self._write(progress.message)
            return
        if self._bar is None or self._stage != progress.stage:
            self.__exit__()
            self._stage, self._bar = progress.stage, _new_bar(progress)
        self._bar.total = progress.total
        self._bar.update(progress.done - self._bar.n)
        if progress.message:
            self._bar.set_postfix_str(progress.message)

    def _write(self, message: str) -> None:
        if self._bar is not None:
            self._bar.write(message, file=sys.stderr)
        else:
            sys.stderr.write(f"{message}\n")


def _new_bar(progress: Progress) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without ipywidgets a notebook gets the bar as text, and no warning
        from tqdm.auto import tqdm

        return tqdm(desc=progress.stage, total=progress.total, unit=f" {progress.unit}", dynamic_ncols=True)


class _LogLines:
    def __init__(self) -> None:
        self._last = time.monotonic()  # a call shorter than LOG_S needs no line

    def __call__(self, progress: Progress) -> None:
        if progress.unit and time.monotonic() - self._last < LOG_S:
            return
        self._last = time.monotonic()
        total = "" if progress.total is None else f"/{progress.total:,}"
        counts = f"{progress.done:,}{total} {progress.unit}" if progress.unit else ""
        log.info("%s: %s", progress.stage, ", ".join(filter(None, [counts, progress.message])))
