"""A lease on a table, so that two processes never commit to it at once.

Lance's Append refuses neither fragments that are already committed nor a stale read version, so only one process may
commit. A lease is a row with a primary key. Taking it is a conditional update: of several processes that try at once,
one succeeds. Whoever has waited for long adds a row to a queue, and all others leave it to those in front of them.
"""

import atexit
import contextlib
import datetime as dt
import logging
import math
import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence

from embedstore.access_errors import access_error
from embedstore.errors import LeaseLostError, StoreBusyError
from embedstore.store.lease_rows import (
    PATIENCE_S,
    LeaseRow,
    Turn,
    held_here,
    lease_row,
    put_row,
    read_rows,
    waiting_row,
)
from embedstore.store.liveness import EXPIRY_S, RENEWAL_S, Observer
from embedstore.store.schema import LEASES
from embedstore.store.sql import sql_in, sql_string
from embedstore.store.table import Table

log = logging.getLogger(__name__)

#: How long a renewal that has begun may still take when the lease is released, seconds.
LAST_RENEWAL_S = 20.0
#: How long whoever wants a lease waits for one that lives, seconds: runs hold it for a commit at a time.
TURN_S = 20.0
#: Pauses between two looks at a lease that another process holds, seconds.
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.5
#: Who has waited so long, seconds, has a place in the queue. Before, whoever comes first takes it: a process that takes
#: it several times in a row need not read what others wrote, and 4 that commit without pause do so twice as often.
QUEUE_AFTER_S = 1.0
#: A lease that is waited for is spoken of after this time, seconds, and then again.
SPEAK_S = 15.0
#: Takes and releases of leases between two clean-ups of their table.
TIDY_EVERY = 64


