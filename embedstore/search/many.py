"""Searches for many queries at once."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.cores import cores
from embedstore.errors import QueryError
from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.search.filters import select_tiles
from embedstore.search.hot import MOST_NEIGHBOURS, HotIndex, Passing, WarmCollection
from embedstore.search.hot.filtering import passing_rows, without_slides
from embedstore.search.neighbours import (
    NeighbourSearch,
    SlideColumns,
    check_columns,
    index_of,
    require_tiles,
)
from embedstore.search.parallel import parallel_map
from embedstore.search.queries import ManyQueries, Query
from embedstore.search_config import SearchConfig
from embedstore.store import Collection, Patients, Store

#: Queries after which the progress is told.
BLOCK_QUERIES = 2048


def search_many(
    store: Store,
    collection: Collection,
    queries: ManyQueries,
    config: SearchConfig,
    *,
    warm: WarmCollection | None = None,
    on_progress: OnProgress = no_progress,
) -> pa.Table:
    """The nearest tiles of each of many queries; a query's own tile is left out.

    Args:
        collection: Pinned, as it was when the queries were made.
        config: Without `per_slide` and `diverse`.
        warm: See `search`.
    Returns:
        A row for each neighbour: `query` (counted from 0), `query_tile_id` where queries are tiles, and the columns of
        `Hits.table`; of each query the nearest first, `rank` from 1.
    Raises:
        ConfigError, QueryError: as `search`.
    """
    check_columns(store, config.columns)
    slides = SlideColumns(store, config.columns)
    require_tiles(collection)
    index = index_of(warm, collection, config) if config.k < MOST_NEIGHBOURS else None
    parts = (
        _lance(store, collection, queries, config) if index is None else _hot(store, collection, queries, config, index)
    )
    tables, of_query, done = [], [], 0
    for query, tiles in parts:
        tables.append(tiles)
        of_query.append(query)
        done += len(np.unique(query))
        on_progress(Progress(stage="search", done=done, total=len(queries), unit="queries"))
    query = np.concatenate(of_query)
    order = np.argsort(query, kind="stable")
    query = query[order]
    hits = slides.beside(pa.concat_tables(tables).take(pa.array(order)))
    rank = np.arange(len(query)) - np.searchsorted(query, query) + 1
    columns = {"query": pa.array(query, pa.int64())}
    if queries.tile_ids is not None:
        columns["query_tile_id"] = pa.array(queries.tile_ids[query], pa.int64())
    columns |= dict(zip(hits.column_names, hits.columns, strict=True)) | {"rank": pa.array(rank, pa.int64())}
    return pa.table(columns)


#: Some queries, one for each row of a table, nearest first; and the rows, as `nearest_tiles` has them.
_Part = tuple[NDArray[np.int64], pa.Table]


def _lance(store: Store, collection: Collection, queries: ManyQueries, config: SearchConfig) -> Iterator[_Part]:
    """One search a query, on several threads."""
    selection = select_tiles(store, collection, config.where)
    excluded = _excluded(store, queries, config)

    def find(number: int) -> _Part:
        own = queries.tile_ids[number : number + 1] if queries.tile_ids is not None else np.empty(0, np.int64)
        query = Query(vector=queries.vectors[number], title=f"query {number}", tile_ids=own)
        tiles, _ = NeighbourSearch(collection, query, selection, excluded[number], config).run()
        return np.full(len(tiles), number), tiles

    yield from parallel_map(find, range(len(queries)))


def _hot(
    store: Store, collection: Collection, queries: ManyQueries, config: SearchConfig, index: HotIndex
) -> Iterator[_Part]:
    """Searches in blocks, each of queries for which the same rows pass."""
    passing = passing_rows(index, store, collection, config.where)
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, slides in enumerate(_excluded(store, queries, config)):
        groups.setdefault(slides, []).append(number)
    for slides, numbers in groups.items():
        left = without_slides(index, passing, slides)
        for start in range(0, len(numbers), BLOCK_QUERIES):
            yield _block(index, queries, np.array(numbers[start : start + BLOCK_QUERIES]), left, config.k)


def _block(index: HotIndex, queries: ManyQueries, numbers: NDArray[np.int64], passing: Passing | None, k: int) -> _Part:
    own = queries.tile_ids is not None
    rows, distance = index.nearest_of_many(queries.vectors[numbers], k + own, passing, threads=cores())
    kept = rows >= 0
    if queries.tile_ids is not None:
        kept &= index.rows.tile_id[rows] != queries.tile_ids[numbers, None]
        kept &= np.cumsum(kept, axis=1) <= k
    return np.repeat(numbers, kept.sum(axis=1)), index.table(rows[kept], distance[kept])


def _excluded(store: Store, queries: ManyQueries, config: SearchConfig) -> list[tuple[str, ...]]:
    """The slides that are left out for each query."""
    if config.exclude_same is None:
        return [()] * len(queries)
    if queries.slides is None:
        raise QueryError(
            f"queries by vectors are of no slide, so tiles of the same {config.exclude_same} cannot be left out; "
            "search by ids of tiles, or leave exclude_same out"
        )
    if config.exclude_same == "slide":
        return [(slide,) for slide in queries.slides]
    patients = Patients(store)
    of_slide = {slide: tuple(patients.require_slides_with_same([slide])) for slide in set(queries.slides)}
    return [of_slide[slide] for slide in queries.slides]
