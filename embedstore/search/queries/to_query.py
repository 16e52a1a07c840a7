"""From what a notebook user has at hand to a query."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embedstore.errors import QueryError
from embedstore.search.queries.image_query import image_query
from embedstore.search.queries.query import Query
from embedstore.search.queries.tile_query import place_query, tile_query
from embedstore.search.queries.vector_file import FORMATS, vector_query
from embedstore.store import Collection, Store


def to_query(store: Store, collection: Collection, what: Any) -> Query:
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
        return tile_query(store, collection, _whole(what["tile_id"], "the row's tile_id"))
    if isinstance(what, (str, Path)):
        path = Path(what)
        if path.suffix.lower() in FORMATS:
            return vector_query(collection, path)
        return image_query(store, collection, path)
    if isinstance(what, tuple) and len(what) == 3 and isinstance(what[0], str):
        return place_query(store, collection, what[0], (_whole(what[1], "x"), _whole(what[2], "y")))
    if isinstance(what, (np.ndarray, Sequence)):
        return vector_query(collection, _numbers(what))
    raise QueryError(
        f"a {type(what).__name__} cannot be searched by; expected a tile's id, (slide, x, y), a vector, the path of an "
        "image or a vector, or a Query"
    )


def _whole(value: Any, name: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise QueryError(f"{name} is {value!r}; expected a whole number") from error


def _numbers(values: np.ndarray | Sequence[Any]) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError as error:  # rows of several lengths
        raise QueryError(f"a list that is searched by is no vector: {error}; expected one list of numbers") from error
