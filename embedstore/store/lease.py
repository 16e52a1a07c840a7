"""A lease on a table, so that two processes never commit to it at once.

Lance's Append refuses neither fragments that are already committed nor a stale read version, so only one process may
commit. A lease is a row with a primary key. Taking it is a conditional update: of several processes that try at once,
one succeeds.
"""

import atexit
import datetime as dt
import logging
import math
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa

from embedstore.access_errors import access_error
from embedstore.errors import LeaseLostError, StoreBusyError
from embedstore.store import liveness
from embedstore.store.liveness import EXPIRY_S, RENEWAL_S, Observer, this_process
from embedstore.store.schema import LEASES
from embedstore.store.sql import sql_string
from embedstore.store.table import Table, now, until_committed

log = logging.getLogger(__name__)

#: How long a renewal that has begun may still take when the lease is released, seconds.
LAST_RENEWAL_S = 20.0
#: How long whoever wants a lease waits for one that lives, seconds: runs hold it for a commit at a time.
TURN_S = 20.0
#: Pauses between two looks at a lease that another process holds, seconds.
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.5
#: A lease that is waited for is spoken of after this time, seconds, and then again.
SPEAK_S = 15.0
#: Takes and releases of leases between two clean-ups of their table.
TIDY_EVERY = 64
#: Owners of the leases that this process holds.
_held_here: set[str] = set()


class _Holder(NamedTuple):
    """Who holds a lease: a row of the table of leases.

    Attributes:
        name: Of the lease.
        owner: A random id of the `Lease`.
        host, pid: Where its process runs, for people.
        since: When it was taken.
        beat: When it was last renewed.
        process: What tells its process from all others; None from older versions.
    """

    name: str
    owner: str
    host: str
    pid: int
    since: dt.datetime
    beat: dt.datetime
    process: str | None

    def lives(self) -> bool | None:
        """Whether its process runs and holds the lease; None where it cannot be told from here."""
        if self.process is not None and self.process == this_process():
            return self.owner in _held_here
        return liveness.runs(self.process)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since:%Y-%m-%d %H:%M:%S} UTC"


def _holder_in(leases: Table, name: str) -> _Holder | None:
    found = leases.rows(where=f"name = {sql_string(name)}", columns=list(_Holder._fields))
    return _Holder(**found[0]) if found else None


def is_held(store_uri: str, name: str) -> bool:
    """Whether a process that lives, as far as can be told at once, holds the lease of that name."""
    holder = _holder_in(Table(store_uri, "leases"), name)
    if holder is None:
        return False
    lives = holder.lives()
    return not liveness.is_stale(holder.beat) if lives is None else lives


def holder_of(store_uri: str, name: str, *, but: str | None = None) -> str | None:
    """The process that holds the lease of that name, for people; None if nobody does, or the process `but`."""
    holder = _holder_in(Table(store_uri, "leases"), name)
    return None if holder is None or (but is not None and holder.process == but) else str(holder)


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
        self._stop = threading.Event()
        _held_here.add(self.owner)
        try:
            self._take(TURN_S if wait_s is None else wait_s)
        except BaseException:
            _held_here.discard(self.owner)
            raise
        self._renewal = threading.Thread(target=self._renew, name=f"lease-{name}", daemon=True)
        self._renewal.start()
        # At the interpreter's exit, Python ends a thread that returns from Lance by unwinding its stack, and Rust then
        # calls abort(): a process that exits without releasing its lease would end with SIGABRT after its work.
        atexit.register(self._stop_renewal)

    def _holder(self) -> _Holder | None:
        with self._lock:
            return _holder_in(self._table, self.name)

    def _take(self, wait_s: float) -> None:
        began, observer, pause_s = time.monotonic(), Observer(), SHORTEST_PAUSE_S
        speak_at = began + (SPEAK_S if wait_s < math.inf else math.inf)
        while True:
            asked_at = time.monotonic()
            holder = self._holder()
            if holder is None or self._is_dead(holder, observer, asked_at):
                self._write(replaces=holder.owner if holder else None)
                if self.mine():
                    return
                continue
            unsure = observer.may_be_dead(holder.owner, holder.beat)
            if self._give_up() or asked_at >= began + (max(wait_s, EXPIRY_S + 1) if unsure else wait_s):
                raise StoreBusyError(
                    f"table {self.name!r} is being written by {holder}; wait for it to end, or stop it and run this "
                    f"again (if it died on another machine, its lease expires after {EXPIRY_S:.0f} s)"
                )
            if asked_at >= speak_at:
                state = "which may be dead: that is sure soon" if unsure else "which is writing to it"
                log.warning("waiting for table %r, held by %s, %s", self.name, holder, state)
                speak_at = asked_at + SPEAK_S
            time.sleep(random.uniform(pause_s / 2, pause_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    @staticmethod
    def _is_dead(holder: _Holder, observer: Observer, asked_at: float) -> bool:
        # Also one whose process lives: it may be stopped, and finds its lease gone when it goes on.
        silent = observer.is_dead(holder.owner, holder.beat, asked_at=asked_at)
        return silent or holder.lives() is False

    def _write(self, *, replaces: str | None, since: dt.datetime | None = None) -> None:
        """Insert our row, or replace the row of one owner: if another process was faster, it keeps the lease."""
        at = now()
        row = _Holder(self.name, self.owner, socket.gethostname(), os.getpid(), since or at, at, this_process())

        def write() -> None:
            merge = self._table.open().merge_insert("name")
            if replaces is None:
                merge = merge.when_not_matched_insert_all()
            else:
                merge = merge.when_matched_update_all(f"target.owner = {sql_string(replaces)}")
            merge.use_index(False).execute(pa.Table.from_pylist([row._asdict()], schema=LEASES))

        with self._lock:
            until_committed(write)

    def mine(self) -> bool:
        """Whether this object still holds the lease."""
        holder = self._holder()
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
                holder = self._holder()
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
        _held_here.discard(self.owner)
        try:
            with self._lock:
                self._table.delete(f"owner = {sql_string(self.owner)}")
                if self._table.opened().version % TIDY_EVERY < 2:  # every other version is a release
                    self._table.tidy(keep_s=EXPIRY_S)
        except (OSError, RuntimeError, ValueError) as error:  # Lance's; what was committed under the lease stays
            log.info("the lease on %s stays for %.0f s: %s", self.name, EXPIRY_S, access_error(error) or error)

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
