"""A lease on a table, so that two processes never commit to it at once.

Lance's Append refuses neither fragments that are already committed nor a stale read version, so only one process may
commit. A lease is a row with a primary key. Taking it is a conditional update: of several processes that try at once,
one succeeds.
"""

import atexit
import datetime as dt
import logging
import os
import socket
import threading
import time
import uuid
from typing import NamedTuple

import psutil
import pyarrow as pa

from embedstore.access_errors import access_error
from embedstore.errors import StoreBusyError
from embedstore.store.schema import LEASES
from embedstore.store.sql import sql_string
from embedstore.store.table import Table, now

log = logging.getLogger(__name__)

#: The owner renews its lease this often, seconds.
RENEWAL_S = 20.0
#: A lease expires this long after its last renewal, seconds: an owner may miss several.
EXPIRY_S = 120.0
#: How long a renewal that has begun may still take when the lease is released, seconds.
LAST_RENEWAL_S = 20.0
#: Owners of the leases that this process holds.
_held_here: set[str] = set()


class _Holder(NamedTuple):
    """Who holds a lease: a row of the table of leases.

    Attributes:
        name: Of the lease.
        owner: A random id of the `Lease`.
        host, pid: Where its process runs.
        since: When it was taken.
        beat: When it was last renewed.
    """

    name: str
    owner: str
    host: str
    pid: int
    since: dt.datetime
    beat: dt.datetime

    def lives(self) -> bool:
        """Whether the lease has not expired, and its process runs as far as can be told from here."""
        if (now() - self.beat).total_seconds() > EXPIRY_S:
            return False
        if self.host != socket.gethostname():
            return True
        if self.pid == os.getpid():
            return self.owner in _held_here
        try:
            process = psutil.Process(self.pid)
            # A process that started after the lease was taken only has the same number.
            return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= self.since.timestamp() + 1
        except psutil.NoSuchProcess:
            return False


def _holder_in(leases: Table, name: str) -> _Holder | None:
    found = leases.rows(where=f"name = {sql_string(name)}", columns=list(_Holder._fields))
    return _Holder(**found[0]) if found else None


def is_held(store_uri: str, name: str) -> bool:
    """Whether a process that lives, as far as can be told from here, holds the lease of that name."""
    holder = _holder_in(Table(store_uri, "leases"), name)
    return holder is not None and holder.lives()


class Lease:
    """The right to commit to one table. A thread renews it until it is released.

    Args:
        store_uri: The store.
        name: The table.
        wait_s: How long to wait, seconds, for an owner that is about to end, such as the actor of a driver that was
            just killed.
    Raises:
        StoreBusyError: another owner holds the lease and is alive.
    """

    def __init__(self, store_uri: str, name: str, *, wait_s: float = 20.0):
        self._table = Table(store_uri, "leases")
        self._table.create(LEASES)
        self._lock = threading.Lock()  # an open Lance dataset may be used by one thread at a time
        self.name = name
        self.owner = uuid.uuid4().hex
        self._stop = threading.Event()
        _held_here.add(self.owner)
        try:
            self._take(time.monotonic() + wait_s)
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

    def _take(self, deadline: float) -> None:
        while True:
            holder = self._holder()
            if holder is None or not holder.lives():
                self._write(replaces=holder.owner if holder else None)
                if self.mine():
                    return
            elif time.monotonic() >= deadline:
                raise StoreBusyError(
                    f"table {self.name!r} is being written by process {holder.pid} on {holder.host} since "
                    f"{holder.since:%Y-%m-%d %H:%M:%S} UTC; wait for it to end, or stop it and run this again "
                    f"(if it died on another machine, its lease expires after {EXPIRY_S:.0f} s)"
                )
            time.sleep(0.5)

    def _write(self, *, replaces: str | None, since: dt.datetime | None = None) -> None:
        """Insert our row, or replace the row of one owner: if another process was faster, it keeps the lease."""
        at = now()
        row = _Holder(self.name, self.owner, socket.gethostname(), os.getpid(), since or at, at)
        with self._lock:
            merge = self._table.open().merge_insert("name")
            if replaces is None:
                merge = merge.when_not_matched_insert_all()
            else:
                merge = merge.when_matched_update_all(f"target.owner = {sql_string(replaces)}")
            merge.use_index(False).execute(pa.Table.from_pylist([row._asdict()], schema=LEASES))

    def mine(self) -> bool:
        """Whether this object still holds the lease."""
        holder = self._holder()
        return holder is not None and holder.owner == self.owner

    def check(self) -> None:
        """Raise StoreBusyError if another process has taken the lease."""
        if not self.mine():
            raise StoreBusyError(
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
                self._table.tidy(keep_s=EXPIRY_S)
        except (OSError, RuntimeError, ValueError) as error:  # Lance's; what was committed under the lease stays
            log.info("the lease on %s stays for %.0f s: %s", self.name, EXPIRY_S, access_error(error) or error)

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
