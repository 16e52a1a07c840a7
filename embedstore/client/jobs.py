"""Jobs of a service, as the long calls that they stand for: followed until they end, with their progress."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2

from embedstore.client.connection import ERRORS, Connection, path
from embedstore.errors import EmbedStoreError, JobEndedError, ServiceNotReachableError
from embedstore.progress import OnProgress, Progress
from embedstore.progress_bar import progress_bar

#: The service says at least every 15 s that it is there; after so long without a word, it is asked again, seconds.
SILENCE_S = 45.0
#: For so long the service is asked again where the connection was lost, at first after the first pause, seconds.
PATIENCE_S, FIRST_PAUSE_S, LONGEST_PAUSE_S = 120.0, 0.2, 5.0


def run_job(connection: Connection, job: dict[str, Any], on_progress: OnProgress | None) -> dict[str, Any]:
    """Follow a job that was accepted until it ends; returns its result.

    Ctrl-C, or an error of `on_progress`, cancels the job. Where the connection is lost, the job goes on, and is
    followed again from its last state that was seen.

    Raises:
        JobEndedError: it was cancelled, or its server ended first.
        ServiceNotReachableError: the service does not come back.
        EmbedStoreError: what the job failed with.
    """
    with progress_bar(on_progress) as report:
        try:
            for state in _states(connection, job):
                if state["progress"] is not None:
                    report(Progress(**state["progress"]))
                job = state
        except ServiceNotReachableError:
            raise
        except BaseException:
            with contextlib.suppress(EmbedStoreError):
                connection.post(path("jobs", job["id"], "cancel"))
            raise
    return _result(job)


def _states(connection: Connection, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A job as it is now, and at each change, until it has ended."""
    last: str | None = None
    lost_at: float | None = None
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            with connection.events(path("jobs", job["id"], "events"), last=last, silence_s=SILENCE_S) as events:
                for event in events:
                    last, lost_at, pause_s = event.id or last, None, FIRST_PAUSE_S
                    state: Any = event.json()
                    yield state
                    if state["state"] not in ("queued", "running"):
                        return
        except httpx2.ReadTimeout:
            continue  # it was silent, not gone
        except httpx2.TransportError as error:
            lost_at = lost_at or time.monotonic()
            if time.monotonic() - lost_at > PATIENCE_S:
                raise ServiceNotReachableError(
                    f"{connection.lost(error)}; job {job['id']} may still run there: GET /api/jobs/{job['id']} tells"
                ) from error
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _result(job: dict[str, Any]) -> dict[str, Any]:
    if job["state"] == "done":
        return job["result"] or {}
    if job["error"] is not None:
        raise ERRORS.get(job["error"]["type"], EmbedStoreError)(job["error"]["message"])
    raise JobEndedError(f"job {job['id']} was {job['state']}: {job['message'] or 'it was not finished'}")


def plain_settings(config: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a call, an object of a configuration class and fields by name, as JSON values."""
    given = {} if config is None else dict(config) if isinstance(config, Mapping) else _changed(config)
    return {name: _plain(value) for name, value in {**given, **settings}.items()}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _changed(value)
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _changed(config: Any) -> dict[str, Any]:
    """The fields of a configuration that differ from their defaults."""
    return {
        each.name: _plain(getattr(config, each.name))
        for each in dataclasses.fields(config)
        if getattr(config, each.name) != _default(each)
    }


def _default(field: Any) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
