"""From what a notebook user has at hand to a query."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embedstore.errors import QueryError
from embedstore.search.image_query import image_query
from embedstore.search.query import Query
from embedstore.search.tile_query import place_query, tile_query
from embedstore.search.vector_file import vector_query
from embedstore.store import Collection, Store

VECTOR_FILES = (".npy", ".csv", ".txt", ".json")


def as_query(store: Store, collection: Collection, what: Any) -> Query:
    """A query from any of: a tile's id, its row, (slide, x, y), a vector, a file of a vector, an image file, a query.

    Raises:
        QueryError: it is none of these.
        TileNotFoundError: there is no such tile.
    """
    if isinstance(what, Query):
        return what
    if isinstance(what, (int, np.integer)) and not isinstance(what, bool):
        return tile_query(store, collection, int(what))
    if isinstance(what, dict) and "tile_id" in what:
        return tile_query(store, collection, int(what["tile_id"]))
    if isinstance(what, (str, Path)):
        path = Path(what)
        if path.suffix.lower() in VECTOR_FILES:
            return vector_query(collection, path)
        return image_query(store, collection, path)
    if isinstance(what, tuple) and len(what) == 3 and isinstance(what[0], str):
        return place_query(store, collection, what[0], (int(what[1]), int(what[2])))
    if isinstance(what, (np.ndarray, Sequence)):
        return vector_query(collection, np.asarray(what))
    raise QueryError(
        f"a {type(what).__name__} cannot be searched by; expected a tile's id, (slide, x, y), a vector, the path of an "
        "image or a vector, or a Query"
    )
