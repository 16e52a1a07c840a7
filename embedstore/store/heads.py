"""Fitted heads, each a row: what it is, its parameters, and the examples that it was fitted on."""

import json
from dataclasses import dataclass
from typing import Any

from embedstore.errors import HeadExistsError, HeadNotFoundError
from embedstore.store.schema import HEADS, check_collection_name
from embedstore.store.table import Table, now, sql_string


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
    created_at: Any = None


class Heads:
    """The table `heads` of a store."""

    def __init__(self, store_uri: str):
        self._uri = store_uri
        self._table = Table(store_uri, "heads")

    def names(self) -> list[str]:
        return sorted(row["name"] for row in self._table.rows(columns=["name"]))

    def summaries(self) -> list[StoredHead]:
        """All heads, by name, without their parameters and examples."""
        columns = [name for name in HEADS.names if name not in ("parameters", "examples")]
        rows = self._table.rows(columns=columns)
        return [_head({**row, "parameters": b"", "examples": b""}) for row in sorted(rows, key=lambda r: r["name"])]

    def get(self, name: str) -> StoredHead:
        """A head by its name.

        Raises:
            HeadNotFoundError: there is none.
        """
        rows = self._table.rows(where=f"name = {sql_string(name)}")
        if not rows:
            raise HeadNotFoundError(
                f"no head {name!r} in {self._uri}; it has {', '.join(self.names()) or 'none'}; "
                "`embedstore fit-head --task TASK` makes one"
            )
        return _head(rows[0])

    def require_free(self, name: str) -> str:
        """Return a name that a new head may have.

        Raises:
            HeadExistsError: a head has it.
            ConfigError: it cannot name a table.
        """
        check_collection_name(name, noun="head", option="name")
        if name in self.names():
            raise HeadExistsError(
                f"{self._uri} has a head {name!r} already; pass another --name, or --replace to put the new one in its "
                "place"
            )
        return name

    def save(self, head: StoredHead) -> None:
        """Write a head; one of its name is replaced."""
        self._table.create(HEADS)
        values = {name: getattr(head, name) for name in HEADS.names}
        self._table.upsert("name", [{**values, "record": json.dumps(head.record), "created_at": now()}])

    def remove(self, name: str) -> None:
        """Take a head out.

        Raises:
            HeadNotFoundError: there is none.
        """
        self.get(name)
        self._table.delete(f"name = {sql_string(name)}")

    def tidy(self, *, keep_s: float) -> None:
        if self._table.exists():
            self._table.tidy(keep_s=keep_s, purge=True)


def _head(row: dict[str, Any]) -> StoredHead:
    return StoredHead(**{**row, "record": json.loads(row["record"])})
