"""Labels that a person gives one by one: rows with a class and a place, checked against the store."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import shapely

from embedstore.annotations import read_geometry
from embedstore.errors import LabelError, LabelFormatError
from embedstore.labels.files.coordinate_frames import level_0
from embedstore.labels.files.label_table import ALIASES, label_table, table_labels
from embedstore.labels.files.slide_names import SlideNames
from embedstore.labels.importing import ImportConfig
from embedstore.store import Label, Store
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


def given_labels(
    store: Store, rows: Rows, *, task: str, author: str, collection: str | None = None, only_places: bool = False
) -> list[Label]:
    """The labels of rows that a person gives, each with a class and a place in level-0 pixels.

    `label` (or `class`) holds the class. The place is a `tile_id`; or a `slide_id` with `x` and `y`, for a tile with
    `edge_l0` as well; or a `slide_id` with the `name` of a ready-made tile; or with a `geometry`, GeoJSON or WKB; or a
    `slide_id` alone, the whole slide; or a `patient`. `split` is optional, and `kind` where it follows from the others.

    Args:
        rows: See `Rows`.
        collection: Where tile ids are looked up; in all collections when None.
        only_places: Rows need no class.
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
        columns["label"] = [NO_CLASS] * count
    columns["kind"] = [_kind(columns, row) for row in range(count)]
    drawn = [row for row, kind in enumerate(columns["kind"]) if kind == "area"]
    rest = [row for row in range(count) if columns["kind"][row] != "area"]
    labels: dict[int, Label] = {}
    if rest:
        table = label_table(
            table_of(
                {name: [values[row] for row in rest] for name, values in columns.items() if name != "geometry"},
                name=NAME,
                error=LabelFormatError,
            ),
            task=task,
        )
        if len(table) < len(rest):
            missing = sorted(set(range(len(rest))) - set(table.number.tolist()))
            raise LabelFormatError(f"{NAME}, row {rest[missing[0]] + 1}: has no class; expected it as label")
        found = table_labels(
            table, store, task=task, author=author, class_map={}, collection=collection, origin="level0", source=""
        )
        labels |= dict(zip(rest, Label.from_table(found), strict=True))
    if drawn:
        labels |= dict(zip(drawn, _areas(store, columns, drawn, task=task, author=author), strict=True))
    ordered = [labels[row] for row in range(count)]
    _check_classes(ordered)
    return ordered


def _columns(rows: Rows) -> dict[str, list[Any]]:
    """{field: its value in each row}."""
    if hasattr(rows, "__arrow_c_stream__") or isinstance(rows, pa.Table):
        table = pa.table(rows)
        columns = {name: table.column(name).to_pylist() for name in table.column_names}
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
    return columns


def _kind(columns: Mapping[str, Sequence[Any]], row: int) -> str:
    """What a row is about, by the fields that it has."""

    def has(name: str) -> bool:
        return name in columns and columns[name][row] is not None and columns[name][row] == columns[name][row]

    if has("geometry"):
        return "area"
    if has("kind"):
        if columns["kind"][row] == "area":
            raise LabelFormatError(f"{NAME}, row {row + 1}: is an area and has no geometry")
        return str(columns["kind"][row])
    if has("tile_id") or has("name"):
        return "tile"
    if has("x") or has("y"):
        return "tile" if has("edge_l0") else "point"
    if has("slide_id"):
        return "slide"
    if has("patient"):
        return "patient"
    raise LabelFormatError(
        f"{NAME}, row {row + 1}: says no place; expected tile_id, slide_id (with x and y, or name, or geometry), "
        "or patient"
    )


def _areas(
    store: Store, columns: Mapping[str, Sequence[Any]], rows: Sequence[int], *, task: str, author: str
) -> list[Label]:
    """The labels of rows with a geometry."""
    slides = {slide.slide_id: slide for slide in store.ledger.slides()}
    names = SlideNames(slides)
    labels = []
    for row in rows:
        where = f"{NAME}, row {row + 1}"
        about = {name: _text(columns, name, row, where) for name in ("label", "slide_id", "split", "patient")}
        if about["label"] is None or about["slide_id"] is None:
            raise LabelFormatError(f"{where}: has no {'label' if about['label'] is None else 'slide_id'}")
        slide = slides[names.one(about["slide_id"], where=where)]
        shape = level_0([_shape(columns["geometry"][row], where)], slide, origin="level0", where=where)[0]
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


def _check_classes(labels: Sequence[Label]) -> None:
    for name in {label.label for label in labels}:
        if len(name) > LONGEST_CLASS or not name.isprintable():
            raise LabelError(
                f"{name[:LONGEST_CLASS]!r} cannot name a class; expected at most {LONGEST_CLASS} printable characters"
            )
