"""Labels that came with ready-made tiles."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from embedstore.store.schema import LABELS
from embedstore.store.table import Table, now, sql_in, sql_string


@dataclass(frozen=True, kw_only=True)
class Label:
    """Who says that a tile of a slide is of a class.

    Attributes:
        task: The question, by default the name of the folder of tiles.
        name: The tile's file in its folder.
        label: The class.
        split: The set it was given to by those who published it, such as 'train'.
        patient: Patient or case, where known.
        source: The file that says so.
    """

    task: str
    slide_id: str
    name: str
    label: str
    split: str | None = None
    patient: str | None = None
    author: str = "ingest"
    source: str = ""

    def row(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in LABELS.names if name not in ("key", "created_at")}
        key = hashlib.blake2b("\0".join((self.task, self.slide_id, self.name, self.author)).encode(), digest_size=16)
        return {**values, "key": key.hexdigest(), "created_at": now()}


class Labels:
    """The table `labels` of a store."""

    def __init__(self, store_uri: str):
        self._table = Table(store_uri, "labels")

    def record(self, labels: Iterable[Label]) -> None:
        rows = [label.row() for label in labels]
        if rows:
            self._table.create(LABELS)
            self._table.upsert("key", rows)

    def rows(self, *, task: str | None = None, slide_id: str | None = None) -> list[dict[str, Any]]:
        clauses = [f"{name} = {sql_string(v)}" for name, v in (("task", task), ("slide_id", slide_id)) if v is not None]
        return self._table.rows(where=" AND ".join(clauses) or None)

    def forget(self, slide_ids: list[str]) -> None:
        if slide_ids and self._table.exists():
            self._table.delete(sql_in("slide_id", slide_ids))

    def tidy(self, *, keep_s: float) -> None:
        if self._table.exists():
            self._table.tidy(keep_s=keep_s, purge=True)
