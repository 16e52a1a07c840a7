"""A lease on a table, so that two runs never commit to it at once.

Lance's Append neither refuses a second delivery nor a stale read version, so the process that commits must be alone.
The lease is a row with a primary key; taking it is a conditional update, of which one of several racers wins.
"""

import atexit
import logging
import os
import socket
import threading
import time
import uuid
from typing import Any

import psutil
import pyarrow as pa

from embedstore.access_errors import access_error
from embedstore.errors import StoreBusyError
from embedstore.store.schema import LEASES
from embedstore.store.sql import sql_string
from embedstore.store.table import Table, now

log = logging.getLogger(__name__)

#: The owner renews the lease so often; an owner that has not done so for EXPIRY_S has lost it.
BEAT_S = 20.0
EXPIRY_S = 120.0
#: How long a beat that is under way may still take when the lease ends.
LAST_BEAT_S = 20.0
#: Owners of the leases that this process holds.
_held_here: set[str] = set()


class Lease:
    """The right to commit to one table, kept alive by a thread until released.

    Args:
        store_uri: The store.
        name: What is leased.
        wait_s: How long to wait for an owner that is about to end, such as the actor of a driver that was just killed.
    Raises:
        StoreBusyError: somebody else holds it, and lives.
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
        self._heart = threading.Thread(target=self._beat, name=f"lease-{name}", daemon=True)
        self._heart.start()
        # Python ends a thread that comes back from Lance while the interpreter shuts down by unwinding its stack, which
        # Rust answers with abort(): a process that exits with a lease held would end with SIGABRT, its work done.
        atexit.register(self._still)

    def _row(self, since: Any = None) -> dict[str, Any]:
        at = now()
        return {
            "name": self.name,
            "owner": self.owner,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "since": since or at,
            "beat": at,
        }

    def _held(self) -> dict[str, Any] | None:
        with self._lock:
            found = self._table.rows(where=f"name = {sql_string(self.name)}")
        return found[0] if found else None

    def _take(self, deadline: float) -> None:
        while True:
            held = self._held()
            if held is None or not _lives(held):
                self._write(replaces=held["owner"] if held else None)
                if self.mine():
                    return
            elif time.monotonic() >= deadline:
                raise StoreBusyError(
                    f"table {self.name!r} is being written by process {held['pid']} on {held['host']} since "
                    f"{held['since']:%Y-%m-%d %H:%M:%S} UTC; wait for it to end, or stop it and run this again "
                    f"(a dead owner on another machine loses the table after {EXPIRY_S:.0f} s)"
                )
            time.sleep(0.5)

    def _write(self, *, replaces: str | None, since: Any = None) -> None:
        """Write our row, or replace that of one owner and no other: a racer who was quicker keeps the lease."""
        with self._lock:
            merge = self._table.open().merge_insert("name")
            if replaces is None:
                merge = merge.when_not_matched_insert_all()
            else:
                merge = merge.when_matched_update_all(f"target.owner = {sql_string(replaces)}")
            merge.use_index(False).execute(pa.Table.from_pylist([self._row(since)], schema=LEASES))

    def mine(self) -> bool:
        held = self._held()
        return held is not None and held["owner"] == self.owner

    def check(self) -> None:
        """Raise StoreBusyError when somebody else took the lease."""
        if not self.mine():
            raise StoreBusyError(f"the lease on {self.name!r} was lost to another process; nothing more is committed")

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_S):
            try:
                held = self._held()
                if held is None or held["owner"] != self.owner:
                    return
                self._write(replaces=self.owner, since=held["since"])
            except Exception as error:  # the next beat tries again; the lease outlives several missed ones
                log.info("could not renew the lease on %s: %s", self.name, error)

    def _still(self) -> None:
        """Stop the beat; one that is under way ends first."""
        self._stop.set()
        self._heart.join(timeout=LAST_BEAT_S)

    def release(self) -> None:
        """Let go of it; a second call, or one after it was lost, does nothing.

        Where the store can no longer be written, the row stays; it holds nobody of this process up, and others until
        it expires.
        """
        atexit.unregister(self._still)
        self._still()
        _held_here.discard(self.owner)
        try:
            with self._lock:
                self._table.delete(f"owner = {sql_string(self.owner)}")
                self._table.tidy(keep_s=EXPIRY_S)
        except (OSError, RuntimeError, ValueError) as error:  # Lance's; what was done under the lease stands
            log.info("the lease on %s stays for %.0f s: %s", self.name, EXPIRY_S, access_error(error) or error)

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _lives(held: dict[str, Any]) -> bool:
    if (now() - held["beat"]).total_seconds() > EXPIRY_S:
        return False
    if held["host"] != socket.gethostname():
        return True
    if held["pid"] == os.getpid():
        return held["owner"] in _held_here
    try:
        process = psutil.Process(held["pid"])
        # A process started after the lease was taken has only inherited the number.
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= held["since"].timestamp() + 1
    except psutil.NoSuchProcess:
        return False
