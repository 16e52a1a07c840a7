"""The hits of a search: the nearest tiles, as a table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from embedstore.config import TilingConfig
from embedstore.search.queries.query import Query, counted
from embedstore.store import SlideRow, Store, TileLocation

#: The columns of every table of hits, in this order; the user's own columns follow.
HIT_COLUMNS = (
    "rank", "distance", "tile_id", "slide_id", "patient", "x", "y", "edge_l0", "name", "tissue",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One of the hits.

    Attributes:
        rank: Counted from 1.
        distance: 1 - cosine, 0 to 2.
        patient: Patient of the slide; None where it is not known.
        more: Further columns: tissue, and columns of slides that were requested.
    """

    rank: int
    distance: float
    tile: TileLocation
    patient: str | None
    more: Mapping[str, Any]

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Hit":
        own = {"rank", "distance", "patient", *TileLocation._fields}
        return cls(
            rank=row["rank"],
            distance=row["distance"],
            tile=TileLocation.from_row(row),
            patient=row["patient"],
            more={name: value for name, value in row.items() if name not in own},
        )


class HitsAtService(Protocol):
    """What showing hits needs of a collection that a service searched."""

    def tiling(self) -> TilingConfig:
        """How its slides were cut into tiles."""

    def slides(self, slide_ids: Sequence[str]) -> Mapping[str, SlideRow]:
        """Rows of slides, by their ids."""

    def pictures(self, tiles: Sequence[TileLocation]) -> list[np.ndarray | str]:
        """(height, width, 3) uint8 RGB of each tile, or a few words on why there is no picture."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Hits:
    """The tiles that a search found, nearest first.

    Attributes:
        store: The store that was searched, or what a service gives of it.
        collection: Name of the collection.
        query: The query.
        table: A row for each tile: `HIT_COLUMNS`, then columns of slides that were requested. `rank` counts from 1,
            `distance` is 1 - cosine, 0 to 2; `x`, `y` and `edge_l0` are level-0 pixels.
        note: What the user should know; '' if nothing.
    """

    store: Store | HitsAtService
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
        """The number of hits in words: '10 tiles of 3 slides of 2 patients'."""
        slides = set(self.table["slide_id"].to_pylist())
        patients = set(self.table["patient"].to_pylist()) - {None}
        counts = [counted(len(self), "tile"), counted(len(slides), "slide"), counted(len(patients), "patient")]
        return " of ".join(counts[: 3 if patients else 2 if slides else 1])

    def first(self, n: int) -> list[Hit]:
        """The n nearest."""
        return [Hit.from_row(row) for row in self.table.slice(0, n).to_pylist()]

    def to_pylist(self) -> list[dict[str, Any]]:
        """The rows as dictionaries."""
        return self.table.to_pylist()
