"""The access log of a store, over HTTP."""

import datetime as dt

from embedstore.arguments import checks_arguments
from embedstore.client.connection import Connection
from embedstore.client.not_remote import only_at_store
from embedstore.result_table import Table


@checks_arguments
class RemoteAccessLog:
    """The access log of a store that a service serves; only for an administrator."""

    def __init__(self, connection: Connection):
        self._connection = connection

    def table(
        self,
        *,
        slide: str | None = None,
        caller: str | None = None,
        action: str | None = None,
        since: dt.datetime | None = None,
    ) -> Table:
        """The rows that meet every condition given, oldest first. Arguments as of `embedstore.AccessLog.table`."""
        at = None if since is None else since.astimezone(dt.UTC).isoformat()
        rows = self._connection.table("/api/access-log", slide_id=slide, caller=caller, action=action, since=at)
        return Table(rows, title="access log")

    purge = only_at_store("AccessLog.purge")

    def __repr__(self) -> str:
        return f"<AccessLog of {self._connection.url!r}: `table(since=…)` has its rows>"
