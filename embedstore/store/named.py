"""Rows that are kept under a name of their own: heads, augmenters."""

import json
from typing import Any, Generic, TypeVar

import pyarrow as pa

from embedstore.errors import StoreError
from embedstore.store.schema import check_collection_name
from embedstore.store.table import Table, now, sql_string

Row = TypeVar("Row")


class NamedRows(Generic[Row]):
    """A table of a store with a row a name.

    Its rows have the columns `name`, `record` (JSON) and `created_at`, and others that are the fields of `kind`.

    Attributes:
        noun: What a row is called; with an s it is the table's name.
        kind: The dataclass that a row is read into.
        schema: Of the table.
        heavy: Columns of bytes, which `summaries` leaves empty.
        not_found, exists: What is raised where a name is not there, or is there already.
        make: The command that makes one.
    """

    noun: str
    kind: type[Row]
    schema: pa.Schema
    heavy: tuple[str, ...]
    not_found: type[StoreError]
    exists: type[StoreError]
    make: str

    def __init__(self, store_uri: str):
        self._uri = store_uri
        self._table = Table(store_uri, f"{self.noun}s")

    def names(self) -> list[str]:
        return sorted(row["name"] for row in self._table.rows(columns=["name"]))

    def summaries(self) -> list[Row]:
        """All rows, by name, without their bytes."""
        columns = [name for name in self.schema.names if name not in self.heavy]
        rows = self._table.rows(columns=columns)
        return [self._read(row | dict.fromkeys(self.heavy, b"")) for row in sorted(rows, key=lambda r: r["name"])]

    def get(self, name: str) -> Row:
        """A row by its name.

        Raises:
            `not_found`: there is none.
        """
        rows = self._table.rows(where=f"name = {sql_string(name)}")
        if not rows:
            raise self.not_found(
                f"no {self.noun} {name!r} in {self._uri}; it has {', '.join(self.names()) or 'none'}; "
                f"`{self.make}` makes one"
            )
        return self._read(rows[0])

    def require_free(self, name: str, *, replace: bool = False) -> str:
        """Return a name that a new row may have.

        Raises:
            `exists`: another has it, and may not be replaced.
            ConfigError: it cannot name a table.
        """
        check_collection_name(name, noun=self.noun, option="name")
        if not replace and name in self.names():
            article = "an" if self.noun[0] in "aeiou" else "a"
            raise self.exists(
                f"{self._uri} has {article} {self.noun} {name!r} already; pass another --name, or --replace to put the "
                "new one in its place"
            )
        return name

    def save(self, row: Row) -> None:
        """Write a row; one of its name is replaced."""
        self._table.create(self.schema)
        values: dict[str, Any] = {name: getattr(row, name) for name in self.schema.names}
        self._table.upsert("name", [{**values, "record": json.dumps(values["record"]), "created_at": now()}])

    def remove(self, name: str) -> None:
        """Take a row out.

        Raises:
            `not_found`: there is none.
        """
        self.get(name)
        self._table.delete(f"name = {sql_string(name)}")

    def tidy(self, *, keep_s: float) -> None:
        if self._table.exists():
            self._table.tidy(keep_s=keep_s, purge=True)

    def _read(self, row: dict[str, Any]) -> Row:
        return self.kind(**{**row, "record": json.loads(row["record"])})
