"""Labels that a person gives one by one: rows with a class and a place, checked against the store."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from embedstore.annotations import read_geometry
from embedstore.errors import LabelError, LabelFormatError
from embedstore.labels.files.coordinate_frames import level_0
from embedstore.labels.files.label_table import ALIASES, NUMBER_COLUMNS, label_table, table_labels
from embedstore.labels.files.slide_names import SlideNames
from embedstore.labels.importing import ImportConfig
from embedstore.store import Label, Store
from embedstore.store.label import statement_rows
from embedstore.tables import table_of
from embedstore.typed_values import guess

#: The columns of a row; the first is the class, the others say what the label is about.
FIELDS = ("label", "tile_id", "slide_id", "x", "y", "edge_l0", "name", "geometry", "patient", "split", "kind")
NAME = "the labels given"  # what messages call them
LONGEST_CLASS = 200  # letters; a class is a word or two, and heads and exports repeat it
#: The class of rows that need none.
NO_CLASS = "any"

Rows = Sequence[Mapping[str, Any]] | Any
"""Dictionaries, or a table that Arrow reads: of pandas, polars, pyarrow."""

Values: TypeAlias = list[Any] | pa.Array
"""The values of a field: text or numbers as Arrow has them, or of several types."""


def given_labels(
    store: Store, rows: Rows, *, task: str, author: str, collection: str | None = None, only_places: bool = False
) -> pa.Table:
    """The labels of rows that a person gives, each with a class and a place in level-0 pixels.

    `label` (or `class`) holds the class. The place is a `tile_id`; or a `slide_id` with `x` and `y`, for a tile with
    `edge_l0` as well; or a `slide_id` with the `name` of a ready-made tile; or with a `geometry`, GeoJSON or WKB; or a
    `slide_id` alone, the whole slide; or a `patient`. `split` is optional, and `kind` where it follows from the others.

    Args:
        rows: See `Rows`.
        collection: Where tile ids are looked up; in all collections when None.
        only_places: Rows need no class.
    Returns:
        Rows of LABELS but for the key, in the order of those given.
    Raises:
        ConfigError: the task or the author has no name.
        LabelFormatError: a row lacks what its place needs, or has a field that there is not.
        SlideNotInStoreError, TileNotFoundError: the store lacks what rows are about.
        LabelError: a place lies outside its slide, or a class is no name.
    """
    ImportConfig(task=task, author=author)  # checks both names
    columns = _columns(rows)
    count = len(next(iter(columns.values()), ()))
    if not count:
        raise LabelFormatError(f"{NAME} are none; expected rows with a label and a place, such as slide_id, x and y")
    if only_places:
        columns["label"] = pa.repeat(NO_CLASS, count)
    kinds = _kinds(columns, count)
    columns["kind"] = pa.array(kinds, pa.string())
    drawn = np.flatnonzero(kinds == "area")
    rest = np.flatnonzero(kinds != "area")
    found = []
    if len(rest):
        of_rest = {name: _taken(values, rest) for name, values in columns.items() if name != "geometry"}
        table = label_table(table_of(of_rest, name=NAME, error=LabelFormatError), task=task)
        if len(table) < len(rest):
            missing = np.setdiff1d(np.arange(len(rest)), table.number)
            raise LabelFormatError(f"{NAME}, row {rest[missing[0]] + 1}: has no class; expected it as label")
        found.append(
            table_labels(
                table, store, task=task, author=author, class_map={}, collection=collection, origin="level0", source=""
            )
        )
    if len(drawn):
        of_drawn = {name: list(_taken(values, drawn)) for name, values in columns.items() if name != "kind"}
        of_drawn = {name: [_plain(value) for value in values] for name, values in of_drawn.items()}
        found.append(statement_rows(_areas(store, of_drawn, drawn, task=task, author=author)))
    labels = pa.concat_tables(found).combine_chunks()
    if len(found) > 1:
        labels = labels.take(np.argsort(np.concatenate([rest, drawn])))
    _check_classes(labels.column("label").unique().to_pylist())
    return labels


def _columns(rows: Rows) -> dict[str, Values]:
    """{field: its value in each row}."""
    columns: dict[str, Values]
    if hasattr(rows, "__arrow_c_stream__") or isinstance(rows, pa.Table):
        table = pa.table(rows)
        columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    elif isinstance(rows, Iterable) and not isinstance(rows, str | bytes | Mapping):
        given = list(rows)
        if odd := [row for row in given if not isinstance(row, Mapping)]:
            raise LabelFormatError(f"{NAME}: expected rows to be dictionaries, found a {type(odd[0]).__name__}")
        names = dict.fromkeys(name for row in given for name in row)
        columns = {name: [row.get(name) for row in given] for name in names}
    else:
        raise LabelFormatError(f"{NAME}: expected a list of rows or a table, found a {type(rows).__name__}")
    own = {other: name for name, other in ALIASES.items()}
    for name in list(columns):
        field = own.get(name, name)
        if field not in FIELDS:
            raise LabelFormatError(
                f"{NAME} have a field {name!r}; expected of {', '.join(FIELDS)}{guess([str(name)], FIELDS)}"
            )
        if field != name and field in columns:
            raise LabelFormatError(f"{NAME} have both {field} and {name}; expected one of them")
        columns[field] = columns.pop(name)
    return {field: _in_arrow(field, values) for field, values in columns.items()}


def _in_arrow(field: str, values: Values) -> Values:
    """Text, and numbers where they are expected, in Arrow's memory; other values as a list."""
    if field == "geometry":
        return values if isinstance(values, list) else values.to_pylist()
    try:
        array = values if isinstance(values, pa.Array) else pa.array(values)
        if pa.types.is_dictionary(array.type):
            array = array.cast(array.type.value_type)
        if pa.types.is_large_string(array.type) or pa.types.is_string_view(array.type):
            array = array.cast(pa.string())
    except (pa.ArrowException, OverflowError, ValueError, TypeError):  # of several types, as JSON may have them
        return values if isinstance(values, list) else values.to_pylist()
    is_number = pa.types.is_integer(array.type) or (pa.types.is_floating(array.type) and field in NUMBER_COLUMNS)
    if pa.types.is_string(array.type) or (is_number and field in (*NUMBER_COLUMNS, "tile_id")):
        return array
    return values if isinstance(values, list) else values.to_pylist()


