"""Many queries at once: vectors, or tiles of the collection, as arrays, tables or files."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.errors import QueryError, TileNotFoundError, VectorError
from embedstore.sorted_ids import positions_in
from embedstore.store import Collection, read_vectors
from embedstore.tables import read_table

TABLES = (".csv", ".tsv", ".txt", ".xlsx", ".parquet")
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
    name = "the list of queries"
    if isinstance(source, str | Path):
        source, name = _read(Path(source)), f"{source}"
    if hasattr(source, "__arrow_c_stream__"):
        source = _of_table(pa.table(source), name)
    elif hasattr(source, "columns") and hasattr(source, "to_numpy"):  # older pandas
        source = _of_table(pa.Table.from_pandas(source), name)
    values = source if isinstance(source, np.ndarray) else _array(source, name)
    if values.size == 0:
        raise QueryError(f"{name} holds no query; expected vectors or ids of tiles")
    if values.ndim == 1 and values.dtype.kind in "iu":
        return _by_tiles(collection, _ids(values, name))
    if values.ndim == 2 and values.dtype.kind in "fiu":
        return ManyQueries(vectors=_directions(values, collection, name))
    raise QueryError(
        f"{name} has shape {values.shape} of {values.dtype}; expected (n, {collection.dim}) numbers, or n ids of tiles"
    )


def _read(path: Path) -> Any:
    try:
        if path.suffix.lower() == ".npy":
            return np.lib.format.read_array(io.BytesIO(path.read_bytes()), allow_pickle=False)
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet

            return pyarrow.parquet.read_table(path)
    except OSError as error:
        raise QueryError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, MemoryError, pa.ArrowException) as error:
        raise QueryError(f"{path} cannot be read: {error}") from error
    if path.suffix.lower() not in TABLES:
        raise QueryError(f"{path} ends in {path.suffix or 'nothing'}; expected .npy, {', '.join(TABLES)}")
    table = read_table(path, error=QueryError)
    column = table.find("tile_id")
    if column is None:
        raise table.error(f"has no column tile_id, but {', '.join(table.names)}; give vectors as .npy or .parquet")
    ids = table.integers(column)
    if None in ids:
        raise table.error("has no tile_id", [row for row, value in enumerate(ids) if value is None])
    return _array(ids, str(path))


def _of_table(table: pa.Table, name: str) -> NDArray[Any]:
    """Its tile ids, else its vectors."""
    for column in ("tile_id", "vector"):
        if column not in table.column_names:
            continue
        values = table.column(column).combine_chunks()
        if values.null_count:
            raise QueryError(f"{name} has {values.null_count} row(s) without {column}")
        if column == "tile_id":
            return values.to_numpy(zero_copy_only=False)
        if pa.types.is_fixed_size_list(values.type):
            return values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), -1)
        return _array(values.to_pylist(), name)
    raise QueryError(f"{name} has the columns {', '.join(table.column_names)}; expected tile_id or vector")


def _array(values: Any, name: str) -> NDArray[Any]:
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise QueryError(
            f"{name} is a {type(values).__name__}; expected an array of vectors, ids of tiles, a table with a column "
            "tile_id or vector, or the path of one"
        )
    try:
        return np.asarray(values)
    except ValueError as error:  # rows of several lengths
        raise QueryError(f"{name} holds rows of several lengths; expected vectors of one extractor") from error


def _ids(values: NDArray[Any], name: str) -> NDArray[np.int64]:
    if values.dtype.kind == "u" and len(values) and values.max() >= 1 << 63:
        raise QueryError(f"{name} holds {values.max()}; ids of tiles are signed 64-bit integers")
    return values.astype(np.int64)


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
