"""Turn what a user has, such as a tile's id, a place, an image or a vector, into a query."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embedstore.query_vector import FORMATS, existing_file, no_query, numbers_of, whole_number
from embedstore.search.queries.image_query import image_query
from embedstore.search.queries.query import Query
from embedstore.search.queries.tile_query import place_query, tile_query
from embedstore.search.queries.vector_file import vector_query
from embedstore.store import Collection, Store, StoredTile


def to_query(
    store: Store,
    collection: Collection,
    example: Any,
    *,
    tile_of: Callable[[int], StoredTile | None] | None = None,
) -> Query:
    """Make a query of an example.

    Args:
        example: A tile's id, its row, (slide, x, y) in level-0 pixels, a vector, the path of an image or of a vector,
            or a query, which is returned as it is.
        tile_of: See `tile_query`.
    Raises:
        QueryError: the example is none of these.
        TileNotFoundError: the collection has no such tile.
    """
    if isinstance(example, Query):
        return example
    if isinstance(example, (int, np.integer)) and not isinstance(example, bool):
        return tile_query(store, collection, int(example), tile_of=tile_of)
    if isinstance(example, Mapping) and "tile_id" in example:
        return tile_query(store, collection, whole_number(example["tile_id"], "the row's tile_id"), tile_of=tile_of)
    if isinstance(example, (str, Path)):
        path = existing_file(example)
        if path.suffix.lower() in FORMATS:
            return vector_query(collection, path)
        return image_query(store, collection, path)
    if isinstance(example, tuple) and len(example) == 3 and isinstance(example[0], str):
        return place_query(
            store, collection, example[0], (whole_number(example[1], "x"), whole_number(example[2], "y"))
        )
    if isinstance(example, (np.ndarray, Sequence)):
        return vector_query(collection, numbers_of(example))
    raise no_query(example)
