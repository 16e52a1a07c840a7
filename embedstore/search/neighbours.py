"""Search: the nearest tiles of a query that pass a filter, if wanted from different slides or unlike each other."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.errors import ConfigError, QueryError
from embedstore.search.diversity import first_of_each, marginal_relevance
from embedstore.search.filters.selection import Selection, select_tiles
from embedstore.search.hits import HIT_COLUMNS, Hits
from embedstore.search.hot import MOST_NEIGHBOURS, HotIndex, Passing, WarmCollection
from embedstore.search.hot.filtering import passing_rows, without_slides
from embedstore.search.queries.query import Query, unit_rows
from embedstore.search_config import IndexSearchConfig, SearchConfig
from embedstore.sorted_ids import positions_in
from embedstore.store import Collection, Patients, Store, nearest_tiles
from embedstore.store.nearest import TILE_COLUMNS
from embedstore.store.sql import sql_in
from embedstore.store.vectors import matrix

#: Tile ids are given to Lance as a list up to here: 10,000 cost 24 ms. More are looked up among the neighbours.
LISTED_IDS = 20_000
#: Where too few neighbours remain, up to so many ids are given to Lance after all: 200,000 cost 1.9 s.
MAX_LISTED = 500_000
#: Neighbours that differ are chosen among so many times k.
DIVERSE_AMONG = 10
#: Neighbours fetched at most, where a slide may have only a few, or the filter is a long list of tiles.
MAX_FETCHED = 50_000


def search(
    store: Store,
    collection: Collection,
    query: Query,
    config: SearchConfig | None = None,
    *,
    warm: WarmCollection | None = None,
) -> Hits:
    """Find the tiles of a collection that are nearest to a query, by the cosine of their embeddings.

    The query's own tiles are left out. The filter is applied before the search: the nearest of the tiles that pass are
    found. The search reads one version of the collection: of a slide that a run commits meanwhile, it sees all tiles
    or none.

    Args:
        warm: Answers instead of Lance, if its index is of the version that is searched.
    Raises:
        ConfigError: the filter is not valid, or a column does not exist.
        QueryError: the collection is empty, or slides of the query's patient are to be left out and it is not known.
        VectorError: the query is of another extractor.
    """
    config = config or SearchConfig()
    # In this order: a run records a slide before its tiles, so that the ledger knows every slide of the pinned tiles.
    collection = collection.pinned()
    index = index_of(warm, collection, config)
    check_columns(store, config.columns)
    slides = SlideColumns(store, config.columns)
    if index is None:
        require_tiles(collection)
    excluded = _excluded(store, query, config.exclude_same)
    try:
        if index is None:
            selection = select_tiles(store, collection, config.where)
            tiles, note = NeighbourSearch(collection, query, selection, excluded, config).run()
        else:
            passing = without_slides(index, passing_rows(index, store, collection, config.where), excluded)
            tiles, note = _HotSearch(collection, query, index, passing, config).run()
    except _FarDown:
        return search(store, collection, query, config)
    table = slides.beside(tiles)
    return Hits(store=store, collection=collection.name, query=query, table=table, note=note)


def index_of(warm: WarmCollection | None, collection: Collection, config: SearchConfig) -> HotIndex | None:
    """The hot index that can answer for a pinned collection; None where there is none, or Lance's index is asked for.

    An empty collection has none, so that the error is the same.
    """
    if warm is None or config.index_search != IndexSearchConfig():
        return None
    index = warm.index_at(collection.dataset().version)
    return index if index is not None and index.rows.living else None


class NeighbourSearch:
    """Fetches neighbours until enough of them pass every condition."""

    def __init__(
        self, collection: Collection, query: Query, selection: Selection, excluded: Sequence[str], config: SearchConfig
    ):
        self._collection, self._query, self._config = collection, query, config
        self._allowed = selection.tile_ids
        self._excluded = np.unique(np.asarray(query.tile_ids, np.int64))
        clauses = [f"({selection.where})"] if selection.where is not None else []
        if excluded:
            clauses.append(f"NOT {sql_in('slide_id', excluded)}")
        if self._allowed is not None and len(self._allowed) <= LISTED_IDS:
            clauses.append(_id_list(self._allowed))
            self._allowed = None
        if LISTED_IDS >= len(self._excluded) > config.k:
            clauses.append(f"NOT {_id_list(self._excluded)}")
            self._excluded = self._excluded[:0]
        self._where = " AND ".join(clauses) or None

    def run(self) -> tuple[pa.Table, str]:
        """Up to k rows with a distance, and a note for the user or ''."""
        config = self._config
        wanted = config.k * (DIVERSE_AMONG if config.diverse else 1)
        fetch = self._first_fetch(wanted)
        while True:
            nearest = self._fetch(fetch)
            exhausted = nearest.num_rows < fetch
            kept = self._kept(nearest)
            if len(kept) >= wanted or exhausted:
                break
            if fetch < MAX_FETCHED:
                fetch = min(fetch * 4, MAX_FETCHED)
            elif self._list_all():  # tiles that pass are far from the query, or near tiles are its own
                fetch = self._first_fetch(wanted)
            else:
                break
        chosen = nearest.take(kept[:wanted])
        if config.diverse and chosen.num_rows:
            vectors = unit_rows(matrix(chosen["vector"].combine_chunks(), self._collection.dim))
            order = marginal_relevance(vectors, chosen["distance"].to_numpy(), config.k, weight=config.diverse)
            chosen = chosen.take(order)
        note = self._note(chosen.num_rows, "no more tiles pass" if exhausted else f"looked at the nearest {fetch}")
        return chosen.slice(0, min(config.k, chosen.num_rows)), note

    def _note(self, found: int, reason: str) -> str:
        k = self._config.k
        return "" if found >= k else f"{found} of {k} neighbours were found: {reason}"

    def _first_fetch(self, wanted: int) -> int:
        fetch = wanted + len(self._excluded)
        if self._config.per_slide is not None:
            fetch *= 4
        if self._allowed is not None:
            fetch = math.ceil(fetch * 1.5 * len(self._collection) / len(self._allowed)) + 10
        return min(fetch, MAX_FETCHED)

    def _list_all(self) -> bool:
        """Give Lance the ids as a list after all; False where that does not help, or they are too many."""
        if self._allowed is not None:
            listed, negation = np.setdiff1d(self._allowed, self._excluded, assume_unique=True), ""
        elif len(self._excluded) > self._config.k:
            listed, negation = self._excluded, "NOT "
        else:  # its own tiles are too few to hide others
            return False
        if len(listed) > MAX_LISTED:
            return False
        clause = f"{negation}{_id_list(listed)}"
        self._where = clause if self._where is None else f"{self._where} AND {clause}"
        self._allowed, self._excluded = None, self._excluded[:0]
        return True

    def _fetch(self, k: int) -> pa.Table:
        columns = [*TILE_COLUMNS, *(["vector"] if self._config.diverse else [])]
        index_search = self._config.index_search
        if k > 100 * self._config.k:  # far down the list the order of the index is good enough
            refine_factor = min(index_search.refine_factor, 2)
            index_search = dataclasses.replace(index_search, refine_factor=refine_factor)
        query, where = self._query.vector, self._where
        return nearest_tiles(self._collection, query, k=k, where=where, columns=columns, index_search=index_search)

    def _kept(self, nearest: pa.Table) -> NDArray[np.int64]:
        """Positions of the tiles that pass, nearest first."""
        ids = nearest["tile_id"].to_numpy()
        passes = ~np.isin(ids, self._excluded)
        if self._allowed is not None:
            passes &= positions_in(self._allowed, ids) >= 0
        kept = np.flatnonzero(passes)
        if self._config.per_slide is None:
            return kept
        slides = nearest["slide_id"].take(kept).to_pylist()
        return kept[first_of_each(slides, self._config.per_slide)]


class _HotSearch(NeighbourSearch):
    """The same with a hot index, which knows before what passes."""

    def __init__(
        self, collection: Collection, query: Query, index: HotIndex, passing: Passing | None, config: SearchConfig
    ):
        super().__init__(collection, query, Selection(), (), config)
        self._index = index
        self._passing = passing
        if len(self._excluded) > config.k:
            self._passing = (passing or index.everything).without(index.rows.of_tiles(self._excluded))
            self._excluded = self._excluded[:0]

    def run(self) -> tuple[pa.Table, str]:
        config = self._config
        if config.per_slide is not None or config.diverse or config.k + len(self._excluded) > MOST_NEIGHBOURS:
            return super().run()
        # The same at once: everything that is found passes, but for the query's own tiles.
        rows, distance = self._index.nearest(self._query.vector, config.k + len(self._excluded), self._passing)
        if len(self._excluded):
            kept = ~np.isin(self._index.rows.tile_id[rows], self._excluded)
            rows, distance = rows[kept][: config.k], distance[kept][: config.k]
        return self._index.table(rows, distance), self._note(len(rows), "no more tiles pass")

    def _fetch(self, k: int) -> pa.Table:
        if k > MOST_NEIGHBOURS:
            raise _FarDown
        rows, distance = self._index.nearest(self._query.vector, k, self._passing)
        return self._index.table(rows, distance, vector=bool(self._config.diverse))


class _FarDown(Exception):
    """More neighbours must be looked at than a hot index is for."""


def _id_list(ids: NDArray[np.int64]) -> str:
    if not len(ids):
        return "false"
    return f"tile_id IN ({', '.join(map(str, ids.tolist()))})"


def _excluded(store: Store, query: Query, same: Literal["slide", "patient"] | None) -> list[str]:
    """Slides that are left out: the query's own, or all of their patients."""
    if same is None:
        return []
    if not query.slides:
        raise QueryError(
            f"{query.title} is of no slide, so tiles of the same {same} cannot be left out; leave out none, or search "
            "by a tile or a region of a slide"
        )
    return Patients(store).require_slides_with_same(query.slides) if same == "patient" else sorted(set(query.slides))


