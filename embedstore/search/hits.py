"""Tiles that were found: a table with a face for notebooks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from embedstore.search.queries.query import Query, counted
from embedstore.store import Store

#: What every table of hits has, in this order; the user's own columns follow.
HIT_COLUMNS = (
    "rank", "distance", "tile_id", "slide_id", "patient", "x", "y", "edge_l0", "name", "tissue",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Hits:
    """Tiles that were found, nearest first.

    Attributes:
        store: Where they are.
        collection: Its name.
        query: What was looked for.
        table: A row a tile: `HIT_COLUMNS`, then columns of slides that were asked for. `rank` counts from 1,
            `distance` is 1 - cosine, 0 to 2; `x`, `y` and `edge_l0` are level-0 pixels.
        note: What the user should know; '' if nothing.
    """

    store: Store
    collection: str
    query: Query
    table: pa.Table
    note: str = ""

    def __len__(self) -> int:
        return self.table.num_rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows, nearest first."""
        return iter(self.to_pylist())

    def __repr__(self) -> str:
        return f"<{self.summary()} in collection {self.collection!r} for {self.query.title}>"

    def summary(self) -> str:
        """How much was found, in words: '10 tiles of 3 slides of 2 patients'."""
        slides = set(self.table["slide_id"].to_pylist())
        patients = set(self.table["patient"].to_pylist()) - {None}
        counts = [counted(len(self), "tile"), counted(len(slides), "slide"), counted(len(patients), "patient")]
        return " of ".join(counts[: 3 if patients else 2 if slides else 1])

    def to_pylist(self) -> list[dict[str, Any]]:
        """The rows as dictionaries."""
        return self.table.to_pylist()
