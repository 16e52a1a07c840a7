"""Calls that are under way: who was asked for what, what follows when it ends, and what when its worker dies."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from actors.jobs import Call, WorkerHandle
from actors.workers import Pool
from embedstore.errors import RunError, WorkerDiedError

log = logging.getLogger(__name__)

TICK_S = 0.25
#: A worker that does not come back in this time is given up, and the run with it.
REVIVE_S = 180.0


class Dispatch:
    """Makes calls and settles them; tells `on_death` of a worker once everything it was asked for is settled.

    Args:
        handles: Every worker of the run.
        max_restarts: Deaths that the run survives.
        on_loss: Told of a worker that does not come back; names the workers that the run goes on without, none when
            it cannot.
    """

    def __init__(
        self,
        pool: Pool,
        handles: Iterable[WorkerHandle],
        *,
        max_restarts: int,
        on_death: Callable[[WorkerHandle], None],
        on_loss: Callable[[WorkerHandle], list[WorkerHandle]],
    ):
        self._pool, self._handles = pool, list(handles)
        self._max_restarts, self._on_death, self._on_loss = max_restarts, on_death, on_loss
        self._calls: dict[Any, Call] = {}
        self._deaths = 0

    def __bool__(self) -> bool:
        """Whether a call is under way."""
        return bool(self._calls)

    def call(
        self,
        handle: WorkerHandle,
        method: str,
        *args: Any,
        done: Callable[[Any], None] = lambda result: None,
        lost: Callable[[bool], None] = lambda guilty: None,
        failed: Callable[[Exception], None] | None = None,
        returns: int = 1,
    ) -> Any:
        """Ask a worker for something.

        Args:
            done: Takes the result.
            lost: Told when the worker died, with whether this was the call that it was carrying out.
            failed: Takes what the call raised; without it the run ends with that.
        Returns:
            The handle of the result, or as many as it `returns`.
        """
        refs = handle.worker.call(method, *args, returns=returns)
        first = refs if returns == 1 else refs[0]
        self._calls[first] = Call(worker=handle, done=done, lost=lost, failed=failed)
        handle.calls.append(first)
        return refs

    def settle(self, *, wake: bool = True) -> None:
        """Wait a moment for calls to end, and do what follows; `wake` asks dead workers whether they are back."""
        if wake:
            self._wake()
        if not self._calls:
            time.sleep(TICK_S)  # a worker is being started again
        for ref in self._pool.wait(list(self._calls), TICK_S):
            self._settle(ref)

    def abandon(self, *, but: WorkerHandle) -> None:
        """Let every call end unheard, but those of one worker."""
        for ref in list(self._calls):
            if self._calls[ref].worker is not but:
                self._forget(ref)

    def _settle(self, ref: Any) -> None:
        call = self._calls.get(ref)
        if call is None:  # settled together with others of its dead worker
            return
        try:
            result = self._pool.get(ref)
        except WorkerDiedError:
            self._died(call.worker)
            return
        except Exception as error:
            self._forget(ref)
            if call.failed is None:
                raise
            call.failed(error)
            return
        self._forget(ref)
        call.done(result)

    def _forget(self, ref: Any) -> Call:
        call = self._calls.pop(ref)
        call.worker.calls.remove(ref)
        return call

    def _died(self, handle: WorkerHandle) -> None:
        """Settle everything that a dead worker was asked for."""
        handle.ask_at = time.monotonic() + TICK_S
        if not handle.up:  # not back yet
            self._forget(handle.calls[0])
            return
        handle.up, handle.down_since = False, time.monotonic()
        self._deaths += 1
        log.warning("worker %s died (%d of %d)", handle.name, self._deaths, self._max_restarts)
        guilty = True
        for ref in list(handle.calls):
            self._pool.wait([ref], 10.0)
            call = self._forget(ref)
            try:
                result = self._pool.get(ref)
            except Exception:
                call.lost(guilty)
                guilty = False  # calls are carried out in order: the oldest that failed was in hand
            else:
                call.done(result)
        self._on_death(handle)
        if self._deaths > self._max_restarts:
            raise RunError(
                f"workers died {self._deaths} times, the last was {handle.name}; expected at most "
                f"{self._max_restarts}. Is memory short? Committed slides are safe; run the same command again"
            )

    def _wake(self) -> None:
        """Ask workers that died whether they are back."""
        for handle in self._handles:
            if handle.up or handle.calls or time.monotonic() < handle.ask_at:
                continue
            if time.monotonic() - handle.down_since > REVIVE_S:
                log.warning("worker %s did not come back within %.0f s", handle.name, REVIVE_S)
                given_up = self._on_loss(handle)
                if not given_up:
                    raise RunError(
                        f"worker {handle.name} did not come back within {REVIVE_S:.0f} s, and nobody is left to do its "
                        "work; committed slides are safe; look at the cluster (`ray status`), then run the same "
                        "command again"
                    )
                self._handles = [other for other in self._handles if other not in given_up]
                return
            self.call(handle, "ping", done=handle.back)
