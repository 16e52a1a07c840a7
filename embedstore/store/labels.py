"""Labels: who says that a place, a slide or a patient is of a class. They belong to places, not to tiles."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from embedstore.store.schema import LABELS
from embedstore.store.table import Table, now, sql_in, sql_string

#: What a label's place is: a tile (a file's name, or x, y and edge), a point, an area, what no other label of the task
#: covers (of an area, or of the whole slide where it has no geometry), a whole slide, or all slides of a patient.
Kind = Literal["tile", "point", "area", "rest", "slide", "patient"]


@dataclass(frozen=True, kw_only=True)
class Label:
    """Who says that a place is of a class.

    Attributes:
        task: The question.
        label: The class.
        kind: What the place is.
        slide_id: The slide; None for a patient's label.
        name: Of a ready-made tile: its file in its folder.
        x, y: A point, or a tile's top-left; level-0 pixels.
        edge_l0: A tile's edge, level-0 pixels.
        geometry: An area as WKB, level-0 pixels.
        split: The set it was given to by those who published it, such as 'train'.
        patient: Patient or case, where known.
        author: Who says so.
        source: The file that says so.
    """

    task: str
    label: str
    kind: Kind = "tile"
    slide_id: str | None = None
    name: str | None = None
    x: float | None = None
    y: float | None = None
    edge_l0: float | None = None
    geometry: bytes | None = None
    split: str | None = None
    patient: str | None = None
    author: str = "ingest"
    source: str = ""

    def row(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in LABELS.names if name not in ("key", "created_at")}
        return {**values, "key": self._key(), "created_at": now()}

    def _key(self) -> str:
        """A tile of a folder has one label of an author; any other place keeps what each file says of it."""
        parts = [self.task, self.slide_id or "", self.name or "", self.author]
        if self.name is None:
            parts += [
                self.kind,
                self.label,
                str(self.x),
                str(self.y),
                str(self.edge_l0),
                self.patient or "",
                self.source,
            ]
        digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=16)
        digest.update(self.geometry or b"")
        return digest.hexdigest()


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
