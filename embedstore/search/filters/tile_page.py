"""A part of the tiles that pass a filter: a client that reads all of them asks for one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.search.filters.selection import known_columns, select_tiles
from embedstore.store import Collection, Store
from embedstore.store.sql import sql_in, sql_join


@dataclass(frozen=True, kw_only=True, eq=False)
class TilePage:
    """Rows of a collection at one version, in its order.

    Attributes:
        rows: The rows.
        version: The version of the collection.
        following: Position in the table at which the next page begins; None where this is the last one.
    """

    rows: pa.Table
    version: int
    following: int | None


def tile_page(
    store: Store,
    collection: Collection,
    where: str | None,
    *,
    slide_id: str | None = None,
    columns: Sequence[str],
    limit: int,
    version: int | None = None,
    start: int = 0,
) -> TilePage:
    """Read some of the tiles for which a condition is true.

    Pages of one version hold each of its rows once, whatever is committed meanwhile: each begins at a position in the
    table at that version. A slide that was removed since is left out.

    Args:
        where: As for `select_tiles`.
        slide_id: Only tiles of this slide.
        limit: Most rows.
        version: Of the first page; the present one when None.
        start: `following` of the page before.
    Raises:
        ConfigError: as `filter_tiles`.
        VersionNotFoundError: the version is no longer kept.
    """
    collection = collection.pinned(version)
    columns = known_columns(collection, columns)
    wanted = list(dict.fromkeys([*columns, "slide_id"]))
    if where is None and slide_id is None:
        rows = collection.tiles(columns=wanted, offset=start, limit=limit)
        following = start + len(rows) if start + len(rows) < len(collection) else None
    else:
        positions, clause = _positions(store, collection, where, slide_id)
        first = int(np.searchsorted(positions, start))
        chosen = positions[first : first + limit]
        following = int(chosen[-1]) + 1 if first + len(chosen) < len(positions) else None
        if clause is None:
            rows = collection.dataset().take(chosen.tolist(), columns=wanted)
        else:
            rows = collection.tiles(where=clause, columns=wanted, offset=first, limit=limit)
    if version is not None:
        present = store.ledger.slide_table(["slide_id"])["slide_id"]
        rows = rows.filter(pc.is_in(rows["slide_id"], value_set=present.combine_chunks()))
    return TilePage(rows=rows.select(columns), version=collection.dataset().version, following=following)


def _positions(
    store: Store, collection: Collection, where: str | None, slide_id: str | None
) -> tuple[NDArray[np.int64], str | None]:
    """Positions of the tiles that pass, ascending, and SQL that says the same; None where SQL does not."""
    selection = select_tiles(store, collection, where)
    clauses = [] if slide_id is None else [sql_in("slide_id", [slide_id])]
    clauses += [] if selection.where is None else [selection.where]
    clause = sql_join("AND", clauses) if clauses else None
    rows = collection.tiles(where=clause, columns=["tile_id", "_rowoffset"])
    if selection.tile_ids is not None:
        rows = rows.filter(pc.is_in(rows.column("tile_id"), value_set=pa.array(selection.tile_ids)))
        clause = None
    positions = rows.column("_rowoffset").to_numpy().astype(np.int64)
    ascending = bool(np.all(positions[1:] > positions[:-1]))
    return positions if ascending else np.sort(positions), clause if ascending else None
