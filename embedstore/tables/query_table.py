"""Many queries as a user gives them: vectors, or ids of tiles, as arrays, tables or files."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.errors import QueryError
from embedstore.tables.user_table import read_table

TABLES = (".csv", ".tsv", ".txt", ".xlsx", ".parquet")


def given_queries(source: Any) -> tuple[NDArray[Any], str]:
    """The vectors or ids of tiles that a user gives, and their name for people; neither is checked.

    Args:
        source: As for `many_queries`.
    Raises:
        QueryError: the source is nothing of the kind, or there are no queries.
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
    return values, name


def signed_ids(values: NDArray[Any], name: str) -> NDArray[np.int64]:
    """Whole numbers as ids of tiles; raises QueryError where one is none."""
    if values.dtype.kind == "u" and len(values) and values.max() >= 1 << 63:
        raise QueryError(f"{name} holds {values.max()}; ids of tiles are signed 64-bit integers")
    return values.astype(np.int64)


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
