"""Select tiles or slides by SQL over tiles, slides, labels and predictions."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.errors import ConfigError, SlideNotInStoreError
from embedstore.search.filters.columns import Column, Columns, SlideColumns
from embedstore.search.filters.filter_table import slide_table, tile_table
from embedstore.store import Collection, SlideRow, Store
from embedstore.store.predictions import PredictionKind
from embedstore.store.sql import NULL_SQL, clipped, filter_rows, holds_for_nulls, sql_in, sql_join

if TYPE_CHECKING:
    from embedstore.search.filters.condition import Condition


@dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """The tiles that pass a filter: those that fulfil `where` and are among `tile_ids`.

    Attributes:
        where: Lance's SQL over the collection's own columns, to which more may be joined by AND; None for no condition.
        tile_ids: (n,) int64, ascending; None for no restriction. Some may no longer be in the collection.
        sources: Sources of the columns that the filter names; see `Column.source`.
    """

    where: str | None = None
    tile_ids: NDArray[np.int64] | None = None
    sources: frozenset[str] = frozenset()


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
    try:
        return _Filter(store, collection, _conditions(where, Columns(store, collection))).select()
    except ConfigError as error:
        raise ConfigError(
            f"the tiles of collection {collection.name!r} cannot be filtered by {clipped(where)!r}: {error}"
        ) from error


def filter_tiles(
    store: Store,
    collection: Collection,
    where: str | None,
    *,
    slide_id: str | None = None,
    columns: Sequence[str],
    limit: int | None = None,
) -> pa.Table:
    """The rows of the tiles for which a condition is true, in the order of the collection; of all when it is None.

    Args:
        where: As for `select_tiles`.
        slide_id: Only tiles of this slide.
        columns: Columns of the collection.
        limit: Most rows.
    Raises:
        ConfigError: as `select_tiles`; or the collection has no such column.
    """
    collection = collection.pinned()
    columns = known_columns(collection, columns)
    selection = select_tiles(store, collection, where)
    clauses = [] if slide_id is None else [sql_in("slide_id", [slide_id])]
    clauses += [] if selection.where is None else [selection.where]
    clause = sql_join("AND", clauses) if clauses else None
    if selection.tile_ids is None:
        return collection.tiles(where=clause, columns=list(columns), limit=limit)
    rows = collection.tiles(where=clause, columns=["tile_id", "_rowoffset"])
    rows = rows.filter(pc.is_in(rows.column("tile_id"), value_set=pa.array(selection.tile_ids))).slice(0, limit)
    return collection.dataset().take(rows.column("_rowoffset").to_pylist(), columns=list(columns))


def known_columns(collection: Collection, columns: Sequence[str]) -> list[str]:
    """Names of columns, each once.

    Raises:
        ConfigError: the collection has no such column.
    """
    if unknown := [name for name in columns if name not in collection.schema.names]:
        raise ConfigError(
            f"tiles have no column {unknown[0]!r}; expected columns among {', '.join(collection.schema.names)}"
        )
    return list(dict.fromkeys(columns))


def select_slides(store: Store, collection: Collection, where: str) -> list[str]:
    """Select the slides of the ledger for which a condition is true; returns their ids.

    Args:
        where: As for `select_tiles`, over columns that are the same for all tiles of a slide: the slide's own, and
            predictions of heads for slides.
    Raises:
        ConfigError: as `select_tiles`; or the condition names a column that differs from tile to tile.
    """
    columns = Columns(store, collection, of_slides=True)
    try:
        conditions = _conditions(where, columns)
        named = _columns(conditions)
        if of_tiles := [column.text for column in named if not column.per_slide]:
            raise ConfigError(
                f"{', '.join(of_tiles)} may differ from tile to tile; expected columns of slides: "
                f"{', '.join(column.text for column in columns if column.per_slide)}"
            )
        passing = _passing(slide_table(store, named), conditions)
    except ConfigError as error:
        raise ConfigError(f"slides cannot be filtered by {clipped(where)!r}: {error}") from error
    return passing.column("slide_id").to_pylist()


def project_slides(store: Store, where: str) -> list[str]:
    """Select slides by the columns of the ledger alone; returns their ids.

    It needs no collection, and what a head predicts has no say in it: it decides who may see a slide.

    Args:
        where: As for `select_tiles`, over columns of slides.
    Raises:
        ConfigError: as `select_tiles`.
    """
    try:
        conditions = _conditions(where, SlideColumns(store))
        if any(condition.may_fail for condition in conditions):
            raise ConfigError(
                "it may fail on a slide, which nobody could see then; write it without casts and patterns"
            )
        passing = _passing(slide_table(store, _columns(conditions)), conditions)
    except ConfigError as error:
        raise ConfigError(f"slides cannot be filtered by {clipped(where)!r}: {error}") from error
    return passing.column("slide_id").to_pylist()


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


def _conditions(where: str, columns: Columns | SlideColumns) -> list["Condition"]:
    from embedstore.search.filters.condition import split_filter

    return split_filter(where, columns.find)


def _columns(conditions: Iterable["Condition"]) -> list[Column]:
    return list(dict.fromkeys(column for condition in conditions for column in condition.columns))


def _alias(column: Column) -> str:
    return column.alias


def _all_of(conditions: Iterable["Condition"], name_of: Callable[[Column], str]) -> str:
    return sql_join("AND", (condition.sql(name_of) for condition in conditions))


def _passing(slides: pa.Table, conditions: Sequence["Condition"]) -> pa.Table:
    """The slides for which all conditions are true.

    Those that may fail on a value are asked last, of the slides that pass the others: `cohort = 'A' AND cast(grade AS
    int) > 1` fails on no slide of another cohort, and tells nothing of one.
    """
    for may_fail in (False, True):
        chosen = [condition for condition in conditions if condition.may_fail is may_fail]
        if chosen:
            slides = filter_rows(slides, _all_of(chosen, _alias))
    return slides


class _Filter:
    """Conditions on the tiles of a collection."""

    def __init__(self, store: Store, collection: Collection, conditions: Sequence["Condition"]):
        self._store, self._collection, self._conditions = store, collection, conditions
        self._sources = frozenset(column.source for column in _columns(conditions))
        of_slides = [column for column in _columns(conditions) if column.per_slide]
        self._slides = slide_table(store, of_slides) if _any_ledger(of_slides) else None

    def select(self) -> Selection:
        of_slides = [condition for condition in self._conditions if self._is_of_slides(condition)]
        clauses = []
        if of_slides:
            assert self._slides is not None
            passing = _passing(self._slides, of_slides)
            clause = _clause(passing, self._slides)
            self._slides = passing  # the others are asked of these alone
            if clause == "false":
                return self._nothing()
            clauses += [] if clause == "true" else [clause]
        rest = []
        for condition in self._conditions:
            if self._is_of_slides(condition):
                continue
            sql = condition.split(self._over_collection)
            if sql is None:
                rest.append(condition)
            else:
                clauses.append(sql)
        pushed = sql_join("AND", clauses) if clauses else None
        if not rest:
            return Selection(where=pushed, sources=self._sources)
        tile_ids = self._tile_ids(rest, pushed)
        return Selection(where=pushed, tile_ids=tile_ids, sources=self._sources) if len(tile_ids) else self._nothing()

    def _nothing(self) -> Selection:
        return Selection(where="false", tile_ids=np.empty(0, np.int64), sources=self._sources)

    def _is_of_slides(self, condition: "Condition") -> bool:
        """Whether it is asked of the ledger: it is the same for all tiles of a slide, and the ledger is read anyway."""
        return self._slides is not None and all(column.per_slide for column in condition.columns)

    # -- over the columns of the collection -------------------------------------------------

    def _over_collection(self, condition: "Condition") -> str | None:
        """SQL over the columns of the collection for a condition on tiles only or slides only; None for others.

        It never fails on a value, as those who use it are not prepared for that.
        """
        if self._is_of_slides(condition):
            where = condition.sql(_alias)
        elif condition.may_fail or any(column.source != "tile" for column in condition.columns):
            return None
        else:
            return condition.sql(lambda column: column.name)
        true, unknown = self._slides_where(where), self._slides_where(f"({where}) IS NULL")
        return true if unknown == "false" else f"({true} OR ({unknown} AND {NULL_SQL}))"

    def _slides_where(self, where: str) -> str:
        """SQL for the slides for which a condition is true: all, none, a list, or all but a list."""
        assert self._slides is not None
        return _clause(filter_rows(self._slides, where, columns=["slide_id"]), self._slides)

    # -- tile by tile -----------------------------------------------------------------------

    def _tile_ids(self, conditions: Sequence["Condition"], pushed: str | None) -> NDArray[np.int64]:
        """Ids of the tiles that fulfil all conditions and `pushed`, ascending."""
        tile_ids: NDArray[np.int64] | None = None
        rest = []
        by_head: dict[tuple[str, PredictionKind], list[Condition]] = {}
        for condition in conditions:
            table = _table_of(condition)
            if table is None:
                rest.append(condition)
            else:
                by_head.setdefault(table, []).append(condition)
        for (head, kind), head_conditions in by_head.items():
            where = _all_of(head_conditions, lambda column: column.name)
            predictions = self._store.predictions(head, kind).table(where=where, columns=["tile_id"])
            ids = np.sort(predictions.column("tile_id").to_numpy())
            tile_ids = ids if tile_ids is None else np.intersect1d(tile_ids, ids, assume_unique=True)
        if rest:
            labelled = [clause for condition in rest if (clause := self._labelled_slides(condition))]
            clauses = [*([pushed] if pushed else []), *labelled]
            joined = sql_join("AND", clauses) if clauses else None
            tiles = tile_table(self._store, self._collection, _columns(rest), where=joined, among=tile_ids)
            tile_ids = np.sort(filter_rows(tiles, _all_of(rest, _alias), columns=["tile_id"]).column(0).to_numpy())
        assert tile_ids is not None
        return tile_ids

    def _labelled_slides(self, condition: "Condition") -> str | None:
        """SQL for the slides that have labels, where a condition can be true on no others; None where it can."""
        columns = condition.columns
        if any(column.source != "label" for column in columns) or _holds_for_nulls(condition):
            return None
        slides: set[str | None] = set()
        for column in columns:
            labels = self._store.labels.table(task=column.name, columns=["slide_id"])
            slides |= set(labels.column("slide_id").unique().to_pylist())
        return None if None in slides else sql_in("slide_id", sorted(map(str, slides)))


def _clause(chosen: pa.Table, slides: pa.Table) -> str:
    """SQL for some of the slides: all, none, a list, or all but a list."""
    ids = set(chosen.column("slide_id").to_pylist())
    if not ids:
        return "false"
    others = [slide_id for slide_id in slides.column("slide_id").to_pylist() if slide_id not in ids]
    if not others:
        return "true"
    if len(others) < len(ids):
        return f"NOT {sql_in('slide_id', sorted(others))}"
    return sql_in("slide_id", sorted(ids))


def _holds_for_nulls(condition: "Condition") -> bool:
    schema = pa.schema([pa.field(column.alias, column.kind) for column in condition.columns])
    return holds_for_nulls(schema, condition.sql(_alias))


def _table_of(condition: "Condition") -> tuple[str, PredictionKind] | None:
    """(head, kind) of the one table that decides a condition: tiles that it lacks do not fulfil it."""
    columns = condition.columns
    if len({(column.prefix, column.source) for column in columns}) != 1:
        return None
    first = columns[0]
    if first.source not in ("predictions", "attention") or first.per_slide or _holds_for_nulls(condition):
        return None
    return first.prefix, first.source


def _any_ledger(columns: Sequence[Column]) -> bool:
    """Whether a column is of slides and not of the collection."""
    return any(column.per_slide and column.source != "tile" for column in columns)
