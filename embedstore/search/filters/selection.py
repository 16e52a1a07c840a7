"""Which tiles a filter lets through: SQL over everything that is known of a tile."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.errors import ConfigError
from embedstore.search.filters.columns import Column, Columns
from embedstore.search.filters.filter_table import slide_table, tile_table
from embedstore.store import Collection, Store
from embedstore.store.predictions import PredictionKind
from embedstore.store.sql import NULL_SQL, filter_rows, holds_for_nulls, sql_in

if TYPE_CHECKING:
    from embedstore.search.filters.condition import Condition


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """Tiles that a filter lets through: those for which both hold.

    Attributes:
        where: Lance's SQL over the collection's own columns, to which more may be joined by AND; None for no condition.
        tile_ids: (n,) int64, ascending; None where every tile may do. Some may no longer be in the collection.
    """

    where: str | None = None
    tile_ids: NDArray[np.int64] | None = None


NOTHING = Selection(where="false", tile_ids=np.empty(0, np.int64))


def filter_columns(store: Store, collection: Collection) -> dict[str, str]:
    """What a filter on a collection's tiles may name: {column, quoted where SQL needs it: where it comes from}.

    Origins are `tile`, `slide`, `label`, and `head NAME`.
    """
    return {column.text: column.origin for column in Columns(store, collection)}


def select_tiles(store: Store, collection: Collection, where: str | None) -> Selection:
    """The tiles for which a condition is true.

    The condition is Lance's SQL (comparisons, AND, OR, NOT, IN, BETWEEN, LIKE, IS NULL, arithmetic, functions) over

    * the tile: tile_id, slide_id, x, y, edge_l0, name, tissue;
    * its slide: patient, vendor, slide_mpp … and the user's own columns. `slide.NAME` and `tile.NAME` say which is
      meant; a name alone that both have is the tile's;
    * labels: `label.TASK`, the class that the labels of a task give to the tile by its centre; NULL where they give
      none, or contradict each other;
    * predictions: `HEAD.p_CLASS` and `HEAD.label`, of the tile or of its slide, and `HEAD.attention` where a head for
      slides looked; NULL where the head said nothing.

    Names with other signs than letters, digits and '_' stand in double quotes: `label."atypical mitosis" = 'yes'`,
    `"tumour-linear".p_tumour > 0.9`. Upper and lower case are told apart only where two names differ by nothing else.
    Times are written `timestamp '2026-01-31'`.

    Conditions on slides become a list of slides, as the ledger has them at this moment: it has all that were ingested.
    Those on labels and predictions become a list of tiles, of those alone that the other conditions leave.

    Raises:
        ConfigError: the condition is not SQL, has a query, an aggregate or a semicolon in it, compares what cannot be
            compared, names a column that there is not (the message names those there are), or one of a head of another
            collection.
    """
    if where is None:
        return Selection()
    conditions, known, _ = _understood(store, collection, where)
    try:
        return _Filter(store, collection, known).select(conditions)
    except ConfigError as error:
        raise ConfigError(
            f"the tiles of collection {collection.name!r} cannot be filtered by {where!r}: {error}"
        ) from error


def select_slides(store: Store, collection: Collection, where: str) -> list[str]:
    """The slides of the ledger for which a condition is true, by id.

    Args:
        where: As for `select_tiles`, over what is the same for all tiles of a slide: the slide's own columns, and what
            heads for slides said of it.
    Raises:
        ConfigError: as `select_tiles`; or the condition names a column that differs from tile to tile.
    """
    conditions, known, columns = _understood(store, collection, where)
    of_tiles = [column.text for column in known.values() if not column.per_slide]
    if of_tiles:
        raise ConfigError(
            f"slides cannot be filtered by {where!r}: {', '.join(of_tiles)} may differ from tile to tile; expected "
            f"columns of slides: {', '.join(column.text for column in columns if column.per_slide)}"
        )
    table = slide_table(store, dict.fromkeys(known.values()))
    try:
        return (
            filter_rows(table, _all_of(conditions, lambda name: known[name].alias), columns=["slide_id"])
            .column(0)
            .to_pylist()
        )
    except ConfigError as error:
        raise ConfigError(f"slides cannot be filtered by {where!r}: {error}") from error


def _understood(
    store: Store, collection: Collection, where: str
) -> tuple[list["Condition"], dict[str, Column], Columns]:
    """The parts of a condition, the columns that they name by their names, and all that there are."""
    from embedstore.search.filters.condition import split_filter

    conditions = split_filter(where)
    columns = Columns(store, collection)
    return conditions, {name: columns.find(name) for each in conditions for name in each.names}, columns


def _all_of(conditions: Sequence["Condition"], column_of: Callable[[str], str]) -> str:
    return " AND ".join(f"({each.sql(column_of)})" for each in conditions)


class _Filter:
    """Conditions on the tiles of a collection, with the columns that they name."""

    def __init__(self, store: Store, collection: Collection, known: Mapping[str, Column]):
        self._store, self._collection, self._known = store, collection, known
        of_slides = [column for column in known.values() if column.per_slide]
        self._slides = slide_table(store, dict.fromkeys(of_slides)) if _any_ledger(of_slides) else None

    def select(self, conditions: Sequence["Condition"]) -> Selection:
        of_slides = [each for each in conditions if self._is_of_slides(each)]
        clauses = []
        if of_slides:
            clause = self._slides_where(_all_of(of_slides, self._alias))
            if clause == "false":
                return NOTHING
            clauses += [] if clause == "true" else [clause]
        rest = []
        for each in conditions:
            if self._is_of_slides(each):
                continue
            written = each.write(self._over_collection)
            if written is None:
                rest.append(each)
            else:
                clauses.append(written)
        pushed = " AND ".join(clauses) or None
        if pushed is not None:
            self._check(pushed)
        if not rest:
            return Selection(where=pushed)
        tile_ids = self._tile_ids(rest, pushed)
        return Selection(where=pushed, tile_ids=tile_ids) if len(tile_ids) else NOTHING

    def _columns(self, condition: "Condition") -> list[Column]:
        return [self._known[name] for name in condition.names]

    def _alias(self, name: str) -> str:
        return self._known[name].alias

    def _is_of_slides(self, condition: "Condition") -> bool:
        """Whether all tiles of a slide are alike to it, for reasons that the collection itself does not have."""
        columns = self._columns(condition)
        return all(column.per_slide for column in columns) and _any_ledger(columns)

    # -- over the columns of the collection -------------------------------------------------

    def _over_collection(self, condition: "Condition") -> str | None:
        """A condition on tiles alone, or on slides alone, as SQL over the columns of the collection."""
        columns = self._columns(condition)
        if all(column.source == "tile" for column in columns):
            return condition.sql(lambda name: self._known[name].name)
        if not self._is_of_slides(condition):
            return None
        where = condition.sql(self._alias)
        true, unknown = self._slides_where(where), self._slides_where(f"({where}) IS NULL")
        return true if unknown == "false" else f"({true}) OR (({unknown}) AND {NULL_SQL})"

    def _slides_where(self, where: str) -> str:
        """The slides for which a condition is true, by id: all, none, those that are or those that are not."""
        assert self._slides is not None
        every = self._slides.column("slide_id").to_pylist()
        chosen = set(filter_rows(self._slides, where, columns=["slide_id"]).column(0).to_pylist())
        if not chosen:
            return "false"
        others = [slide_id for slide_id in every if slide_id not in chosen]
        if not others:
            return "true"
        if len(others) < len(chosen):
            return f"NOT {sql_in('slide_id', sorted(others))}"
        return sql_in("slide_id", sorted(chosen))

    def _check(self, where: str) -> None:
        """Raise where Lance does not understand a condition, before any work."""
        schema = self._collection.schema
        own = pa.schema([field for field in schema if field.name != "vector"])
        filter_rows(own.empty_table(), where)

    # -- tile by tile -----------------------------------------------------------------------

    def _tile_ids(self, conditions: Sequence["Condition"], pushed: str | None) -> NDArray[np.int64]:
        """Tiles for which all conditions are true, of those that the others leave."""
        found: NDArray[np.int64] | None = None
        rest = []
        by_head: dict[tuple[str, PredictionKind], list[Condition]] = {}
        for condition in conditions:
            table = self._table_of(condition)
            if table is None:
                rest.append(condition)
            else:
                by_head.setdefault(table, []).append(condition)
        for (head, kind), theirs in by_head.items():
            where = _all_of(theirs, lambda name: self._known[name].name)
            said = self._store.predictions(head, kind).table(where=where, columns=["tile_id"])
            ids = np.sort(said.column("tile_id").to_numpy())
            found = ids if found is None else np.intersect1d(found, ids, assume_unique=True)
        if rest:
            said_of = [clause for each in rest if (clause := self._slides_said_of(each))]
            pushed = " AND ".join([*([pushed] if pushed else []), *said_of]) or None
            columns = list(dict.fromkeys(column for each in rest for column in self._columns(each)))
            tiles = tile_table(self._store, self._collection, columns, where=pushed, among=found)
            found = np.sort(filter_rows(tiles, _all_of(rest, self._alias), columns=["tile_id"]).column(0).to_numpy())
        assert found is not None
        return found

    def _slides_said_of(self, condition: "Condition") -> str | None:
        """The slides that labels name, where a condition can be true of no other tiles; None where it can."""
        columns = self._columns(condition)
        if any(column.source != "label" for column in columns) or self._holds_for_nulls(condition):
            return None
        slides: set[str | None] = set()
        for column in columns:
            named = self._store.labels.table(task=column.name, columns=["slide_id"])
            slides |= set(named.column("slide_id").unique().to_pylist())
        return None if None in slides else sql_in("slide_id", sorted(map(str, slides)))

    def _holds_for_nulls(self, condition: "Condition") -> bool:
        columns = dict.fromkeys(self._columns(condition))
        schema = pa.schema([pa.field(column.alias, column.kind) for column in columns])
        return holds_for_nulls(schema, condition.sql(self._alias))

    def _table_of(self, condition: "Condition") -> tuple[str, PredictionKind] | None:
        """The table of a head that finds a condition's tiles by itself: those it lacks are none of them."""
        columns = self._columns(condition)
        tables = {(column.prefix, column.source) for column in columns}
        if len(tables) != 1 or columns[0].source not in ("predictions", "attention") or columns[0].per_slide:
            return None
        if self._holds_for_nulls(condition):
            return None
        return tables.pop()  # type: ignore[return-value]


def _any_ledger(columns: Sequence[Column]) -> bool:
    """Whether a column is of slides, and not the collection's own."""
    return any(column.per_slide and column.source != "tile" for column in columns)
