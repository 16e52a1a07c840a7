"""The map of a collection as it is now."""

from collections.abc import Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.map_record import MapFacts
from embedstore.store import Collection, Store

#: Columns of a map that users see.
COLUMNS = ("tile_id", "slide_id", "map_x", "map_y")


@dataclass(frozen=True, eq=False)
class TileMap:
    """Tiles on a map, in an order that stays the same while its version does.

    Attributes:
        rows: (n) with tile_id, slide_id, map_x, map_y, placed.
        facts: How it was made, and what is on it.
    """

    rows: pa.Table
    facts: MapFacts

    @property
    def tile_ids(self) -> NDArray[np.int64]:
        """(n,)"""
        return self.rows["tile_id"].to_numpy()

    @cached_property
    def places(self) -> NDArray[np.float32]:
        """(n, 2) float32, about -1 to 1, to the right and upwards."""
        return np.stack([self.rows[axis].to_numpy() for axis in ("map_x", "map_y")], axis=1)

    @cached_property
    def slide_names(self) -> tuple[str, ...]:
        """Its slides, in the order of the codes of `slide_codes`."""
        return tuple(self._slides.dictionary.to_pylist())

    @cached_property
    def slide_codes(self) -> NDArray[np.uint32]:
        """(n,) of each tile its slide, as an index into `slide_names`."""
        return self._slides.indices.to_numpy().astype(np.uint32)

    @cached_property
    def _slides(self) -> pa.DictionaryArray:
        return self.rows["slide_id"].combine_chunks().dictionary_encode()


def read_map(store: Store, collection: Collection, *, slides: Set[str] | None = None) -> TileMap:
    """The tiles on a map that are in the collection now: what was removed from there is on no map.

    Args:
        slides: Only tiles of these slides, as if the collection had no others; of all when None.
    Raises:
        MapNotFoundError: the collection has no map.
    """
    held = store.map(collection.name).pinned()
    pinned = collection.pinned()
    present = pinned.tiles(columns=["tile_id", "slide_id"])
    rows = held.rows().replace_schema_metadata(None)
    if slides is not None:
        chosen = pa.array(sorted(slides), pa.string())
        present, rows = (each.filter(pc.is_in(each["slide_id"], value_set=chosen)) for each in (present, rows))
    rows = rows.filter(pc.is_in(rows["tile_id"], value_set=present["tile_id"]))
    on_map, in_collection = (set(each["slide_id"].unique().to_pylist()) for each in (rows, present))
    facts = MapFacts(
        record=held.record(),
        version=f"{held.version()}-{pinned.dataset().version}",
        tiles=len(rows),
        placed=int(pc.sum(rows["placed"]).as_py() or 0),
        slides=len(on_map),
        collection_tiles=len(present),
        new_slides=len(in_collection - on_map),
    )
    return TileMap(rows, facts)
