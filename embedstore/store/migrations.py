"""Migrations: the steps by which a store of an older format becomes one of this version's.

A new format needs a step at the end of MIGRATIONS, and `store_format.FORMAT` is its number. A step that was interrupted
is made again: it must look at what is there.
"""

import logging
import shlex
import threading
from collections.abc import Callable
from dataclasses import dataclass

from embedstore.errors import StoreBusyError
from embedstore.store.lease import Lease
from embedstore.store.lease_rows import is_held, lease_of
from embedstore.store.schema import TABLES
from embedstore.store.store_format import FORMAT, backup_tag, stated_format, statement
from embedstore.store.table import Table, before_change

log = logging.getLogger(__name__)

#: The lease of the process that migrates a store.
_LEASE = "store-format"


@dataclass(frozen=True, kw_only=True)
class Migration:
    """A step from one format to the next.

    Attributes:
        of: The format that it leaves; the next is `of + 1`.
        what: What changes, in words, for whoever reads the log.
        tables: The names of tables that it looks at; those that do not exist are passed over.
        needed: Whether a table must be changed; its version before is tagged then.
        change: Changes the table.
    """

    of: int
    what: str
    tables: tuple[str, ...]
    needed: Callable[[Table], bool]
    change: Callable[[Table], None]


def lacks_columns(table: Table) -> bool:
    """Whether a table lacks columns that it has in this version."""
    return bool(set(TABLES[table.name].names) - set(table.open().schema.names))


def add_columns(table: Table) -> None:
    """Give a table the columns that it has in this version, without values."""
    table.create(TABLES[table.name])


MIGRATIONS = (
    Migration(
        of=1,
        what="the store states its format; tables get the columns that are new since format 1",
        tables=tuple(TABLES),
        needed=lacks_columns,
        change=add_columns,
    ),
)

_lock = threading.RLock()
_busy: set[str] = set()
_up_to_date: set[str] = set()  # stores that this process has found, or made, to be of its format


def bring_up_to_date(store_uri: str) -> None:
    """Make a store one of this version's format, before one of its tables is changed.

    Raises:
        StoreBusyError: another process writes to the store, which may be of the older version.
        StoreFormatError: the store is of a newer format.
    """
    if store_uri in _up_to_date:
        return
    with _lock:
        if store_uri in _busy:  # the writes of the migration itself
            return
        _busy.add(store_uri)
        try:
            found = _format_of(store_uri)
            if found is None:
                return  # the first table is being made
            if found < FORMAT:
                _migrate(store_uri, found)
            _up_to_date.add(store_uri)
        finally:
            _busy.discard(store_uri)


def _format_of(store_uri: str) -> int | None:
    metadata = Table(store_uri, "slides").stored_metadata()
    return None if metadata is None else stated_format(metadata, store_uri)


def _migrate(store_uri: str, found: int) -> None:
    if (leases := Table(store_uri, "leases")).exists():
        leases.tag(backup_tag(found + 1))  # before a lease, which gives the table its new columns
    with Lease(store_uri, _LEASE):
        found = _format_of(store_uri) or FORMAT
        if found >= FORMAT:  # by another process, meanwhile
            return
        names = {lease_of(row["name"]) for row in leases.rows(columns=["name"])}
        if held := sorted(name for name in names if name != _LEASE and is_held(store_uri, name)):
            raise StoreBusyError(
                f"the store {store_uri} has format {found}, and this version must make it format {FORMAT} before it "
                f"writes; another process is writing to {', '.join(held)}; wait for it to end, or stop it, and run "
                "this again"
            )
        for step in MIGRATIONS[found - 1 :]:
            tag, slides = backup_tag(step.of + 1), Table(store_uri, "slides")
            slides.tag(tag)
            for table in (Table(store_uri, name) for name in step.tables):
                if table.exists() and step.needed(table):
                    table.tag(tag)
                    step.change(table)
            slides.state(statement(step.of + 1))
            log.warning(
                "the store %s was of format %d and is of format %d now: %s; what changed is kept as tag %s of its "
                "tables, until `embedstore compact --keep-hours 0 --store %s`",
                store_uri, step.of, step.of + 1, step.what, tag, shlex.quote(store_uri),
            )  # fmt: skip


before_change.append(bring_up_to_date)
