"""One tile of a collection: where it lies, and its row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa


class TileLocation(NamedTuple):
    """Where one tile lies.

    Attributes:
        x, y: Top-left corner, level-0 pixels; 0 for a ready-made tile.
        edge_l0: Edge, level-0 pixels; 0 for a ready-made tile.
        name: The file of a ready-made tile, None of others.
    """

    tile_id: int
    slide_id: str
    x: int
    y: int
    edge_l0: int
    name: str | None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "TileLocation":
        """The location of a row of a collection."""
        return cls(*(row[column] for column in cls._fields))

    @classmethod
    def from_table(cls, table: pa.Table) -> "list[TileLocation]":
        """The locations of the rows of a table with these columns."""
        return list(map(cls, *(table.column(column).to_pylist() for column in cls._fields)))


@dataclass(frozen=True, kw_only=True)
class StoredTile:
    """A row of a collection.

    Attributes:
        collection: Name of the collection.
        location: Where the tile lies.
        tissue: Share of it that is tissue; None where an import does not know it.
        vector: Its embedding.
    """

    collection: str
    location: TileLocation
    tissue: float | None
    vector: list[float]

    @classmethod
    def from_row(cls, row: Mapping[str, Any], *, collection: str) -> "StoredTile":
        """The tile of a row with all columns of a collection."""
        location = TileLocation.from_row(row)
        return cls(collection=collection, location=location, tissue=row["tissue"], vector=row["vector"])

    def as_record(self) -> dict[str, Any]:
        """{column: value}, with the name of the collection under 'collection'."""
        own = {"tissue": self.tissue, "vector": self.vector}
        return {"collection": self.collection, **self.location._asdict(), **own}
