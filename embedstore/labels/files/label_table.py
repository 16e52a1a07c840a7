"""Labels in tables: of tiles, places, whole slides and patients."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from embedstore.errors import LabelError, LabelFormatError, SlideNotInStoreError, TileNotFoundError
from embedstore.labels.files.annotations import Origin
from embedstore.labels.files.coordinate_frames import corner_l0
from embedstore.labels.files.slide_names import SlideNames
from embedstore.sorted_ids import positions_in
from embedstore.store import SlideRow, Store, read_tile_locations
from embedstore.store.labels import Kind

ALIASES = {"slide": "slide_id", "class": "label", "file": "name", "edge": "edge_l0"}
TEXTS = ("label", "slide_id", "name", "split", "patient", "kind", "task")
NUMBERS = ("x", "y", "edge_l0")
KNOWN = (*TEXTS, *NUMBERS, "tile_id")
SHOWN = 3  # rows that a message names


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelTable:
    """The rows of a table that have a class.

    Attributes:
        path: The file.
        rows: Columns of KNOWN that the table has, texts as strings, numbers as float64, tile_id as int64.
        number: (n,) number of each row in the file, from 1.
        skipped: Why other rows were left out, and how many.
    """

    path: Path
    rows: pa.Table
    number: NDArray[np.int64]
    skipped: Mapping[str, int] = field(default_factory=Counter)

    def has(self, column: str) -> bool:
        return column in self.rows.column_names

    def list(self, column: str) -> list[Any]:
        """Values of a column, Nones where the table does not have it."""
        return self.rows.column(column).to_pylist() if self.has(column) else [None] * self.rows.num_rows

    def there(self, column: str) -> NDArray[np.bool_]:
        """(n,) whether each row has a value."""
        if not self.has(column):
            return np.zeros(self.rows.num_rows, bool)
        return self.rows.column(column).is_valid().to_numpy()

    def refuse(self, wrong: NDArray[np.bool_], what: str) -> None:
        """Raise LabelFormatError if any row is wrong."""
        if wrong.any():
            rows = ", ".join(map(str, self.number[wrong][:SHOWN]))
            more = ", …" if wrong.sum() > SHOWN else ""
            raise LabelFormatError(f"{self.path}: {int(wrong.sum())} rows {what} (row {rows}{more})")


def read_label_table(path: str | Path, *, task: str) -> LabelTable:
    """Read a CSV or Parquet file of labels.

    Columns: `label` (or `class`), and what it is about: `tile_id`; `slide_id` (or `slide`) with `x` and `y`, which is a
    point, and with `edge_l0` also a tile; `slide_id` with `name` (or `file`), a ready-made tile; `slide_id` alone, the
    whole slide; or `patient` alone. Perhaps `split`, `patient`, and `task`. Text stays text: patient 007 keeps its
    zeros. Rows without a class, and those of another task, are skipped and counted.

    Raises:
        LabelFormatError: it cannot be read, lacks a column, or a number is none.
    """
    path = Path(path)
    raw = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path)
    names = [ALIASES.get(name.strip().lower(), name.strip().lower()) for name in raw.column_names]
    twice = sorted({name for name in names if name in KNOWN and names.count(name) > 1})
    if twice:
        raise LabelFormatError(f"{path}: more than one column means {', '.join(twice)}: {raw.column_names}")
    columns = {name: raw.column(i) for i, name in enumerate(names) if name in KNOWN}
    if "label" not in columns or not {"tile_id", "slide_id", "patient"} & columns.keys():
        raise LabelFormatError(
            f"{path}: expected the column label (or class) and one of tile_id, slide_id (or slide) and patient; "
            f"found {', '.join(raw.column_names) or 'no column'}"
        )
    rows = pa.table({name: _typed(column, name, path) for name, column in columns.items()})
    skipped: Counter[str] = Counter()
    keep = pc.is_valid(rows.column("label")).to_numpy()
    skipped["without a class"] = int((~keep).sum())
    if "task" in columns:
        ours = pc.fill_null(pc.equal(rows.column("task"), task), True).to_numpy()
        skipped["of another task"] = int((keep & ~ours).sum())
        keep = keep & ours
    number = np.flatnonzero(keep) + 1
    return LabelTable(path=path, rows=rows.filter(pa.array(keep)), number=number, skipped=+skipped)


def _read_csv(path: Path) -> pa.Table:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            first = file.readline()
        delimiter = max(",;\t", key=first.count)
        names = next(csv.reader([first], delimiter=delimiter), [])
        return pa.csv.read_csv(
            path,
            parse_options=pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True
            ),
        )
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise LabelFormatError(f"{path}: cannot be read as CSV in UTF-8: {error}") from error


def _read_parquet(path: Path) -> pa.Table:
    try:
        return pa.parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise LabelFormatError(f"{path}: cannot be read as Parquet: {error}") from error


def _typed(column: pa.ChunkedArray, name: str, path: Path) -> pa.ChunkedArray:
    kind = pa.int64() if name == "tile_id" else pa.float64() if name in NUMBERS else pa.string()
    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
            column = column.cast(pa.string())
        if pa.types.is_string(column.type):
            column = pc.utf8_trim_whitespace(column)
            column = pc.if_else(pc.equal(column, ""), None, column)
        typed = column.cast(kind)
    except pa.ArrowException as error:
        raise LabelFormatError(f"{path}: column {name} holds what is no {kind}: {error}") from error
    if kind == pa.float64():
        typed = pc.if_else(pc.is_nan(typed), None, typed)  # how pandas writes what is not there
        if pc.any(pc.is_inf(typed)).as_py():
            raise LabelFormatError(f"{path}: column {name} holds an infinite number")
    return typed


# -- places -----------------------------------------------------------------------------------


def table_places(
    table: LabelTable, store: Store, *, collection: str | None = None, slide: str | None = None, origin: Origin
) -> list[dict[str, Any]]:
    """What each row is about, in the terms of `Label`: kind, slide_id, name, x, y, edge_l0 and patient.

    Args:
        collection: Where tile ids are looked up; in all collections when None.
        slide: The slide of rows that name none.
        origin: Where x and y begin.
    Raises:
        LabelFormatError: a row lacks what its columns promise.
        SlideNotInStoreError, TileNotFoundError: rows are about what the store does not have; the first are named.
        LabelError: a place lies outside of its slide.
    """
    kinds = _kinds(table, slide is not None)
    rows: dict[str, list[Any]] = {name: table.list(name) for name in ("slide_id", "name", *NUMBERS, "patient")}
    by_id = (kinds == "tile") & table.there("tile_id")
    slides = {slide.slide_id: slide for slide in store.ledger.slides()}
    if slide is not None:
        rows["slide_id"] = [slide if name is None else name for name in rows["slide_id"]]
    asked = {rows["slide_id"][i] for i in np.flatnonzero((kinds != "patient") & ~by_id)}
    means = _slides(asked, slides, table.path)
    rows["slide_id"] = [means.get(name) for name in rows["slide_id"]]
    _check_patients({rows["patient"][i] for i in np.flatnonzero(kinds == "patient")}, slides, table.path)
    if by_id.any():
        _look_up(table, by_id, rows, store, collection)
    _check_names(rows, np.flatnonzero((kinds == "tile") & ~by_id & table.there("name")), store, table.path)
    _into_level_0(rows, np.flatnonzero(~by_id & np.isin(kinds, ("tile", "point"))), slides, origin, table)
    return [
        _place(kind, *values)
        for kind, *values in zip(kinds.tolist(), *(rows[name] for name in rows), strict=True)
    ]  # fmt: skip


def _place(
    kind: Kind, slide_id: str, name: str | None, x: float, y: float, edge_l0: float, patient: str | None
) -> dict[str, Any]:
    place: dict[str, Any] = {"kind": kind, "slide_id": None if kind == "patient" else slide_id, "patient": patient}
    if kind == "tile" and name is not None:
        place["name"] = name
    elif kind in ("tile", "point"):
        place |= {"x": x, "y": y}
        if kind == "tile":
            place["edge_l0"] = edge_l0
    return place


def _kinds(table: LabelTable, given_slide: bool) -> NDArray[np.object_]:
    """(n,) what each row is about: by its column `kind`, else by the columns that the table has."""
    n = table.rows.num_rows
    there = {name: table.there(name) for name in KNOWN}
    slide = there["slide_id"] | given_slide
    placed = there["x"] & there["y"]
    if table.has("kind"):
        kinds = np.array(table.list("kind"), object)
        allowed = set(get_args(Kind)) - {"area"}
        table.refuse(
            ~np.isin(kinds.astype(str), sorted(allowed)), f"have a kind other than {', '.join(sorted(allowed))}"
        )
    elif table.has("tile_id"):
        kinds = np.full(n, "tile", object)
        table.refuse(~there["tile_id"], "have no tile_id")
    elif table.has("name") or table.has("x") or table.has("y"):
        square = there["name"] | (there["edge_l0"] if table.has("edge_l0") else np.zeros(n, bool))
        kinds = np.where(square, "tile", "point").astype(object)
        if table.has("edge_l0"):
            table.refuse(~square, "have neither name nor edge_l0")
    else:
        kinds = np.full(n, "slide" if table.has("slide_id") or given_slide else "patient", object)
    tile = kinds == "tile"
    square = placed & there["edge_l0"]
    table.refuse(
        tile & ~(there["tile_id"] | there["name"] | square), "are tiles without tile_id, name, or x, y, edge_l0"
    )
    table.refuse((kinds == "point") & ~placed, "have no x or no y")
    table.refuse((kinds != "patient") & ~there["tile_id"] & ~slide, "have no slide_id; --slide gives one to all")
    table.refuse((kinds == "patient") & ~there["patient"], "have no patient")
    edges = np.array([1.0 if edge is None else edge for edge in table.list("edge_l0")])
    table.refuse(tile & (edges <= 0), "have an edge_l0 that is not above 0")
    return kinds


def _slides(asked: set[str], slides: Mapping[str, Any], path: Path) -> dict[str, str]:
    names = SlideNames(slides)
    found, missing = {}, []
    for name in sorted(asked):
        hits = names.find(name)
        if len(hits) == 1:
            found[name] = hits[0]
        else:
            missing.append(name)
    if len(missing) == 1:
        names.one(missing[0], where=str(path))
    if missing:
        raise SlideNotInStoreError(
            f"{path}: {len(missing)} of its {len(asked)} slides are not in the store, or not by one name: "
            f"{', '.join(missing[:SHOWN])}, …; the store has {', '.join(sorted(slides)[:SHOWN])}, …"
        )
    return found


def _check_patients(asked: set[str], slides: Mapping[str, SlideRow], path: Path) -> None:
    known = {slide.patient for slide in slides.values() if slide.patient is not None}
    missing = sorted(asked - known)
    if missing:
        raise SlideNotInStoreError(
            f"{path}: {len(missing)} of its {len(asked)} patients have no slide in the store: "
            f"{', '.join(missing[:SHOWN])}; the store has {', '.join(sorted(known)[:SHOWN]) or 'no patient'}; "
            "ingest with a list that has the column patient"
        )


def _look_up(
    table: LabelTable, by_id: NDArray[np.bool_], rows: dict[str, list[Any]], store: Store, collection: str | None
) -> None:
    """Write the places of tiles that are given by id into the rows."""
    ids = pc.fill_null(table.rows.column("tile_id"), 0).to_numpy()[by_id]  # Nones would make them inexact floats
    names = [collection] if collection else store.collection_names()
    found = np.full(len(ids), -1, np.int64)
    places: list[dict[str, Any] | None] = [None] * len(ids)
    for name in names:
        at = read_tile_locations(store.collection(name))
        hit = positions_in(at.tile_id, ids, order=np.argsort(at.tile_id))
        for i in np.flatnonzero(hit >= 0):
            edge = int(at.edge_l0[hit[i]])
            if found[i] >= 0 and found[i] != edge:
                raise LabelError(
                    f"{table.path}: tile {ids[i]} has edges of {found[i]} and {edge} level-0 pixels in collections of "
                    "different tilings; name one with --collection"
                )
            found[i] = edge
            x, y = at.xy_l0[hit[i]].tolist()
            file = None if at.names is None else at.names[hit[i]]
            places[i] = {"slide_id": at.slides[at.slide[hit[i]]], "name": file, "x": x, "y": y, "edge_l0": edge}
    missing = [str(tile) for tile in ids[found < 0][:SHOWN]]
    if missing:
        raise TileNotFoundError(
            f"{table.path}: {int((found < 0).sum())} of its {len(ids)} tiles are not in "
            f"{', '.join(names) or 'the store'}: {', '.join(missing)}; "
            "tile ids stand in `embedstore ls --tiles` and in every export"
        )
    for i, place in zip(np.flatnonzero(by_id), places, strict=True):
        for name, value in (place or {}).items():
            rows[name][i] = value


def _check_names(rows: Mapping[str, Sequence[Any]], chosen: NDArray[np.int64], store: Store, path: Path) -> None:
    """Every ready-made tile that is named must be in a collection."""
    if not len(chosen):
        return
    asked = {(rows["slide_id"][i], rows["name"][i]) for i in chosen}
    known: set[tuple[str, str]] = set()
    for name in store.collection_names():
        at = read_tile_locations(store.collection(name), slides={slide for slide, _ in asked})
        if at.names is not None:
            known |= set(zip((at.slides[code] for code in at.slide), at.names, strict=True))
    missing = sorted(asked - known)
    if missing:
        shown = ", ".join(f"{name} of {slide}" for slide, name in missing[:SHOWN])
        raise TileNotFoundError(
            f"{path}: {len(missing)} of its {len(asked)} named tiles are in no collection: {shown}; "
            "names are paths below the folder of tiles, as `embedstore ls --tiles N` shows them"
        )


def _into_level_0(
    rows: dict[str, list[Any]],
    chosen: NDArray[np.int64],
    slides: Mapping[str, SlideRow],
    origin: Origin,
    table: LabelTable,
) -> None:
    """Shift x and y of points and tiles, and refuse what lies outside of its slide."""
    outside = []
    for i in chosen.tolist():
        x, y, edge = rows["x"][i], rows["y"][i], rows["edge_l0"][i] or 0
        if rows["name"][i] is not None:
            continue
        slide = slides[rows["slide_id"][i]]
        if slide.is_ready_made:
            raise LabelError(
                f"{table.path}, row {table.number[i]}: slide {slide.slide_id!r} is a folder of ready-made tiles, "
                "which have no place; label them by the columns slide_id, name and label"
            )
        left, top = corner_l0(slide, origin)
        rows["x"][i], rows["y"][i] = x + left, y + top
        width, height = slide.width_l0, slide.height_l0
        if width and height and not (-edge <= x + left < width and -edge <= y + top < height):
            outside.append((i, x + left, y + top, width, height))
    if outside:
        i, x, y, width, height = outside[0]
        raise LabelError(
            f"{table.path}: {len(outside)} places lie outside of their slides, the first in row {table.number[i]}: "
            f"{x:g}, {y:g} on {rows['slide_id'][i]}, which spans {width}×{height} px; expected level-0 pixels "
            f"(origin {origin}; see --origin)"
        )
