"""Calls in progress: which worker runs which, and what follows when a call ends or its worker dies."""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from actors.workers import Pool, ResultRef, Worker
from embedstore.errors import ClusterError, RunError, WorkerDiedError

log = logging.getLogger(__name__)

TICK_S = 0.25
#: A worker that is not back after this time, seconds, is given up.
REVIVE_S = 180.0


@dataclass(kw_only=True, eq=False)
class WorkerHandle:
    """A worker as the run sees it.

    Attributes:
        up: False from its death until it answers a ping after its restart.
        calls: Results of its calls in progress, oldest first.
        down_since: When it died.
        ping_at: When to ping it next, while it is down.
    """

    worker: Worker
    up: bool = True
    calls: list[ResultRef] = field(default_factory=list)
    down_since: float = 0.0
    ping_at: float = 0.0

    @property
    def name(self) -> str:
        return self.worker.name


@dataclass(frozen=True, kw_only=True, eq=False)
class _Call:
    """A call in progress, and what follows; see `Dispatch.call`."""

    handle: WorkerHandle
    done: Callable[[Any], None]
    lost: Callable[[bool], None]
    failed: Callable[[Exception], None] | None
    awaited: bool


class Dispatch:
    """Starts calls of workers, waits for them and runs what follows.

    Args:
        handles: The workers; `add` and `remove` change which.
        max_restarts: Number of worker deaths that the run survives.
        on_death: Called with a worker that died, after each of its calls was settled.
        on_loss: Called with a worker that does not come back; returns the workers that the run goes on without, or
            none if it cannot go on.
    """

    def __init__(
        self,
        pool: Pool,
        handles: Iterable[WorkerHandle],
        *,
        max_restarts: int,
        on_death: Callable[[WorkerHandle], None],
        on_loss: Callable[[WorkerHandle], list[WorkerHandle]],
    ) -> None:
        self._pool = pool
        self._handles = list(handles)
        self._max_restarts = max_restarts
        self._on_death = on_death
        self._on_loss = on_loss
        self._calls: dict[ResultRef, _Call] = {}
        self._deaths = 0

    def __bool__(self) -> bool:
        """Whether a call is in progress whose result the run waits for."""
        return any(call.awaited for call in self._calls.values())

    def add(self, handles: Iterable[WorkerHandle]) -> None:
        self._handles += handles

    def remove(self, handles: Iterable[WorkerHandle]) -> None:
        """Go on without workers: their calls in progress are lost, through no fault of theirs."""
        for handle in handles:
            if handle not in self._handles:
                continue
            self._handles.remove(handle)
            handle.up = False
            for ref in list(handle.calls):
                self._forget(ref).lost(False)

    def call(
        self,
        handle: WorkerHandle,
        method: str,
        *args: Any,
        done: Callable[[Any], None] = lambda result: None,
        lost: Callable[[bool], None] = lambda running: None,
        failed: Callable[[Exception], None] | None = None,
        returns: int = 1,
        awaited: bool = True,
    ) -> Any:
        """Start a call of a worker's method.

        Args:
            done: Takes the result.
            lost: Called if the worker dies, with whether it was running this call.
            failed: Takes the error that the call raised; without it, the error ends the run.
            awaited: The run ends only when it has ended, and an error of the cluster in it ends the run.
        Returns:
            A reference to the result, or a list of as many as it `returns`.
        """
        refs = handle.worker.call(method, *args, returns=returns)
        first = refs if returns == 1 else refs[0]
        self._calls[first] = _Call(handle=handle, done=done, lost=lost, failed=failed, awaited=awaited)
        handle.calls.append(first)
        return refs

    def settle(self, *, revive: bool = True) -> None:
        """Wait a moment for calls to end, and run what follows; with `revive`, ping workers that died before."""
        if revive:
            self._revive()
        if not self._calls:
            time.sleep(TICK_S)  # a worker is being restarted
        for ref in self._pool.wait(list(self._calls), TICK_S):
            self._settle(ref)

    def abandon(self, *, but: WorkerHandle) -> None:
        """Ignore the results of all calls, except those of one worker."""
        for ref in list(self._calls):
            if self._calls[ref].handle is not but:
                self._forget(ref)

    def _settle(self, ref: ResultRef) -> None:
        call = self._calls.get(ref)
        if call is None:  # settled together with others of its dead worker
            return
        try:
            result = self._pool.get(ref)
        except WorkerDiedError:
            self._died(call.handle)
            return
        except Exception as error:
            self._forget(ref)
            if call.failed is None or (call.awaited and isinstance(error, ClusterError)):  # no fault of the slide
                raise
            call.failed(error)
            return
        self._forget(ref)
        call.done(result)

    def _forget(self, ref: ResultRef) -> _Call:
        call = self._calls.pop(ref)
        call.handle.calls.remove(ref)
        return call

    def _died(self, handle: WorkerHandle) -> None:
        """Settle every call of a dead worker."""
        handle.ping_at = time.monotonic() + TICK_S
        gone = handle.worker.is_gone()
        if not handle.up:  # not back yet
            self._forget(handle.calls[0])
            if gone and handle in self._handles:
                self._lose(handle, "is gone with its node")
            return
        handle.up, handle.down_since = False, time.monotonic()
        if gone:
            log.warning("worker %s is gone with its node", handle.name)
        else:
            self._deaths += 1
            log.warning("worker %s died (%d of %d)", handle.name, self._deaths, self._max_restarts)
        running = not gone
        for ref in list(handle.calls):
            self._pool.wait([ref], 10.0)
            call = self._forget(ref)
            try:
                result = self._pool.get(ref)
            except Exception:
                call.lost(running)
                running = False  # calls run in order: only the oldest that failed was running
            else:
                call.done(result)
        self._on_death(handle)
        if gone and handle in self._handles:
            self._lose(handle, "is gone with its node")
        if self._deaths > self._max_restarts:
            raise RunError(
                f"workers died {self._deaths} times, the last was {handle.name}; expected at most "
                f"{self._max_restarts}; is memory short?"
            )

    def _revive(self) -> None:
        """Ping workers that died; give up those that are down for too long."""
        for handle in self._handles:
            if handle.up or handle.calls or time.monotonic() < handle.ping_at:
                continue
            if time.monotonic() - handle.down_since > REVIVE_S:
                log.warning("worker %s did not come back within %.0f s", handle.name, REVIVE_S)
                self._lose(handle, f"did not come back within {REVIVE_S:.0f} s")
                return
            self._ping(handle)

    def _lose(self, handle: WorkerHandle, why: str) -> None:
        given_up = self._on_loss(handle)
        if not given_up:
            raise RunError(
                f"worker {handle.name} {why}, and no other worker can do its work; look at the cluster (`ray status`)"
            )
        self.remove(given_up)

    def _ping(self, handle: WorkerHandle) -> None:
        def back(_: None) -> None:
            handle.up = True

        self.call(handle, "ping", done=back, awaited=False)
