"""Reads vectors of chosen rows, in the order of the table."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.errors import VectorError
from embedstore.store.collection import Collection
from embedstore.store.schema import batch_rows

#: A smaller share of a table's rows than this is read by offset (58,000 rows/s), a larger one by a scan (3.5 GB/s).
TAKE_SHARE = 0.02
_EXPONENT = np.uint16(0x7C00)  # all ones in a float16 that is infinite or not a number


def read_vectors(
    collection: Collection, rows: NDArray[np.int64], *, version: int, memory_map: Path | None = None
) -> NDArray[np.float16]:
    """Vectors of some rows.

    Args:
        rows: (n,) positions in the table at `version`, ascending.
        memory_map: A file that holds them instead of memory; its directory must exist.
    Returns:
        (n, dim).
    Raises:
        VectorError: a vector holds NaN or infinity; the message names the first tile.
    """
    out = room_for((len(rows), collection.dim), memory_map)
    for part, block in finite_blocks(collection, rows, version):
        out[part] = block
    return out


def finite_blocks(
    collection: Collection, rows: NDArray[np.int64], version: int
) -> Iterator[tuple[slice, NDArray[np.float16]]]:
    """Vectors of some rows, a block of about 8 MB at a time, and which of the rows it is of.

    Arguments and errors as of `read_vectors`.
    """
    done = 0
    for block in vector_blocks(collection, rows, version):
        bad = bad_rows(block)
        if len(bad):
            raise VectorError(_what_is_bad(collection, int(rows[done + bad[0]]), len(bad), version))
        yield slice(done, done + len(block)), block
        done += len(block)
    assert done == len(rows), f"{done} of {len(rows)} rows were found"


def room_for(shape: tuple[int, ...], memory_map: Path | None) -> NDArray[np.float16]:
    """Zeros to write vectors to, in memory or in a file."""
    if memory_map is None:
        return np.zeros(shape, np.float16)
    return np.lib.format.open_memmap(memory_map, mode="w+", dtype=np.float16, shape=shape)


def vector_blocks(collection: Collection, rows: NDArray[np.int64], version: int) -> Iterator[NDArray[np.float16]]:
    """The same a block of about 8 MB at a time, whatever they hold. Arguments as of `read_vectors`."""
    dataset = collection.dataset(version)
    dim = collection.dim
    if len(rows) < TAKE_SHARE * dataset.count_rows():
        for start in range(0, len(rows), batch_rows(dim)):
            taken = dataset.take(rows[start : start + batch_rows(dim)].tolist(), columns=["vector"])
            yield matrix(taken.column(0).combine_chunks(), dim)
        return
    at = 0
    for batch in dataset.to_batches(columns=["vector"], batch_size=batch_rows(dim)):
        low, high = np.searchsorted(rows, (at, at + batch.num_rows))
        if high > low:
            block = matrix(batch.column(0), dim)
            yield block if high - low == batch.num_rows else block[rows[low:high] - at]
        at += batch.num_rows


def matrix(column: pa.FixedSizeListArray, dim: int) -> NDArray[np.float16]:
    """A column of vectors as (n, dim), without a copy."""
    return column.flatten().to_numpy(zero_copy_only=True).reshape(-1, dim)


def bad_rows(block: NDArray[np.float16]) -> NDArray[np.intp]:
    """Rows of (n, dim) that hold NaN or infinity."""
    bits = np.ascontiguousarray(block).view(np.uint16)
    return np.flatnonzero(((bits & _EXPONENT) == _EXPONENT).any(axis=1))


def _what_is_bad(collection: Collection, row: int, count: int, version: int) -> str:
    columns = ["slide_id", "x", "y", "name"]
    tile = collection.dataset(version).take([row], columns=columns).to_pylist()[0]
    place = tile["name"] or f"{tile['x']}, {tile['y']}"
    return (
        f"collection {collection.name!r}: the vector of slide {tile['slide_id']!r} at {place} holds NaN or infinity "
        f"({count} such in its batch); expected finite float16; the extractor overflows half precision there: ingest "
        "the slide again with --force in another precision, or remove it with `embedstore rm`"
    )