def require_tiles(collection: Collection) -> None:
    """Raise QueryError if a pinned collection has none."""
    if not len(collection):
        raise QueryError(
            f"collection {collection.name!r} has no tiles; `embedstore ingest` adds them, and "
            "`embedstore status` shows the states of its slides"
        )


def check_columns(store: Store, columns: Sequence[str]) -> None:
    known = store.ledger.slide_schema().names if columns else []
    for name in columns:
        if name not in known or name in HIT_COLUMNS:
            raise ConfigError(
                f"slides have no column {name!r} to show; they have "
                f"{', '.join(column for column in known if column not in HIT_COLUMNS)}"
            )


class SlideColumns:
    """What is shown of the slides of tiles: the patient, and columns that were requested.

    It is read when this is made. In a search, this is before the tiles, but after they are pinned: a run records a
    slide before its tiles, so that the ledger knows every slide of the pinned tiles.
    """

    def __init__(self, store: Store, columns: Sequence[str]):
        self._columns = columns
        self._slides, self._row_of = store.ledger.slide_positions(["slide_id", "patient", *columns])

    def beside(self, tiles: pa.Table) -> pa.Table:
        """`HIT_COLUMNS` of tiles in the order of their distance, and the columns of their slides."""
        rows = [self._row_of.get(slide) for slide in tiles["slide_id"].to_pylist()]
        row = pa.array(rows, pa.int64())
        of_slide = {name: self._slides[name].take(row) for name in ("patient", *self._columns)}
        columns = {name: tiles[name] for name in TILE_COLUMNS} | {
            "rank": pa.array(np.arange(1, tiles.num_rows + 1)),
            "distance": pa.array(np.maximum(tiles["distance"].to_numpy(), np.float32(0))),  # rounding below 0
            "patient": of_slide["patient"],
        }
        return pa.table(
            {name: columns[name] for name in HIT_COLUMNS} | {name: of_slide[name] for name in self._columns}
        )
