"""Where the tiles of a collection lie."""

from collections.abc import Collection as AnyOf
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.store.collection import Collection
from embedstore.store.tile import TileLocation


@dataclass(frozen=True, kw_only=True, eq=False)
class TileLocations:
    """Where the tiles of a collection lie, in the table's row order, at one version.

    Attributes:
        version: Of the collection's table.
        row: (n,) int64 position of each tile in the table, ascending.
        tile_id: (n,) int64.
        slide: (n,) int32 index into `slides`.
        slides: Ids of the slides, in the order in which they come in the table.
        xy_l0: (n, 2) int32 top-left corners, level-0 pixels; zeros for ready-made tiles.
        edge_l0: (n,) int32 edges, level-0 pixels; 0 for ready-made tiles.
        names: (n,) object, the file of a ready-made tile, None of others; None if no tile has one.
        collection: Name of the collection.
    """

    version: int
    row: NDArray[np.int64]
    tile_id: NDArray[np.int64]
    slide: NDArray[np.int32]
    slides: tuple[str, ...]
    xy_l0: NDArray[np.int32]
    edge_l0: NDArray[np.int32]
    names: NDArray[np.object_] | None = None
    collection: str = ""

    def __len__(self) -> int:
        return len(self.tile_id)

    def location(self, i: int) -> TileLocation:
        """The location of the i-th tile."""
        x, y = self.xy_l0[i].tolist()
        name = None if self.names is None else self.names[i]
        return TileLocation(int(self.tile_id[i]), self.slides[self.slide[i]], x, y, int(self.edge_l0[i]), name)

    @property
    def is_ready_made(self) -> NDArray[np.bool_]:
        """(n,) whether each is a ready-made tile, which has a file name and no location."""
        if self.names is None:
            return np.zeros(len(self), bool)
        return np.array([name is not None for name in self.names], bool)

    def describe(self, i: int) -> str:
        """A tile's location as text for users."""
        slide_id = self.slides[self.slide[i]]
        if self.names is not None and self.names[i] is not None:
            return f"slide {slide_id}, {self.names[i]}"
        x, y = self.xy_l0[i]
        return f"slide {slide_id} at {x}, {y}"


def read_tile_locations(collection: Collection, *, slides: AnyOf[str] | None = None) -> TileLocations:
    """Read where the tiles of a collection lie, without their vectors.

    Args:
        slides: Only tiles of these slides; of all when None.
    Raises:
        CollectionNotFoundError: the store has no such collection.
    """
    dataset = collection.dataset()
    n = dataset.count_rows()
    row, tile_id = np.empty(n, np.int64), np.empty(n, np.int64)
    slide, edge_l0, xy_l0 = np.empty(n, np.int32), np.empty(n, np.int32), np.empty((n, 2), np.int32)
    names: NDArray[np.object_] | None = None
    wanted = None if slides is None else pa.array(sorted(slides), pa.string())
    number: dict[str, int] = {}  # of each slide
    read = end = 0
    # Batch by batch: the ids of slides as text, of all rows at once, would take three times the memory of the result.
    for batch in dataset.to_batches(columns=["tile_id", "slide_id", "x", "y", "edge_l0", "name"]):
        rows = np.arange(read, read + len(batch))
        read += len(batch)
        if wanted is not None:  # faster than a filter on many slides
            chosen = pc.is_in(batch.column("slide_id"), value_set=wanted)
            batch, rows = batch.filter(chosen), rows[chosen.to_numpy(zero_copy_only=False)]
        part = slice(end, end + len(batch))
        end = part.stop
        encoded = batch.column("slide_id").dictionary_encode()
        numbers = [number.setdefault(slide_id, len(number)) for slide_id in encoded.dictionary.to_pylist()]
        row[part], tile_id[part] = rows, batch.column("tile_id").to_numpy()
        slide[part] = np.array(numbers, np.int32)[encoded.indices.to_numpy()]
        xy_l0[part, 0], xy_l0[part, 1] = batch.column("x").to_numpy(), batch.column("y").to_numpy()
        edge_l0[part] = batch.column("edge_l0").to_numpy()
        name = batch.column("name")
        if name.null_count < len(name):
            names = np.full(n, None, object) if names is None else names
            names[part] = name.to_numpy(zero_copy_only=False)
    return TileLocations(
        version=dataset.version,
        row=row[:end],
        tile_id=tile_id[:end],
        slide=slide[:end],
        slides=tuple(number),
        xy_l0=xy_l0[:end],
        edge_l0=edge_l0[:end],
        names=None if names is None else names[:end],
        collection=collection.name,
    )


def locations_of(rows: pa.Table, *, row: NDArray[np.int64], version: int, collection: str) -> TileLocations:
    """The locations of rows of a collection, which have at least tile_id, slide_id, x, y, edge_l0 and name."""
    encoded = rows.column("slide_id").combine_chunks().dictionary_encode()
    names = rows.column("name")
    return TileLocations(
        version=version,
        row=row,
        tile_id=rows.column("tile_id").to_numpy(),
        slide=encoded.indices.to_numpy().astype(np.int32),
        slides=tuple(encoded.dictionary.to_pylist()),
        xy_l0=np.stack([rows.column(axis).to_numpy() for axis in ("x", "y")], axis=1),
        edge_l0=rows.column("edge_l0").to_numpy(),
        names=None if names.null_count == len(names) else names.to_numpy(),
        collection=collection,
    )
