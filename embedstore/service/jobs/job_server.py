"""The process in which jobs run; `worker.py` starts it and talks to it."""

import ctypes
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

from pydantic_core import from_json, to_json

from embedstore.access_errors import access_error
from embedstore.api import Store
from embedstore.errors import EmbedStoreError
from embedstore.progress import OnProgress, Progress
from embedstore.service.jobs.kind import Workplace
from embedstore.service.jobs.kinds import job_kind
from embedstore.store import Store as StoreTables

log = logging.getLogger(__name__)

#: Shortest time between two counts that are sent, seconds.
REPORT_S = 0.1
#: Time until a signal that was lost is sent again, seconds.
AGAIN_S = 0.02
PR_SET_PDEATHSIG = 1  # of linux/prctl.h
#: Searches and slide tiles of the server come first.
NICENESS = 10


def serve(connection_fd: int, uri: str, cluster: str | None) -> None:
    """Run jobs one at a time, until the other side hangs up or a signal ends the one that runs.

    Args:
        connection_fd: Socket of requests, (kind, params, folder), and of answers: ("progress", fields, False), ("done",
            result, whether the process holds memory of a GPU) or ("failed", (type, message), whether …).
        uri: The store.
        cluster: Address of the Ray cluster where jobs run that want a GPU; here when None.
    """
    _end_with_server()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which hangs up
    signal.signal(signal.SIGTERM, _end)
    sys.unraisablehook = _end_after_all
    os.nice(NICENESS)
    connection = Connection(connection_fd)
    requests: queue.SimpleQueue[tuple[str, dict[str, Any], str]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, requests), name="requests", daemon=True).start()
    code = 0
    try:
        tables = StoreTables.open(uri)
        if cluster is None and requests.empty():
            _prepare_to_fit(tables, requests)
        while True:
            state, answer = _answer(tables, cluster, connection, *requests.get())
            connection.send((state, answer, _holds_gpu()))
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


def _end_after_all(dropped: "sys.UnraisableHookArgs") -> None:
    """Send a signal again whose exception Python dropped: it came in a callback of the garbage collector, as JAX's."""
    if not isinstance(dropped.exc_value, SystemExit):
        sys.__unraisablehook__(dropped)
        return
    signal.signal(signal.SIGTERM, _end)
    again = threading.Timer(AGAIN_S, os.kill, (os.getpid(), signal.SIGTERM))
    again.daemon = True
    again.start()


def _end_with_server() -> None:
    """Have Linux kill this process when the thread that started it is gone, with its server.

    Elsewhere, and where the server is gone already, `_receive` ends it, as soon as Python's lock is free.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _receive(connection: Connection, requests: "queue.SimpleQueue[tuple[str, dict[str, Any], str]]") -> None:
    while True:
        try:
            requests.put(connection.recv())
        except (EOFError, OSError):
            os._exit(1)  # the server is gone: end at once, as it would by a kill; the store takes that


def _prepare_to_fit(tables: StoreTables, requests: "queue.SimpleQueue[Any]") -> None:
    """Do what the first fit would wait for: imports, and, unless a job comes meanwhile, the compilation of programs."""
    from heads.devices import jax_devices, prepare_jax

    prepare_jax()
    import heads.fit
    import heads.predict  # noqa: F401
    from heads.warm_up import warm_up

    jax_devices()
    try:
        collections = [tables.collection(name) for name in tables.collection_names()]
        if collections and requests.empty():
            warm_up(max(collections, key=len).dim)
    except Exception:  # a fit that fails for the same reason will say so
        log.info("nothing was compiled ahead of the first fit", exc_info=True)


def _holds_gpu() -> bool:
    """Whether JAX has taken memory of a GPU: it gives none back, and torch may want it in another process."""
    jax = sys.modules.get("jax")
    return jax is not None and jax.default_backend() != "cpu"


def _answer(
    tables: StoreTables, cluster: str | None, connection: Connection, kind: str, params: dict[str, Any], folder: str
) -> tuple[str, Any]:
    sent, stage = 0.0, ""

    def report(progress: Progress) -> None:
        nonlocal sent, stage
        at = time.monotonic()
        is_count = bool(progress.unit) and progress.stage == stage and progress.done != progress.total
        if not is_count or at - sent >= REPORT_S:
            sent, stage = at, progress.stage
            connection.send(("progress", asdict(progress), False))

    try:
        chosen = job_kind(kind, params)
        if cluster is not None and chosen.ON_CLUSTER:
            result = _run_on_cluster(cluster, tables.uri, kind, params, report)
        else:
            at = Workplace(tables=tables, store=Store(tables), folder=Path(folder), on_progress=report)
            result = chosen.run(at)
        return "done", from_json(to_json(result, inf_nan_mode="null"))  # what JSON has no word for is null
    except EmbedStoreError as error:
        return "failed", (type(error).__name__, str(error))
    except Exception as error:
        if told := access_error(error):
            return "failed", (type(told).__name__, str(told))
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
            return "failed", ("MemoryError", "memory ran out; take fewer slides or tiles, or another model")
        log.exception("a job %r failed", kind)
        return "failed", ("InternalError", "the job failed by a fault of the program; the server's log tells more")


def _run_on_cluster(address: str, uri: str, kind: str, params: dict[str, Any], on_progress: OnProgress) -> Any:
    from actors.cluster import cluster
    from actors.replicas import call_with_progress

    with cluster(address):
        return call_with_progress(run_job, uri, kind, params, on_progress=on_progress)


def run_job(uri: str, kind: str, params: dict[str, Any], *, on_progress: OnProgress) -> dict[str, Any]:
    """Run a job that writes no file, on a node that reaches the store by the same URI; returns its result.

    Raises:
        StoreNotFoundError: the node does not reach the store.
    """
    tables = StoreTables.open(uri)
    at = Workplace(tables=tables, store=Store(tables), folder=Path(), on_progress=on_progress)
    return job_kind(kind, params).run(at)
