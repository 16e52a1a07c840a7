"""Many queries at once: vectors, or tiles of the collection, as arrays, tables or files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import QueryError, TileNotFoundError, VectorError
from embedstore.sorted_ids import positions_in
from embedstore.store import Collection, read_vectors
from embedstore.tables.query_table import given_queries, signed_ids

BLOCK_ROWS = 8192
SHOWN = 3  # tiles and rows that a message names


@dataclass(frozen=True, kw_only=True, eq=False)
class ManyQueries:
    """n queries.

    Attributes:
        vectors: (n, dim) float32, length 1.
        tile_ids: (n,) int64, the tile of each; None where they are vectors of something else.
        slides: (n,) the slide of each tile; None likewise.
    """

    vectors: NDArray[np.float32]
    tile_ids: NDArray[np.int64] | None = None
    slides: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.vectors)


def many_queries(collection: Collection, source: Any) -> ManyQueries:
    """Queries by vectors of the collection's extractor, or by tiles of the collection.

    Args:
        collection: Pinned.
        source: (n, dim) numbers; n ids of tiles; a table of Arrow, pandas or polars with a column `tile_id` or
            `vector`; or the path of a file with one of these: .npy, .parquet, or .csv, .tsv or .xlsx with a column
            tile_id.
    Raises:
        QueryError: the source is none of these, or there are no queries.
        TileNotFoundError: the collection does not have a tile.
        VectorError: vectors have another dimension, are zero, or not finite; the message names the first.
    """
    values, name = given_queries(source)
    if values.ndim == 1 and values.dtype.kind in "iu":
        return _by_tiles(collection, signed_ids(values, name))
    if values.ndim == 2 and values.dtype.kind in "fiu":
        return ManyQueries(vectors=_directions(values, collection, name))
    raise QueryError(
        f"{name} has shape {values.shape} of {values.dtype}; expected (n, {collection.dim}) numbers, or n ids of tiles"
    )


def _by_tiles(collection: Collection, tile_ids: NDArray[np.int64]) -> ManyQueries:
    wanted, query = np.unique(tile_ids, return_inverse=True)
    known = collection.dataset().to_table(columns=["tile_id"]).column(0).to_numpy()
    at = positions_in(wanted, known)
    rows = np.flatnonzero(at >= 0)
    if len(rows) < len(wanted):
        missing = np.setdiff1d(wanted, known[rows])
        more = f" and {len(missing) - SHOWN} others" if len(missing) > SHOWN else ""
        raise TileNotFoundError(
            f"no tile {', '.join(map(str, missing[:SHOWN]))}{more} in collection {collection.name!r}; "
            "`embedstore ls --tiles` and every export show tile ids"
        )
    vectors = read_vectors(collection, rows, version=collection.dataset().version)
    slides = collection.dataset().take(rows.tolist(), columns=["slide_id"]).column(0).to_pylist()
    place = np.empty(len(wanted), np.int64)
    place[at[rows]] = np.arange(len(rows))
    of_query = place[query]
    return ManyQueries(
        vectors=_directions(vectors[of_query], collection, "the list of tiles"),
        tile_ids=tile_ids,
        slides=[slides[row] for row in of_query.tolist()],
    )


def _directions(values: NDArray[Any], collection: Collection, name: str) -> NDArray[np.float32]:
    """The vectors at length 1."""
    if values.shape[1] != collection.dim:
        raise VectorError(
            f"collection {collection.name!r} has vectors of {collection.dim} values; {name} has {values.shape[1]}; "
            "expected vectors of the same extractor"
        )
    out = np.empty(values.shape, np.float32)
    for start in range(0, len(values), BLOCK_ROWS):
        wide = values[start : start + BLOCK_ROWS].astype(np.float64)  # float32 squares may overflow or vanish
        with np.errstate(over="ignore", invalid="ignore"):
            length = np.linalg.norm(wide, axis=1)
        bad = np.flatnonzero(~np.isfinite(length) | (length == 0))
        if len(bad):
            raise VectorError(
                f"query {start + bad[0]} of {name}, counted from 0, has norm {length[bad[0]]} and so no direction; "
                "expected finite values that are not all 0"
            )
        out[start : start + BLOCK_ROWS] = wide / length[:, None]
    return out
