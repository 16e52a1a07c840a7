"""The nearest tiles of a query: what passes the filter, without what is known already, as different as asked."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.errors import ConfigError, QueryError
from embedstore.search.diversity import first_of_each, marginal_relevance
from embedstore.search.filters.selection import Selection, select_tiles
from embedstore.search.hits import HIT_COLUMNS, Hits
from embedstore.search.queries.query import Query, unit_rows
from embedstore.search_config import SearchConfig
from embedstore.sorted_ids import positions_in
from embedstore.store import Collection, Patients, Store, nearest_tiles
from embedstore.store.nearest import TILE_COLUMNS
from embedstore.store.sql import sql_in
from embedstore.store.vectors import matrix

#: Tile ids that are handed to Lance as a list: 10,000 cost 24 ms. More are looked up in what was found.
LISTED_IDS = 20_000
#: Of so many Lance is asked all the same where too little was found: 200,000 cost 1.9 s.
MOST_LISTED = 500_000
#: Among so many times k neighbours are those chosen that differ.
DIVERSE_AMONG = 10
#: Neighbours fetched at most to fill a limit a slide, or to find tiles of a long list.
MOST_FETCHED = 50_000


def search(store: Store, collection: Collection, query: Query, config: SearchConfig | None = None) -> Hits:
    """Find the tiles of a collection that are nearest to a query, by the cosine of their embeddings.

    The query's own tiles are left out. A filter holds before the search: the nearest of what passes are found. All of
    it is of one version of the collection: of a slide that a run commits meanwhile, every tile counts or none.

    Raises:
        ConfigError: a filter or a column that there is not.
        QueryError: the collection is empty, or slides of the query's own patient are to be left out and none is known.
        VectorError: the query is of another extractor.
    """
    config = config or SearchConfig()
    # In this order: a run records a slide before its tiles, so that the ledger knows every slide of the pinned tiles.
    collection = collection.pinned()
    _check_columns(store, config.columns)
    slides = store.ledger.slide_table(["slide_id", "patient", *dict.fromkeys(config.columns)])
    if not len(collection):
        raise QueryError(
            f"collection {collection.name!r} has no tile to find; `embedstore ingest` fills it, and "
            "`embedstore status` tells what became of its slides"
        )
    selection = select_tiles(store, collection, config.where)
    excluded = _excluded(store, query, config.exclude_same)
    found = _Candidates(collection, query, selection, excluded, config)
    table, note = found.best()
    return Hits(store=store, collection=collection.name, query=query, table=_rows(table, slides, config), note=note)


class _Candidates:
    """Neighbours that pass the filter, as many as are needed."""

    def __init__(
        self, collection: Collection, query: Query, selection: Selection, excluded: Sequence[str], config: SearchConfig
    ):
        self._collection, self._query, self._config = collection, query, config
        self._ids = selection.tile_ids
        self._own = np.unique(np.asarray(query.tile_ids, np.int64))
        clauses = [f"({selection.where})"] if selection.where is not None else []
        if excluded:
            clauses.append(f"NOT {sql_in('slide_id', excluded)}")
        if self._ids is not None and len(self._ids) <= LISTED_IDS:
            clauses.append(_id_list(self._ids))
            self._ids = None
        if LISTED_IDS >= len(self._own) > config.k:
            clauses.append(f"NOT {_id_list(self._own)}")
            self._own = self._own[:0]
        self._where = " AND ".join(clauses) or None

    def best(self) -> tuple[pa.Table, str]:
        """Up to k rows with a distance, and what the user should know."""
        config = self._config
        wanted = config.k * (DIVERSE_AMONG if config.diverse else 1)
        fetch = self._first_fetch(wanted)
        while True:
            found = self._fetch(fetch)
            exhausted = found.num_rows < fetch
            kept = self._kept(found)
            if len(kept) >= wanted or exhausted:
                break
            if fetch < MOST_FETCHED:
                fetch = min(fetch * 4, MOST_FETCHED)
            elif self._list_all():  # what passes is far from the query, or the query's own tiles are all that is near
                fetch = self._first_fetch(wanted)
            else:
                break
        chosen = found.take(kept[:wanted])
        if config.diverse and chosen.num_rows:
            vectors = unit_rows(matrix(chosen["vector"].combine_chunks(), self._collection.dim))
            order = marginal_relevance(vectors, chosen["distance"].to_numpy(), config.k, weight=config.diverse)
            chosen = chosen.take(order)
        note = ""
        if chosen.num_rows < config.k:
            why = "no more tiles pass" if exhausted else f"looked at the nearest {fetch}"
            note = f"{chosen.num_rows} of {config.k} neighbours were found: {why}"
        return chosen.slice(0, min(config.k, chosen.num_rows)), note

    def _first_fetch(self, wanted: int) -> int:
        fetch = wanted + len(self._own)
        if self._config.per_slide is not None:
            fetch *= 4
        if self._ids is not None:
            fetch = math.ceil(fetch * 1.5 * len(self._collection) / len(self._ids)) + 10
        return min(fetch, MOST_FETCHED)

    def _list_all(self) -> bool:
        """Hand Lance the ids that were looked up in what was found; False where it is no help, or they are too many."""
        if self._ids is not None:
            listed, no = np.setdiff1d(self._ids, self._own, assume_unique=True), ""
        elif len(self._own) > self._config.k:
            listed, no = self._own, "NOT "
        else:  # so few of its own keep nothing from being found
            return False
        if len(listed) > MOST_LISTED:
            return False
        clause = f"{no}{_id_list(listed)}"
        self._where = clause if self._where is None else f"{self._where} AND {clause}"
        self._ids, self._own = None, self._own[:0]
        return True

    def _fetch(self, k: int) -> pa.Table:
        columns = [*TILE_COLUMNS, *(["vector"] if self._config.diverse else [])]
        index_search = self._config.index_search
        if k > 100 * self._config.k:  # far down the list the index's order is good enough
            refine_factor = min(index_search.refine_factor, 2)
            index_search = dataclasses.replace(index_search, refine_factor=refine_factor)
        query, where = self._query.vector, self._where
        return nearest_tiles(self._collection, query, k=k, where=where, columns=columns, index_search=index_search)

    def _kept(self, found: pa.Table) -> NDArray[np.int64]:
        """Positions of what may stay, nearest first."""
        ids = found["tile_id"].to_numpy()
        stays = ~np.isin(ids, self._own)
        if self._ids is not None:
            stays &= positions_in(self._ids, ids) >= 0
        kept = np.flatnonzero(stays)
        if self._config.per_slide is None:
            return kept
        slides = found["slide_id"].take(kept).to_pylist()
        return kept[first_of_each(slides, self._config.per_slide)]


def _id_list(ids: NDArray[np.int64]) -> str:
    if not len(ids):
        return "false"
    return f"tile_id IN ({', '.join(map(str, ids.tolist()))})"


def _excluded(store: Store, query: Query, same: Literal["slide", "patient"] | None) -> list[str]:
    """Slides that are left out, as they are the query's own."""
    if same is None:
        return []
    if not query.slides:
        raise QueryError(
            f"{query.title} is of no slide, so nothing of the same {same} can be left out; leave --exclude-same out"
        )
    return Patients(store).require_slides_with_same(query.slides) if same == "patient" else sorted(set(query.slides))


def _check_columns(store: Store, columns: Sequence[str]) -> None:
    known = store.ledger.slide_schema().names
    for name in columns:
        if name not in known or name in HIT_COLUMNS:
            raise ConfigError(
                f"slides have no further column {name!r} to show; they have "
                f"{', '.join(each for each in known if each not in HIT_COLUMNS)}"
            )


def _rows(found: pa.Table, slides: pa.Table, config: SearchConfig) -> pa.Table:
    """`HIT_COLUMNS`, and the columns of slides that were asked for."""
    of = slides.take(pc.index_in(found["slide_id"], value_set=slides["slide_id"]))
    columns = {name: found[name] for name in TILE_COLUMNS} | {
        "rank": pa.array(range(1, found.num_rows + 1), pa.int64()),
        "distance": pc.max_element_wise(found["distance"], pa.scalar(0.0, pa.float32())),  # rounding below 0
        "patient": of["patient"],
    }
    return pa.table({name: columns[name] for name in HIT_COLUMNS} | {name: of[name] for name in config.columns})
