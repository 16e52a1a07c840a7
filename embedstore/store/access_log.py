"""The access log: who changed the store through a service, and who looked at which slide. Rows are only ever added."""

import datetime as dt
import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import lance
import pyarrow as pa

from embedstore.store.schema import ACCESS_LOG
from embedstore.store.sql import sql_in, sql_string
from embedstore.store.table import Caches, Table, now, until_committed
from embedstore.store.written_names import written_names

#: `allowed`: it was about to happen; `failed`: it came to nothing, after all; `refused`: the caller may not.
Outcome = Literal["allowed", "failed", "refused"]
#: Appended rows after which small files are merged.
TIDY_AFTER = 500
KEEP_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class AccessRow:
    """That somebody did something.

    Attributes:
        at: When.
        caller: Who: the name of a token or a person.
        by: How they were known: by a token, the header of a proxy, or because they were on this machine.
        address: Where the request came from; None for a Unix socket.
        action: What: `look`, or what the route does, such as `labels.add`.
        slide_id: The slide; None where it is about none. An action on several slides has a row for each.
        subject: The task, head or job that it is about.
        detail: What else was asked for.
        outcome: What became of it.
        request: The same for all rows of a request.
    """

    at: dt.datetime = field(default_factory=now)
    caller: str
    by: str = ""
    address: str | None = None
    action: str
    slide_id: str | None = None
    subject: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    outcome: Outcome = "allowed"
    request: str | None = None


class AccessLog:
    """The table `access_log` of a store."""

    def __init__(self, store_uri: str, caches: Caches | None = None):
        self._table = Table(store_uri, "access_log", caches)
        self._made, self._appended = False, 0

    def append(self, rows: Iterable[AccessRow]) -> None:
        """Add rows, in one commit."""
        records = [_record(row) for row in rows]
        if not records:
            return
        if not self._made:
            self._table.create(ACCESS_LOG)
            self._made = True
        table = pa.Table.from_pylist(records, schema=ACCESS_LOG)
        until_committed(lambda: lance.write_dataset(table, self._table.uri, mode="append"))
        self._appended += 1
        if self._appended >= TIDY_AFTER:
            self._appended = 0
            self.tidy(keep_s=KEEP_S)

    def table(
        self,
        *,
        slide_id: str | None = None,
        caller: str | None = None,
        action: str | None = None,
        since: dt.datetime | None = None,
    ) -> pa.Table:
        """The rows that meet every condition given, oldest first."""
        if not self._table.exists():
            return ACCESS_LOG.empty_table()
        equal = {"slide_id": slide_id, "caller": caller, "action": action}
        clauses = [f"{name} = {sql_string(value)}" for name, value in equal.items() if value is not None]
        clauses += [] if since is None else [f"at >= {_timestamp(since)}"]
        return self._table.open().to_table(filter=" AND ".join(clauses) or None).sort_by("at")

    def purge(self, before: dt.datetime) -> int:
        """Delete the rows from before a time; returns their number."""
        if not self._table.exists():
            return 0
        old = f"at < {_timestamp(before)}"
        count: int = self._table.open().count_rows(old)
        if count:
            self._table.delete(old)
        return count

    def forget(self, names: Sequence[str]) -> None:
        """Take names of slides and patients out of the rows, which stay.

        Each name is replaced by another that says nothing, the same in all rows of the name.
        """
        if not names or not self._table.exists():
            return
        stand_ins = {name: f"removed-{uuid.uuid4().hex[:8]}" for name in names}
        named, spelled = written_names(names)

        def without(row: dict[str, Any]) -> dict[str, Any]:
            texts = {
                name: row[name] and named.sub(lambda found: stand_ins[spelled[found[0]]], row[name])
                for name in ("subject", "detail")
            }
            return row | texts | {"slide_id": stand_ins.get(row["slide_id"], row["slide_id"])}

        def rows_of(table: Table) -> list[dict[str, Any]]:
            rows = table.rows(where=f"{sql_in('slide_id', names)} OR subject IS NOT NULL OR detail IS NOT NULL")
            return [changed for row in rows if (changed := without(row)) != row]

        self._table.revise("key", rows_of)

    def tidy(self, *, keep_s: float) -> None:
        if self._table.exists():
            self._table.tidy(keep_s=keep_s, purge=True)


def _record(row: AccessRow) -> dict[str, Any]:
    record = {name: getattr(row, name) for name in ACCESS_LOG.names if name != "key"}
    detail = json.dumps(row.detail, default=str, ensure_ascii=False) if row.detail else None
    return {**record, "key": uuid.uuid4().hex, "detail": detail}


def _timestamp(at: dt.datetime) -> str:
    return f"timestamp '{at.astimezone(dt.UTC).replace(tzinfo=None).isoformat(sep=' ')}'"
