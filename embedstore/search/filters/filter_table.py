"""Tables of slides and of tiles with the columns that a filter needs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.config import JoinConfig
from embedstore.errors import ConfigError
from embedstore.labels import join_labels
from embedstore.labels.task_labels import JOINED
from embedstore.search.filters.columns import Column
from embedstore.store import Collection, Store
from embedstore.store.predictions import PredictionKind
from embedstore.store.sql import lance_reason
from embedstore.store.tile_locations import locations_of

PLACE = ("x", "y", "edge_l0", "name")


def slide_table(store: Store, columns: Iterable[Column]) -> pa.Table:
    """All slides of the ledger, with the columns that are the same for all tiles of a slide.

    Returns:
        `slide_id`, and each column under its alias; NULL where a head has no prediction for a slide.
    """
    wanted = [column for column in columns if column.per_slide and column.source != "tile"]
    own = [column for column in wanted if column.source == "slide"]
    rows = store.ledger.slide_table(["slide_id", *(column.name for column in own)])
    table = rows.rename_columns(["slide_id", *(column.alias for column in own)])
    for head, head_columns in _by_head(wanted):
        predictions = store.predictions(head).table(columns=["slide_id", *(column.name for column in head_columns)])
        row = _rows_of(table.column("slide_id"), predictions.column("slide_id"))
        table = _append(table, head_columns, predictions, row)
    return table


def tile_table(
    store: Store,
    collection: Collection,
    columns: Sequence[Column],
    *,
    where: str | None = None,
    among: NDArray[np.int64] | None = None,
) -> pa.Table:
    """Tiles of a collection, with the columns that a filter needs.

    Args:
        where: Only tiles that fulfil this SQL over the collection's columns.
        among: Only tiles with these ids.
    Returns:
        `tile_id`, `slide_id`, and each column under its alias; NULL where a tile has no value.
    Raises:
        ConfigError: `where` is not valid, or fails on a value.
    """
    own = [column.name for column in columns if column.source == "tile"]
    labelled = [column for column in columns if column.source == "label"]
    needed = dict.fromkeys(("tile_id", "slide_id", *own, *(PLACE if labelled else ())))
    try:
        table = collection.tiles(where=where, columns=list(needed))
    except ValueError as error:  # a condition that fails on a value, such as a cast
        raise ConfigError(f"{where!r} cannot be evaluated: {lance_reason(error)}") from error
    if among is not None:
        table = table.filter(pc.is_in(table.column("tile_id"), value_set=pa.array(among)))
    of_slides = [column for column in columns if column.per_slide and column.source != "tile"]
    if of_slides:
        slides = slide_table(store, of_slides)
        row = _rows_of(table.column("slide_id"), slides.column("slide_id"))
        table = _append(table, of_slides, slides, row, aliased=True)
    if labelled and len(table):
        places = locations_of(table, row=np.arange(len(table)), version=0, collection=collection.name)
        patients = store.ledger.patients()
    for column in labelled:
        classes = _labels(store, places, patients, column.name) if len(table) else pa.array([], pa.string())
        table = table.append_column(column.alias, classes)
    for kind in ("predictions", "attention"):
        for head, head_columns in _by_head([column for column in columns if not column.per_slide], kind):
            predictions = store.predictions(head, kind).table(
                columns=["tile_id", *(column.name for column in head_columns)]
            )
            row = _rows_of(table.column("tile_id"), predictions.column("tile_id"))
            table = _append(table, head_columns, predictions, row)
    return table.select(list(dict.fromkeys(("tile_id", "slide_id", *(column.alias for column in columns)))))


def _labels(store: Store, places: Any, patients: Mapping[str, str | None], task: str) -> pa.Array:
    """The class of each tile by its centre; NULL where no label gives one, or labels contradict each other."""
    labels = store.labels.of_task(task, columns=JOINED)
    targets = join_labels(places, labels, patients, task=task, config=JoinConfig(), min_classes=0)
    if not targets.classes:
        return pa.nulls(len(places), pa.string())
    return pa.array(targets.classes, pa.string()).take(pa.array(targets.targets.argmax(axis=1), mask=~targets.labelled))


def _by_head(columns: Sequence[Column], kind: PredictionKind = "predictions") -> Iterable[tuple[str, list[Column]]]:
    by_head: dict[str, list[Column]] = {}
    for column in columns:
        if column.source == kind:
            by_head.setdefault(column.prefix, []).append(column)
    return by_head.items()


def _rows_of(wanted: pa.ChunkedArray, keys: pa.ChunkedArray) -> pa.Array:
    """Position of each value among the keys, NULL where it is missing."""
    if wanted.equals(keys):  # predictions in the order of their collection: saves 100 ms a million
        return pa.array(np.arange(len(keys)))
    return pc.index_in(wanted, value_set=keys.combine_chunks()).combine_chunks()


def _append(
    table: pa.Table, columns: Sequence[Column], rows: pa.Table, row: pa.Array, *, aliased: bool = False
) -> pa.Table:
    for column in columns:
        values = rows.column(column.alias if aliased else column.name).combine_chunks()
        table = table.append_column(column.alias, values.take(row))
    return table
