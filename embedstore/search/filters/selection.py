"""Select tiles or slides by SQL over tiles, slides, labels and predictions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.errors import ConfigError, SlideNotInStoreError
from embedstore.search.filters.columns import Column, Columns
from embedstore.search.filters.filter_table import slide_table, tile_table
from embedstore.store import Collection, SlideRow, Store
from embedstore.store.predictions import PredictionKind
from embedstore.store.sql import NULL_SQL, filter_rows, holds_for_nulls, sql_in

if TYPE_CHECKING:
    from embedstore.search.filters.condition import Condition


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """The tiles that pass a filter: those that fulfil `where` and are among `tile_ids`.

    Attributes:
        where: Lance's SQL over the collection's own columns, to which more may be joined by AND; None for no condition.
        tile_ids: (n,) int64, ascending; None for no restriction. Some may no longer be in the collection.
    """

    where: str | None = None
    tile_ids: NDArray[np.int64] | None = None


NOTHING = Selection(where="false", tile_ids=np.empty(0, np.int64))


def filter_columns(store: Store, collection: Collection) -> dict[str, str]:
    """The columns that a filter on a collection's tiles may name: {column, quoted where SQL needs it: origin}.

    Origins are `tile`, `slide`, `label`, and `head NAME`.
    """
    return {column.text: column.origin for column in Columns(store, collection)}


def select_tiles(store: Store, collection: Collection, where: str | None) -> Selection:
    """Select the tiles for which a condition is true.

    The condition is Lance's SQL (comparisons, AND, OR, NOT, IN, BETWEEN, LIKE, IS NULL, arithmetic, functions) over

    * the tile: tile_id, slide_id, x, y, edge_l0, name, tissue;
    * its slide: patient, vendor, slide_mpp … and the user's own columns. A name that both have is the tile's;
      `slide.NAME` and `tile.NAME` name one of the two;
    * labels: `label.TASK`, the class that the labels of a task give the tile by its centre; NULL where they give none,
      or contradict each other;
    * predictions: `HEAD.p_CLASS` and `HEAD.label`, of the tile or of its slide, and `HEAD.attention` of a head for
      slides; NULL where the head has no prediction.

    Names with other characters than letters, digits and '_' need double quotes: `label."atypical mitosis" = 'yes'`,
    `"tumour-linear".p_tumour > 0.9`. Case matters only where two names differ in nothing else.
    Times are written `timestamp '2026-01-31'`.

    Conditions on slides become a list of slides, from the ledger as it is now. Conditions on labels and predictions
    become a list of tiles, among the tiles that pass the other conditions.

    Raises:
        ConfigError: the condition is not SQL; contains a subquery, an aggregate or a semicolon; compares values of
            different types; or names a column that does not exist (the message lists those that do) or that is of a
            head of another collection.
    """
    if where is None:
        return Selection()
    conditions, named, _ = _parse(store, collection, where)
    try:
        return _Filter(store, collection, named).select(conditions)
    except ConfigError as error:
        raise ConfigError(
            f"the tiles of collection {collection.name!r} cannot be filtered by {where!r}: {error}"
        ) from error


def select_slides(store: Store, collection: Collection, where: str) -> list[str]:
    """Select the slides of the ledger for which a condition is true; returns their ids.

    Args:
        where: As for `select_tiles`, over columns that are the same for all tiles of a slide: the slide's own, and
            predictions of heads for slides.
    Raises:
        ConfigError: as `select_tiles`; or the condition names a column that differs from tile to tile.
    """
    conditions, named, columns = _parse(store, collection, where)
    of_tiles = [column.text for column in named.values() if not column.per_slide]
    if of_tiles:
        raise ConfigError(
            f"slides cannot be filtered by {where!r}: {', '.join(of_tiles)} may differ from tile to tile; expected "
            f"columns of slides: {', '.join(column.text for column in columns if column.per_slide)}"
        )
    table = slide_table(store, dict.fromkeys(named.values()))
    try:
        return (
            filter_rows(table, _all_of(conditions, lambda name: named[name].alias), columns=["slide_id"])
            .column(0)
            .to_pylist()
        )
    except ConfigError as error:
        raise ConfigError(f"slides cannot be filtered by {where!r}: {error}") from error


def slides_where(store: Store, collection: Collection, where: str | None) -> list[SlideRow]:
    """The rows of the slides of the ledger for which a condition is true, by id; of all when it is None.

    Raises:
        ConfigError: as `select_slides`.
        SlideNotInStoreError: it is true for none.
    """
    rows = store.ledger.slides()
    if where is None:
        return rows
    chosen = set(select_slides(store, collection, where))
    if not chosen:
        raise SlideNotInStoreError(
            f"no slide of {store.uri} is such that {where}; `embedstore status` lists the slides"
        )
    return [row for row in rows if row.slide_id in chosen]


def _parse(store: Store, collection: Collection, where: str) -> tuple[list["Condition"], dict[str, Column], Columns]:
    """The parts of a condition, the columns that they name, by name, and all columns."""
    from embedstore.search.filters.condition import split_filter

    conditions = split_filter(where)
    columns = Columns(store, collection)
    return conditions, {name: columns.find(name) for condition in conditions for name in condition.names}, columns


def _all_of(conditions: Sequence["Condition"], column_of: Callable[[str], str]) -> str:
    return " AND ".join(f"({condition.sql(column_of)})" for condition in conditions)


class _Filter:
    """Conditions on the tiles of a collection, with the columns that they name."""

    def __init__(self, store: Store, collection: Collection, named: Mapping[str, Column]):
        self._store, self._collection, self._named = store, collection, named
        of_slides = [column for column in named.values() if column.per_slide]
        self._slides = slide_table(store, dict.fromkeys(of_slides)) if _any_ledger(of_slides) else None

    def select(self, conditions: Sequence["Condition"]) -> Selection:
        of_slides = [condition for condition in conditions if self._is_of_slides(condition)]
        clauses = []
        if of_slides:
            clause = self._slides_where(_all_of(of_slides, self._alias))
            if clause == "false":
                return NOTHING
            clauses += [] if clause == "true" else [clause]
        rest = []
        for condition in conditions:
            if self._is_of_slides(condition):
                continue
            sql = condition.write(self._over_collection)
            if sql is None:
                rest.append(condition)
            else:
                clauses.append(sql)
        pushed = " AND ".join(clauses) or None
        if pushed is not None:
            self._check(pushed)
        if not rest:
            return Selection(where=pushed)
        tile_ids = self._tile_ids(rest, pushed)
        return Selection(where=pushed, tile_ids=tile_ids) if len(tile_ids) else NOTHING

    def _columns(self, condition: "Condition") -> list[Column]:
        return [self._named[name] for name in condition.names]

    def _alias(self, name: str) -> str:
        return self._named[name].alias

    def _is_of_slides(self, condition: "Condition") -> bool:
        """Whether it is the same for all tiles of a slide, and needs columns that the collection does not have."""
        columns = self._columns(condition)
        return all(column.per_slide for column in columns) and _any_ledger(columns)

    # -- over the columns of the collection -------------------------------------------------

    def _over_collection(self, condition: "Condition") -> str | None:
        """SQL over the columns of the collection for a condition on tiles only or slides only; None for others."""
        columns = self._columns(condition)
        if all(column.source == "tile" for column in columns):
            return condition.sql(lambda name: self._named[name].name)
        if not self._is_of_slides(condition):
            return None
        where = condition.sql(self._alias)
        true, unknown = self._slides_where(where), self._slides_where(f"({where}) IS NULL")
        return true if unknown == "false" else f"({true}) OR (({unknown}) AND {NULL_SQL})"

    def _slides_where(self, where: str) -> str:
        """SQL for the slides for which a condition is true: all, none, a list, or all but a list."""
        assert self._slides is not None
        slides = self._slides.column("slide_id").to_pylist()
        chosen = set(filter_rows(self._slides, where, columns=["slide_id"]).column(0).to_pylist())
        if not chosen:
            return "false"
        others = [slide_id for slide_id in slides if slide_id not in chosen]
        if not others:
            return "true"
        if len(others) < len(chosen):
            return f"NOT {sql_in('slide_id', sorted(others))}"
        return sql_in("slide_id", sorted(chosen))

    def _check(self, where: str) -> None:
        """Raise where Lance cannot parse a condition, before any work."""
        schema = self._collection.schema
        own = pa.schema([field for field in schema if field.name != "vector"])
        filter_rows(own.empty_table(), where)

    # -- tile by tile -----------------------------------------------------------------------

    def _tile_ids(self, conditions: Sequence["Condition"], pushed: str | None) -> NDArray[np.int64]:
        """Ids of the tiles that fulfil all conditions and `pushed`, ascending."""
        tile_ids: NDArray[np.int64] | None = None
        rest = []
        by_head: dict[tuple[str, PredictionKind], list[Condition]] = {}
        for condition in conditions:
            table = self._table_of(condition)
            if table is None:
                rest.append(condition)
            else:
                by_head.setdefault(table, []).append(condition)
        for (head, kind), head_conditions in by_head.items():
            where = _all_of(head_conditions, lambda name: self._named[name].name)
            predictions = self._store.predictions(head, kind).table(where=where, columns=["tile_id"])
            ids = np.sort(predictions.column("tile_id").to_numpy())
            tile_ids = ids if tile_ids is None else np.intersect1d(tile_ids, ids, assume_unique=True)
        if rest:
            labelled = [clause for condition in rest if (clause := self._labelled_slides(condition))]
            pushed = " AND ".join([*([pushed] if pushed else []), *labelled]) or None
            columns = list(dict.fromkeys(column for condition in rest for column in self._columns(condition)))
            tiles = tile_table(self._store, self._collection, columns, where=pushed, among=tile_ids)
            tile_ids = np.sort(filter_rows(tiles, _all_of(rest, self._alias), columns=["tile_id"]).column(0).to_numpy())
        assert tile_ids is not None
        return tile_ids

    def _labelled_slides(self, condition: "Condition") -> str | None:
        """SQL for the slides that have labels, where a condition can be true on no others; None where it can."""
        columns = self._columns(condition)
        if any(column.source != "label" for column in columns) or self._holds_for_nulls(condition):
            return None
        slides: set[str | None] = set()
        for column in columns:
            labels = self._store.labels.table(task=column.name, columns=["slide_id"])
            slides |= set(labels.column("slide_id").unique().to_pylist())
        return None if None in slides else sql_in("slide_id", sorted(map(str, slides)))

    def _holds_for_nulls(self, condition: "Condition") -> bool:
        columns = dict.fromkeys(self._columns(condition))
        schema = pa.schema([pa.field(column.alias, column.kind) for column in columns])
        return holds_for_nulls(schema, condition.sql(self._alias))

    def _table_of(self, condition: "Condition") -> tuple[str, PredictionKind] | None:
        """(head, kind) of the one table that decides a condition: tiles that it lacks do not fulfil it."""
        columns = self._columns(condition)
        if len({(column.prefix, column.source) for column in columns}) != 1:
            return None
        first = columns[0]
        if first.source not in ("predictions", "attention") or first.per_slide or self._holds_for_nulls(condition):
            return None
        return first.prefix, first.source


def _any_ledger(columns: Sequence[Column]) -> bool:
    """Whether a column is of slides and not of the collection."""
    return any(column.per_slide and column.source != "tile" for column in columns)
