"""The process in which jobs run; `worker.py` starts it and talks to it."""

import logging
import os
import queue
import signal
import sys
import threading
import time
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from embedstore.access_errors import access_error
from embedstore.api import Store
from embedstore.errors import EmbedStoreError
from embedstore.progress import Progress
from embedstore.service.jobs.kinds import Workplace, job_kind
from embedstore.store import Store as StoreTables

log = logging.getLogger(__name__)

#: Shortest time between two counts that are sent, seconds.
REPORT_S = 0.1
#: Searches and slide tiles of the server come first.
NICENESS = 10


def serve(connection_fd: int, uri: str) -> None:
    """Run jobs one at a time, until the other side hangs up or a signal ends the one that runs.

    Args:
        connection_fd: Socket of requests, (kind, params, folder), and of answers: ("progress", fields), ("done",
            result) or ("failed", (type, message)).
        uri: The store.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which hangs up
    signal.signal(signal.SIGTERM, _end)
    os.nice(NICENESS)
    connection = Connection(connection_fd)
    requests: queue.SimpleQueue[tuple[str, dict[str, Any], str]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, requests), name="requests", daemon=True).start()
    code = 0
    try:
        tables = StoreTables.open(uri)
        if requests.empty():
            _import_heads()
        while True:
            connection.send(_answer(tables, connection, *requests.get()))
    except Exception:
        code = 1
        log.exception("the worker of jobs ends")
    finally:
        # Not by the interpreter's way: no thread may be inside Lance when it ends, and the other one waits for ever.
        sys.stderr.flush()
        os._exit(code)


def _end(number: int, frame: FrameType | None) -> None:
    """Unwind, so that leases are released and scratch files removed; a second signal changes nothing."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + number)


def _receive(connection: Connection, requests: "queue.SimpleQueue[tuple[str, dict[str, Any], str]]") -> None:
    while True:
        try:
            requests.put(connection.recv())
        except (EOFError, OSError):
            os._exit(1)  # the server is gone: end at once, as it would by a kill; the store takes that


def _import_heads() -> None:
    """What the first fit would wait for."""
    from heads.devices import jax_devices, prepare_jax

    prepare_jax()
    import heads.fit
    import heads.predict  # noqa: F401

    jax_devices()


def _answer(
    tables: StoreTables, connection: Connection, kind: str, params: dict[str, Any], folder: str
) -> tuple[str, Any]:
    sent, stage = 0.0, ""

    def report(progress: Progress) -> None:
        nonlocal sent, stage
        at = time.monotonic()
        is_count = bool(progress.unit) and progress.stage == stage and progress.done != progress.total
        if not is_count or at - sent >= REPORT_S:
            sent, stage = at, progress.stage
            connection.send(("progress", asdict(progress)))

    try:
        at = Workplace(tables=tables, store=Store(tables), folder=Path(folder), on_progress=report)
        return "done", job_kind(kind, params).run(at)
    except EmbedStoreError as error:
        return "failed", (type(error).__name__, str(error))
    except Exception as error:
        if told := access_error(error):
            return "failed", (type(told).__name__, str(told))
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            return "failed", ("MemoryError", "memory ran out; take fewer slides or tiles, or another model")
        log.exception("a job %r failed", kind)
        return "failed", ("InternalError", "the job failed by a fault of the program; the server's log tells more")
