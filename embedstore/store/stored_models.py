"""Fitted heads and latent augmenters, each a row with a name: what it is, its record and its parameters."""

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pyarrow as pa

from embedstore.errors import (
    AugmenterExistsError,
    AugmenterNotFoundError,
    HeadExistsError,
    HeadNotFoundError,
    StoreError,
)
from embedstore.store.schema import AUGMENTERS, HEADS, check_collection_name
from embedstore.store.sql import sql_string
from embedstore.store.table import Caches, Table, now

Row = TypeVar("Row")


class NamedTable(Generic[Row]):
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

    def __init__(self, store_uri: str, caches: Caches | None = None):
        self._uri = store_uri
        self._table = Table(store_uri, f"{self.noun}s", caches)

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

    def digest(self, name: str) -> str | None:
        """The digest of a row; None where there is none of that name."""
        rows = self._table.rows(where=f"name = {sql_string(name)}", columns=["digest"])
        return str(rows[0]["digest"]) if rows else None

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


@dataclass(frozen=True, kw_only=True)
class StoredHead:
    """A head as the store keeps it.

    Attributes:
        name: Its name in the store.
        task: The question that it answers.
        collection: Whose vectors it takes.
        model: Its model.
        level: What it looks at: a tile, a slide, a patient.
        digest: Of its parameters.
        record: Configuration, data version, extractor, split, metrics: its card.
        parameters: safetensors.
        examples: What it was fitted on, by `tile_id`; no names, so that a patient who is removed leaves none here.
    """

    name: str
    task: str
    collection: str
    model: str
    level: str
    digest: str
    record: dict[str, Any]
    parameters: bytes
    examples: bytes
    created_at: dt.datetime | None = None


class Heads(NamedTable[StoredHead]):
    """The table `heads` of a store."""

    noun = "head"
    kind = StoredHead
    schema = HEADS
    heavy = ("parameters", "examples")
    not_found = HeadNotFoundError
    exists = HeadExistsError
    make = "embedstore fit-head --task TASK"


@dataclass(frozen=True, kw_only=True)
class StoredAugmenter:
    """An augmenter as the store keeps it.

    Attributes:
        name: Its name in the store.
        collection: Whose views it was trained on; it serves every collection of the same extractor.
        digest: Of its parameters and what it expects.
        record: Configuration, data versions, extractor, views, report: its card.
        parameters: safetensors.
    """

    name: str
    collection: str
    digest: str
    record: dict[str, Any]
    parameters: bytes
    created_at: dt.datetime | None = None


class Augmenters(NamedTable[StoredAugmenter]):
    """The table `augmenters` of a store."""

    noun = "augmenter"
    kind = StoredAugmenter
    schema = AUGMENTERS
    heavy = ("parameters",)
    not_found = AugmenterNotFoundError
    exists = AugmenterExistsError
    make = "embedstore fit-augmenter"