class Lease:
    """The right to commit to one table. A thread renews it until it is released.

    Args:
        store_uri: The store.
        name: The table.
        wait_s: How long to wait, seconds, for an owner that lives; TURN_S when None. Whoever waits without end tells of
            it. One that may be dead, as its beat is old, is waited for until that is sure.
        give_up: Called while it waits; once it returns True, it waits no more.
    Raises:
        StoreBusyError: another owner holds the lease and is alive.
    """

    def __init__(
        self,
        store_uri: str,
        name: str,
        *,
        wait_s: float | None = None,
        give_up: Callable[[], bool] = lambda: False,
    ):
        self._table = Table(store_uri, "leases")
        self._table.create(LEASES)
        self._lock = threading.Lock()  # an open Lance dataset may be used by one thread at a time
        self.name = name
        self.owner = uuid.uuid4().hex
        self._give_up = give_up
        self._waited = False  # whether there is a row of one who waits
        self._gone: list[str] = []  # names of rows of others who wait no more
        self._stop = threading.Event()
        held_here.add(self.owner)
        try:
            self._take(TURN_S if wait_s is None else wait_s)
        except BaseException:
            held_here.discard(self.owner)
            if self._waited:
                with contextlib.suppress(OSError, RuntimeError, ValueError):  # Lance's; others pass it over
                    self._remove_rows()
            raise
        self._renewal = threading.Thread(target=self._renew, name=f"lease-{name}", daemon=True)
        self._renewal.start()
        # At the interpreter's exit, Python ends a thread that returns from Lance by unwinding its stack, and Rust then
        # calls abort(): a process that exits without releasing its lease would end with SIGABRT after its work.
        atexit.register(self._stop_renewal)

    def _look(self) -> tuple[LeaseRow | None, list[LeaseRow]]:
        with self._lock:
            return read_rows(self._table, self.name)

    def _take(self, wait_s: float) -> None:
        began, observer, turn = time.monotonic(), Observer(), Turn(self.owner)
        seen_at = math.nan  # when those who may be dead were first seen, after a look that may have taken long
        speak_at = began + (SPEAK_S if wait_s < math.inf else math.inf)
        last, pause_s = "", SHORTEST_PAUSE_S
        while True:
            asked_at = time.monotonic()
            holder, queue = self._look()
            seen_at = time.monotonic() if math.isnan(seen_at) else seen_at
            ahead = turn.ahead(queue)
            free = holder is None or self._is_dead(holder, observer, asked_at)
            if turn.has_come(ahead, free=free, asked_at=asked_at):
                self._write(replaces=holder.owner if holder else None)
                if self.mine():
                    self._gone = [row.name for row in queue if row in ahead[:1] or row.lives() is False]
                    return
                continue
            busy = ahead[0] if holder is None or free else holder
            unsure = not free and observer.may_be_dead(busy.owner, busy.beat)
            least_s = seen_at - began + EXPIRY_S + 1 if unsure else PATIENCE_S + 1 if free else 0.0
            if self._give_up() or asked_at >= began + max(wait_s, least_s):
                raise StoreBusyError(
                    f"table {self.name!r} is being written by {busy}; wait for it to end, or stop it and run this "
                    f"again (if it died on another machine, its lease expires after {EXPIRY_S:.0f} s)"
                )
            if asked_at >= speak_at:
                state = "which may be dead: that is sure soon" if unsure else "which is writing to it"
                log.warning("waiting for table %r, held by %s, %s", self.name, busy, state)
                speak_at = asked_at + SPEAK_S
            if asked_at >= began + QUEUE_AFTER_S:
                self._wait_in(queue)
            if busy.owner != last:
                last, pause_s = busy.owner, min(SHORTEST_PAUSE_S * (1 + len(ahead)), LONGEST_PAUSE_S)
            time.sleep(random.uniform(pause_s / 2, pause_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _wait_in(self, queue: Sequence[LeaseRow]) -> None:
        """Be among those who wait; whoever took the lease past this one has removed its row."""
        if all(row.owner != self.owner for row in queue):
            with self._lock:
                put_row(self._table, waiting_row(self.name, self.owner, queue))
            self._waited = True

    @staticmethod
    def _is_dead(holder: LeaseRow, observer: Observer, asked_at: float) -> bool:
        # Also one whose process lives: it may be stopped, and finds its lease gone when it goes on.
        silent = observer.is_dead(holder.owner, holder.beat, asked_at=asked_at)
        return silent or holder.lives() is False

    def _write(self, *, replaces: str | None, since: dt.datetime | None = None) -> None:
        with self._lock:
            put_row(self._table, lease_row(self.name, self.owner, since=since), replaces=replaces)

    def mine(self) -> bool:
        """Whether this object still holds the lease."""
        holder, _ = self._look()
        return holder is not None and holder.owner == self.owner

    def check(self) -> None:
        """Raise LeaseLostError if another process has taken the lease."""
        if not self.mine():
            raise LeaseLostError(
                f"the lease on {self.name!r} was lost to another process; nothing more is committed; run this again"
            )

    def _renew(self) -> None:
        while not self._stop.wait(RENEWAL_S):
            try:
                holder, _ = self._look()
                if holder is None or holder.owner != self.owner:
                    return
                self._write(replaces=self.owner, since=holder.since)
            except Exception as error:  # the next renewal tries again, long before the lease expires
                log.info("could not renew the lease on %s: %s", self.name, error)

    def _stop_renewal(self) -> None:
        """End the thread; a renewal that has begun is completed first."""
        self._stop.set()
        self._renewal.join(timeout=LAST_RENEWAL_S)

    def release(self) -> None:
        """Release the lease; after it was released or lost, do nothing.

        If the store can no longer be written, the row stays: it blocks other processes until it expires, and this
        process not at all.
        """
        atexit.unregister(self._stop_renewal)
        self._stop_renewal()
        held_here.discard(self.owner)
        try:
            with self._lock:
                self._remove_rows()
                if self._table.opened().version % TIDY_EVERY < 3:  # two or three versions end with a release
                    self._table.tidy(keep_s=EXPIRY_S)
        except (OSError, RuntimeError, ValueError) as error:  # Lance's; what was committed under the lease stays
            log.info("the lease on %s stays for %.0f s: %s", self.name, EXPIRY_S, access_error(error) or error)

    def _remove_rows(self) -> None:
        """Remove the row of the holder, that of one who waits, and those of others who wait no more."""
        gone = f" OR {sql_in('name', self._gone)}" if self._gone else ""
        self._table.delete(f"owner = {sql_string(self.owner)}{gone}")

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