def _taken(values: Values, rows: NDArray[np.intp]) -> Values:
    """The values of some rows, of all in their order where they are as many."""
    if len(rows) == len(values):
        return values
    return [values[row] for row in rows.tolist()] if isinstance(values, list) else values.take(pa.array(rows))


def _plain(value: Any) -> Any:
    return value.as_py() if isinstance(value, pa.Scalar) else value


def _kinds(columns: Mapping[str, Values], count: int) -> NDArray[Any]:
    """What each row is about, by the fields that it has."""
    has = {name: _is_given(columns.get(name), count) for name in FIELDS}
    kinds = np.full(count, "", object)
    kinds[has["patient"]] = "patient"
    kinds[has["slide_id"]] = "slide"
    kinds[has["x"] | has["y"]] = "point"
    kinds[(has["x"] | has["y"]) & has["edge_l0"]] = "tile"
    kinds[has["tile_id"] | has["name"]] = "tile"
    if has["kind"].any():
        said = np.array([str(_plain(value)) for value in columns["kind"]], object)
        kinds[has["kind"]] = said[has["kind"]]
    kinds[has["geometry"]] = "area"
    wrong = np.flatnonzero((kinds == "") & ~has["kind"] | (kinds == "area") & ~has["geometry"])
    if len(wrong):
        row = int(wrong[0])
        if kinds[row] == "area":
            raise LabelFormatError(f"{NAME}, row {row + 1}: is an area and has no geometry")
        raise LabelFormatError(
            f"{NAME}, row {row + 1}: says no place; expected tile_id, slide_id (with x and y, or name, or geometry), "
            "or patient"
        )
    return kinds


def _is_given(values: Values | None, count: int) -> NDArray[np.bool_]:
    """(n,) whether each row has a value that is not NaN."""
    if values is None:
        return np.zeros(count, bool)
    if isinstance(values, list):
        return np.array([value is not None and value == value for value in values], bool)
    return pc.invert(pc.is_null(values, nan_is_null=True)).to_numpy(zero_copy_only=False)


def _areas(
    store: Store, columns: Mapping[str, Sequence[Any]], rows: NDArray[np.intp], *, task: str, author: str
) -> list[Label]:
    """The labels of rows with a geometry.

    Args:
        columns: {field: its value in each of these rows}.
        rows: Their numbers among all.
    """
    slides = {slide.slide_id: slide for slide in store.ledger.slides()}
    names = SlideNames(slides)
    labels = []
    for at, row in enumerate(rows.tolist()):
        where = f"{NAME}, row {row + 1}"
        about = {name: _text(columns, name, at, where) for name in ("label", "slide_id", "split", "patient")}
        if about["label"] is None or about["slide_id"] is None:
            raise LabelFormatError(f"{where}: has no {'label' if about['label'] is None else 'slide_id'}")
        slide = slides[names.one(about["slide_id"], where=where)]
        shape = level_0([_shape(columns["geometry"][at], where)], slide, origin="level0", where=where)[0]
        is_point = shape.geom_type == "Point"
        labels.append(
            Label(
                task=task,
                label=about["label"],
                kind="point" if is_point else "area",
                slide_id=slide.slide_id,
                x=float(shape.x) if is_point else None,
                y=float(shape.y) if is_point else None,
                geometry=None if is_point else shapely.to_wkb(shape),
                split=about["split"],
                patient=about["patient"],
                author=author,
            )
        )
    return labels


def _text(columns: Mapping[str, Sequence[Any]], name: str, row: int, where: str) -> str | None:
    value = columns[name][row] if name in columns else None
    if value is not None and not isinstance(value, str):
        raise LabelFormatError(f"{where}: expected {name} to be a text, found {value!r}")
    return (value or "").strip() or None


def _shape(given: Any, where: str) -> shapely.Geometry:
    """A point or an area, from GeoJSON or WKB."""
    try:
        if isinstance(given, bytes):
            given = shapely.to_geojson(shapely.from_wkb(given))
        return read_geometry(json.loads(given) if isinstance(given, str) else given)
    except LabelFormatError as error:
        raise LabelFormatError(f"{where}: {error}") from error
    except (ValueError, RecursionError, shapely.errors.ShapelyError) as error:
        raise LabelFormatError(f"{where}: expected a geometry as GeoJSON or WKB, found neither") from error


def _check_classes(names: Sequence[str]) -> None:
    for name in names:
        if len(name) > LONGEST_CLASS or not name.isprintable():
            raise LabelError(
                f"{name[:LONGEST_CLASS]!r} cannot name a class; expected at most {LONGEST_CLASS} printable characters"
            )
