"""A table that follows from a collection, with rows of tiles or slides: predictions, attention, a map, an encoding."""

from collections.abc import Iterable

from embedstore.store.lease import Lease
from embedstore.store.sql import sql_in
from embedstore.store.table import Table


class DerivedTable:
    """A table of its own that may not exist yet. It has a column `slide_id`, and forgets a slide that is removed."""

    def __init__(self, store_uri: str, name: str):
        self._store_uri = store_uri
        self._table = Table(store_uri, name)

    @property
    def name(self) -> str:
        """The table's name."""
        return self._table.name

    def lease(self, *, wait_s: float = 0.0) -> Lease:
        """The lease that writing to the table and deleting from it need."""
        return Lease(self._store_uri, self.name, wait_s=wait_s)

    def exists(self) -> bool:
        return self._table.exists()

    def version(self) -> int:
        """The newest version of the table, which changes with every change of its rows; 0 where there is none."""
        return self._table.open().version if self.exists() else 0

    def slides(self) -> dict[str, int]:
        """{slide: number of its rows}."""
        return self._table.counts("slide_id") if self.exists() else {}

    def forget(self, slide_ids: Iterable[str]) -> None:
        """Delete rows of slides; the caller holds the lease. Files keep the rows until `tidy`."""
        if (names := sorted(slide_ids)) and self.exists():
            self._table.delete(sql_in("slide_id", names))

    def tidy(self, *, keep_s: float) -> None:
        """Merge small files, remove deleted rows from them and delete versions older than `keep_s` seconds."""
        if self.exists():
            self._table.tidy(keep_s=keep_s, purge=True)

    def drop(self) -> None:
        """Delete the table, if it exists.

        Raises:
            StoreBusyError: another process is writing to it.
        """
        if self.exists():
            with self.lease():
                self._table.drop()
