"""What the tiles on a map are coloured by: a column of their own, of their slide, of labels, or of a head."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.maps.reading import TileMap
from embedstore.search.filters.columns import Column, Columns
from embedstore.search.filters.filter_table import tile_table
from embedstore.store import Collection, Store

#: A tile that has no value; such as one without a label.
NO_CLASS = -1


@dataclass(frozen=True, kw_only=True, eq=False)
class MapColours:
    """A value for each of the n tiles on a map, in the order of its rows.

    Attributes:
        by: The column, as a filter names it.
        title: What it is, for people.
        kind: `classes`, each with a colour of its own; or `numbers`, along a scale.
        values: (n,) int32 index into `classes`, -1 where there is none; or float32, NaN where there is none.
        classes: The classes: of labels and heads in their own order, others the most frequent first.
        counts: Tiles of each class.
        range: Ends of the scale of numbers: 0 and 1 of probabilities; else the least and the greatest.
        threshold: Of a probability, from which the head decides for the class.
        positive: Of a head's classes, the one that is looked for.
    """

    by: str
    title: str
    kind: Literal["classes", "numbers"]
    values: NDArray[Any]
    classes: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    range: tuple[float, float] = (0.0, 1.0)
    threshold: float | None = None
    positive: str | None = None


def map_colours(store: Store, collection: Collection, tiles: TileMap, by: str) -> MapColours:
    """What the tiles on a map are coloured by.

    Args:
        store: Whose labels and slides are asked.
        by: `slide`; `patient`; `label:TASK`; `head:NAME`, the probability of the class that is looked for, of a head of
            more classes the class, of a head for slides the attention; or any column that a filter may name, such as
            `stain`, `tissue` or `"tumour-linear".label`.
    Raises:
        ConfigError: there is no such column.
        TaskNotFoundError, HeadNotFoundError, PredictionsNotFoundError: there is no such task or head, or it has
            predicted nothing.
    """
    column = column_of(store, collection, by)
    table = tile_table(store, collection, [column], among=tiles.tile_ids)
    row = pc.index_in(tiles.rows["tile_id"], value_set=table["tile_id"].combine_chunks())
    values = table[column.alias].combine_chunks().take(row.combine_chunks())
    title = _title(column)
    if _is_number(values.type) and not pa.types.is_boolean(values.type):
        return _numbers(store, column, title, values)
    return _classes(store, column, title, values)


def column_of(store: Store, collection: Collection, by: str) -> Column:
    """The column that `by` names; arguments and errors as of `map_colours`."""
    columns = Columns(store, collection)
    kind, colon, name = by.partition(":")
    if by == "slide":
        return columns.find("slide_id")
    if colon and kind == "label":
        store.labels.of_task(name)
        return columns.find(f"label.{name}")
    if colon and kind == "head":
        return _of_head(store, collection, columns, name)
    return columns.find(by.replace('"', ""))


def _of_head(store: Store, collection: Collection, columns: Columns, head: str) -> Column:
    predictions = store.predictions(head)
    if not predictions.exists():
        store.heads.get(head)
    facts = predictions.facts()
    if facts.level != "tile":
        return columns.find(f"{head}.attention")
    shown = facts.classes[0] if len(facts.classes) == 1 else facts.positive
    if shown is None and len(facts.classes) == 2 and not facts.multi_label:
        shown = facts.classes[1]
    return columns.find(f"{head}.{facts.columns[shown] if shown is not None else 'label'}")


def _title(column: Column) -> str:
    if column.source == "label":
        return f"label of {column.name}"
    if column.source in ("predictions", "attention"):
        return f"{column.name} of head {column.prefix}"
    return {"slide_id": "slide"}.get(column.name, column.name)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _numbers(store: Store, column: Column, title: str, values: pa.Array) -> MapColours:
    numbers = values.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False).astype(np.float32)
    ends, threshold = (0.0, 1.0), None
    if column.source == "predictions":
        facts = store.predictions(column.prefix).facts()
        named = next((name for name, own in facts.columns.items() if own == column.name), None)
        title = f"probability of {named}, head {column.prefix}"
        threshold = facts.thresholds.get(named) if named is not None else None
    elif finite := numbers[np.isfinite(numbers)].tolist():
        ends = min(finite), max(finite)
    return MapColours(
        by=column.text, title=title, kind="numbers", values=numbers, range=ends, threshold=threshold
    )  # fmt: skip


def _classes(store: Store, column: Column, title: str, values: pa.Array) -> MapColours:
    coded = values.cast(pa.string()).dictionary_encode()
    names = coded.dictionary.to_pylist()
    codes = coded.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)
    counts = np.bincount(codes, minlength=len(names))
    facts = store.predictions(column.prefix).facts() if column.source == "predictions" else None
    if facts is not None:
        classes = (*facts.classes, *sorted(set(names) - set(facts.classes)))
    elif column.source == "label":
        classes = tuple(sorted(names))
    else:
        classes = tuple(names[i] for i in sorted(range(len(names)), key=lambda i: (-counts[i], names[i])))
    place = {name: i for i, name in enumerate(classes)}
    of_code = np.array([*(place[name] for name in names), NO_CLASS], np.int32)
    return MapColours(
        by=column.text,
        title=title,
        kind="classes",
        values=of_code[codes],
        classes=classes,
        counts=tuple(np.bincount(of_code[codes] + 1, minlength=len(classes) + 1)[1:].tolist()),
        positive=None if facts is None else facts.positive,
    )
