"""Calls that are under way: who was asked for what, what follows when it ends, and what when its worker dies."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from actors.jobs import Call, Seat
from actors.workers import Pool
from embedstore.errors import RunError, WorkerDiedError

log = logging.getLogger(__name__)

TICK_S = 0.25
#: A worker that does not come back in this time is given up, and the run with it.
REVIVE_S = 180.0


class Dispatch:
    """Makes calls and settles them; tells `on_death` of a worker once everything it was asked for is settled.

    Args:
        seats: Every worker of the run.
        max_restarts: Deaths that the run survives.
        on_loss: Told of a worker that does not come back; names the workers that the run goes on without, none when
            it cannot.
    """

    def __init__(
        self,
        pool: Pool,
        seats: Iterable[Seat],
        *,
        max_restarts: int,
        on_death: Callable[[Seat], None],
        on_loss: Callable[[Seat], list[Seat]],
    ):
        self._pool, self._seats = pool, list(seats)
        self._max_restarts, self._on_death, self._on_loss = max_restarts, on_death, on_loss
        self._calls: dict[Any, Call] = {}
        self._deaths = 0

    def __bool__(self) -> bool:
        """Whether a call is under way."""
        return bool(self._calls)

    def call(
        self,
        seat: Seat,
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
        handles = seat.worker.call(method, *args, returns=returns)
        first = handles if returns == 1 else handles[0]
        self._calls[first] = Call(worker=seat, done=done, lost=lost, failed=failed)
        seat.calls.append(first)
        return handles

    def settle(self, *, wake: bool = True) -> None:
        """Wait a moment for calls to end, and do what follows; `wake` asks dead workers whether they are back."""
        if wake:
            self._wake()
        if not self._calls:
            time.sleep(TICK_S)  # a worker is being started again
        for handle in self._pool.wait(list(self._calls), TICK_S):
            self._settle(handle)

    def abandon(self, *, but: Seat) -> None:
        """Let every call end unheard, but those of one worker."""
        for handle in list(self._calls):
            if self._calls[handle].worker is not but:
                self._forget(handle)

    def _settle(self, handle: Any) -> None:
        call = self._calls.get(handle)
        if call is None:  # settled together with others of its dead worker
            return
        try:
            result = self._pool.get(handle)
        except WorkerDiedError:
            self._died(call.worker)
            return
        except Exception as error:
            self._forget(handle)
            if call.failed is None:
                raise
            call.failed(error)
            return
        self._forget(handle)
        call.done(result)

    def _forget(self, handle: Any) -> Call:
        call = self._calls.pop(handle)
        call.worker.calls.remove(handle)
        return call

    def _died(self, seat: Seat) -> None:
        """Settle everything that a dead worker was asked for."""
        seat.ask_at = time.monotonic() + TICK_S
        if not seat.up:  # not back yet
            self._forget(seat.calls[0])
            return
        seat.up, seat.down_since = False, time.monotonic()
        self._deaths += 1
        log.warning("worker %s died (%d of %d)", seat.name, self._deaths, self._max_restarts)
        guilty = True
        for handle in list(seat.calls):
            self._pool.wait([handle], 10.0)
            call = self._forget(handle)
            try:
                result = self._pool.get(handle)
            except Exception:
                call.lost(guilty)
                guilty = False  # calls are carried out in order: the oldest that failed was in hand
            else:
                call.done(result)
        self._on_death(seat)
        if self._deaths > self._max_restarts:
            raise RunError(
                f"workers died {self._deaths} times, the last was {seat.name}; expected at most "
                f"{self._max_restarts}. Is memory short? Committed slides are safe; run the same command again"
            )

    def _wake(self) -> None:
        """Ask workers that died whether they are back."""
        for seat in self._seats:
            if seat.up or seat.calls or time.monotonic() < seat.ask_at:
                continue
            if time.monotonic() - seat.down_since > REVIVE_S:
                log.warning("worker %s did not come back within %.0f s", seat.name, REVIVE_S)
                given_up = self._on_loss(seat)
                if not given_up:
                    raise RunError(
                        f"worker {seat.name} did not come back within {REVIVE_S:.0f} s, and nobody is left to do its "
                        "work; committed slides are safe; look at the cluster (`ray status`), then run the same "
                        "command again"
                    )
                self._seats = [other for other in self._seats if other not in given_up]
                return
            self.call(seat, "ping", done=seat.back)
