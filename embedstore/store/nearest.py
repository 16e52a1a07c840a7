"""Nearest neighbours of a vector among the tiles of a collection."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import lance
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.config import require
from embedstore.errors import ConfigError
from embedstore.query_vector import unit_vector
from embedstore.search_config import IndexSearchConfig
from embedstore.store.collection import Collection
from embedstore.store.sql import clipped, lance_reason
from embedstore.store.vectors import matrix

#: Columns of a result unless others are chosen; `distance` (1 - cosine, 0 to 2) is added to them.
TILE_COLUMNS = ("tile_id", "slide_id", "x", "y", "edge_l0", "name", "tissue")
#: Rows that pass a filter are counted up to this number; filters that more rows pass are left to the index.
FEW_ROWS = 20_000
#: Time to read a vector from a local disk, µs: next to the one read before, and on its own.
ROW_US, RUN_US = 0.5, 9.0
#: Longest that comparing vectors one by one may take, µs.
COMPARE_US = 50_000.0
#: Rows in at most this many runs, such as those of a few slides, are compared by Lance if an index on slides or tiles
#: finds them: 10,000 in 6 ms.
FEW_RUNS = 64
#: If a smaller share of the rows passes a filter, more partitions are probed, in proportion.
PROBE_SHARE = 0.01
#: As many partitions as an index may have at most.
ALL_PROBES = 1 << 16
#: Lance's distances of float16 vectors have errors of up to 1e-4, which reorder neighbours at a distance of 0.005. So
#: Lance is asked for this many more than k, and all are ranked again in float32.
SPARE = 8


def nearest_tiles(
    collection: Collection,
    vector: NDArray[np.floating],
    *,
    k: int,
    where: str | None = None,
    columns: Sequence[str] = TILE_COLUMNS,
    index_search: IndexSearchConfig | None = None,
) -> pa.Table:
    """The k tiles whose vectors have the smallest cosine distance to a vector, nearest first.

    Rows that are not in the index yet are compared exactly. The filter is applied before the search: the result is the
    k nearest of the rows that pass. If few rows pass, their vectors are compared one by one, because the probed
    partitions might hold none of them.

    Args:
        vector: (dim,), of any norm.
        where: SQL over the columns of the collection.
        columns: Columns of the result, which may include `vector`.
        index_search: How an index is searched; the defaults when None.
    Returns:
        Up to k rows with `columns` and `distance`, float32, 1 - cosine. Tiles whose vector is zero are never found.
    Raises:
        ConfigError: k is below 1, or `where` cannot be understood.
        VectorError: the vector has another shape, is zero, or is not finite.
    """
    require(k >= 1, f"k is {k}; expected 1 or more neighbours")
    index_search = index_search or IndexSearchConfig()
    dataset = collection.dataset()
    direction = unit_vector(vector, collection.dim, where=f"collection {collection.name!r}")
    try:
        nprobes, indexed = index_search.nprobes, not index_search.exact and _has_index(dataset)
        if where is not None and indexed:
            few = _few_rows(dataset, where)
            if few is not None and _is_quick(few):
                if _runs(few) > FEW_RUNS or not _is_indexed(dataset, where):
                    return _compare(dataset, direction, k, few, where, columns)
                index_search, indexed = replace(index_search, exact=True), False  # Lance reads these rows only
            elif few is not None:
                share = len(few) / dataset.count_rows()
                nprobes = round(index_search.nprobes * min(max(PROBE_SHARE / share, 1), 10))
        found = _search(dataset, direction, k, where, columns, index_search, nprobes)
        if indexed and len(found) < min(k, dataset.count_rows()):
            # The probed partitions hold too few rows that pass: probe all partitions.
            found = _search(dataset, direction, k, where, columns, index_search, ALL_PROBES)
        return found
    except ValueError as error:
        if where is None:
            raise
        raise _cannot_filter(collection, where, error) from error


def addresses_where(collection: Collection, where: str) -> NDArray[np.int64]:
    """The addresses of the rows that pass a filter: the number of their fragment x 2^32 + their position in it.

    Raises:
        ConfigError: `where` cannot be understood.
    """
    try:
        found = collection.dataset().to_table(columns=["_rowaddr"], filter=where)
    except ValueError as error:
        raise _cannot_filter(collection, where, error) from error
    return found.column(0).to_numpy().astype(np.int64)


def _cannot_filter(collection: Collection, where: str, error: ValueError) -> ConfigError:
    return ConfigError(
        f"the tiles of collection {collection.name!r} cannot be filtered by {clipped(where)!r}: "
        f"{lance_reason(error)}; the columns are {', '.join(collection.schema.names)}"
    )


def _search(
    dataset: lance.LanceDataset,
    direction: NDArray[np.float32],
    k: int,
    where: str | None,
    columns: Sequence[str],
    index_search: IndexSearchConfig,
    nprobes: int,
) -> pa.Table:
    """Search with Lance: through the index, and exactly for rows that are not in it."""
    nearest: dict[str, Any] = {
        "column": "vector",
        "q": direction,
        "k": k + SPARE,
        "metric": "cosine",
        "nprobes": nprobes,
        "refine_factor": index_search.refine_factor,
        "use_index": not index_search.exact,
    }
    # The columns of the result are read for the k nearest only, which halves the reads of a query.
    ranking = ["_rowoffset", "vector", "_distance"]
    found = dataset.to_table(columns=ranking, nearest=nearest, filter=where, prefilter=True)
    distance = cosine_distances(matrix(found["vector"].combine_chunks(), len(direction)), direction)
    return _taken(dataset, found["_rowoffset"].to_numpy(), distance, k, columns)


def _has_index(dataset: lance.LanceDataset) -> bool:
    return any("vector" in each.field_names for each in dataset.describe_indices())


def _few_rows(dataset: lance.LanceDataset, where: str) -> NDArray[np.int64] | None:
    """Offsets of the rows that pass, in the order of a scan; None if there are more than `FEW_ROWS`."""
    found = dataset.to_table(columns=["_rowoffset"], filter=where, limit=FEW_ROWS + 1)
    return None if len(found) > FEW_ROWS else found.column(0).to_numpy().astype(np.int64)


def _is_quick(rows: NDArray[np.int64]) -> bool:
    """Whether comparing these rows one by one takes at most about 50 ms."""
    return _runs(rows) * RUN_US + len(rows) * ROW_US <= COMPARE_US


def _runs(rows: NDArray[np.int64]) -> int:
    """Number of runs of consecutive rows."""
    return int((np.diff(rows) != 1).sum()) + 1


def _is_indexed(dataset: lance.LanceDataset, where: str) -> bool:
    """Whether Lance finds the rows that pass through an index on slides or tiles, without reading a column."""
    return "ScalarIndexQuery" in dataset.scanner(columns=["vector"], filter=where).explain_plan()


def _compare(
    dataset: lance.LanceDataset,
    direction: NDArray[np.float32],
    k: int,
    rows: NDArray[np.int64],
    where: str,
    columns: Sequence[str],
) -> pa.Table:
    """Compare the vectors of the rows that pass with NumPy."""
    vectors = dataset.to_table(columns=["vector"], filter=where).column(0).combine_chunks()
    distance = cosine_distances(matrix(vectors, len(direction)), direction)
    return _taken(dataset, rows, distance, k, columns)


def cosine_distances(vectors: NDArray[np.float16], direction: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine distances, in float32; NaN for vectors that are zero or not finite."""
    wide = vectors.astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Not `@`: BLAS would start its threads for a few milliseconds of work, and they would compete with other work.
        return 1 - np.einsum("ij,j->i", wide, direction) / np.sqrt(np.einsum("ij,ij->i", wide, wide))


def _taken(
    dataset: lance.LanceDataset,
    rows: NDArray[np.integer],
    distance: NDArray[np.float32],
    k: int,
    columns: Sequence[str],
) -> pa.Table:
    """The k nearest of some rows, given by their offsets; nearest first."""
    order = np.argsort(distance, kind="stable")[:k]
    order = order[np.isfinite(distance[order])]
    taken = dataset.take(rows[order].tolist(), columns=list(columns))
    return taken.append_column(pa.field("distance", pa.float32()), pa.array(distance[order], pa.float32()))
