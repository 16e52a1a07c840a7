"""The access log of a store: what was asked of it through a service, and by whom."""

import datetime as dt
import getpass

from embedstore.access_errors import tells_access_errors
from embedstore.arguments import checks_arguments
from embedstore.result_table import Table
from embedstore.store import AccessRow
from embedstore.store import Store as StoreTables


@tells_access_errors
@checks_arguments
class AccessLog:
    """The access log of a store: a row for each change that was made through a service, and for each hour in which
    somebody looked at a slide."""

    def __init__(self, tables: StoreTables):
        self._tables = tables

    def table(
        self,
        *,
        slide: str | None = None,
        caller: str | None = None,
        action: str | None = None,
        since: dt.datetime | None = None,
    ) -> Table:
        """The rows that meet every condition given, oldest first.

        Args:
            slide: Id of a slide. The rows of a slide that was removed have another name in its place.
            caller: Name of a token or person.
            action: Such as `look` or `labels.add`.
            since: Only from this time on; without a time zone it is in local time.
        """
        rows = self._tables.access_log.table(slide_id=slide, caller=caller, action=action, since=since)
        return Table(rows.drop_columns(["key"]), title="access log")

    def purge(self, before: dt.datetime) -> int:
        """Delete the rows from before a time, and add one that says so; returns their number.

        Args:
            before: Without a time zone it is in local time.
        """
        count = self._tables.access_log.purge(before)
        detail = {"before": before.astimezone(dt.UTC).isoformat(), "rows": count}
        self._tables.access_log.append([AccessRow(caller=getpass.getuser(), action="access-log.purge", detail=detail)])
        return count

    def __repr__(self) -> str:
        return f"<AccessLog of {self._tables.uri!r}: `table(since=…)` has its rows>"
