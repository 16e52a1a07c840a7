"""The rows of the table of leases: who holds a lease, and who waits for it, in turn."""

import datetime as dt
import os
import socket
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from embedstore import process_identity
from embedstore.process_identity import this_process
from embedstore.store import liveness
from embedstore.store.schema import LEASES
from embedstore.store.sql import sql_string
from embedstore.store.table import Table, now, until_committed

#: A lease that stays free for so long, seconds, is not left to one in front any more: he may be gone.
PATIENCE_S = 3.0
#: Owners of the leases that this process holds, or waits for.
held_here: set[str] = set()
#: Between the parts of the name of a row of one who waits: the lease, his number, his owner's id.
_SEPARATOR = "|"


class LeaseRow(NamedTuple):
    """Who holds a lease, or waits for it.

    Attributes:
        name: Of the lease; of one who waits, see `waiting_row`.
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
            return self.owner in held_here
        return process_identity.runs(self.process)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since:%Y-%m-%d %H:%M:%S} UTC"


def lease_row(name: str, owner: str, *, since: dt.datetime | None = None) -> LeaseRow:
    """A row of this process, as of now."""
    at = now()
    return LeaseRow(name, owner, socket.gethostname(), os.getpid(), since or at, at, this_process())


def waiting_row(name: str, owner: str, queue: Sequence[LeaseRow]) -> LeaseRow:
    """The row of one who waits behind a queue; two who come at once may have one number."""
    last = int(queue[-1].name.rsplit(_SEPARATOR, 2)[1]) if queue else 0
    return lease_row(f"{name}{_SEPARATOR}{last + 1:012d}{_SEPARATOR}{owner}", owner)


def lease_of(row_name: str) -> str:
    """The lease that a row is about, by its name."""
    return row_name.partition(_SEPARATOR)[0]


def read_rows(leases: Table, name: str) -> tuple[LeaseRow | None, list[LeaseRow]]:
    """Who holds a lease, and who waits for it, in turn."""
    where = f"name = {sql_string(name)} OR starts_with(name, {sql_string(name + _SEPARATOR)})"
    rows = sorted(LeaseRow(**row) for row in leases.rows(where=where, columns=list(LeaseRow._fields)))
    return next((row for row in rows if row.name == name), None), [row for row in rows if row.name != name]


def put_row(leases: Table, row: LeaseRow, *, replaces: str | None = None) -> None:
    """Insert a row, or replace that of one owner: if another process was faster, its row stays."""

    def write() -> None:
        merge = leases.open().merge_insert("name")
        if replaces is None:
            merge = merge.when_not_matched_insert_all()
        else:
            merge = merge.when_matched_update_all(f"target.owner = {sql_string(replaces)}")
        merge.use_index(False).execute(pa.Table.from_pylist([row._asdict()], schema=LEASES))

    until_committed(write)


def is_held(store_uri: str, name: str) -> bool:
    """Whether a process that lives, as far as can be told at once, holds the lease of that name."""
    holder, _ = read_rows(Table(store_uri, "leases"), name)
    if holder is None:
        return False
    lives = holder.lives()
    return not liveness.is_stale(holder.beat) if lives is None else lives


def holder_of(store_uri: str, name: str, *, but: str | None = None) -> str | None:
    """The process that holds the lease of that name, for people; None if nobody does, or the process `but`."""
    holder, _ = read_rows(Table(store_uri, "leases"), name)
    return None if holder is None or (but is not None and holder.process == but) else str(holder)


class Turn:
    """Whose turn it is, as one of those sees it who wait.

    The rows of those who wait only keep order. If one is lost, or stays behind, nobody loses the lease.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._first: str | None = None  # who is in front while the lease is free
        self._free_since = 0.0

    def ahead(self, queue: Sequence[LeaseRow]) -> list[LeaseRow]:
        """Those who come first and are not known to be dead: all, for one who does not wait yet."""
        place = next((place for place, row in enumerate(queue) if row.owner == self._owner), len(queue))
        return [row for row in queue[:place] if row.lives() is not False]

    def has_come(self, ahead: Sequence[LeaseRow], *, free: bool, asked_at: float) -> bool:
        """Whether the lease may be taken: it is free, and nobody comes first, or one who does not take it for long.

        Args:
            asked_at: `time.monotonic()` from before the rows were read.
        """
        first = ahead[0].owner if ahead and free else None
        if first != self._first:
            self._first, self._free_since = first, asked_at
        return free and (first is None or asked_at > self._free_since + PATIENCE_S)
