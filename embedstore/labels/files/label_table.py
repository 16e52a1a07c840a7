"""Labels in tables: of tiles, places, whole slides and patients."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.annotations import Origin
from embedstore.errors import LabelError, LabelFormatError, SlideNotInStoreError, TileNotFoundError
from embedstore.labels.files.coordinate_frames import corner_l0
from embedstore.labels.files.slide_names import SlideNames
from embedstore.sorted_ids import positions_in
from embedstore.store import Collection, SlideRow, Store, TileLocation, TileLocations, read_tile_locations
from embedstore.store.label import Kind, statement_rows
from embedstore.store.tile_locations import locations_of
from embedstore.tables import PATIENT_COLUMNS, ToolTable, UserTable, read_table, tool_table

#: {column: other names for it}
ALIASES = {"slide_id": "slide", "label": "class", "name": "file", "edge_l0": "edge"}
TEXT_COLUMNS = ("label", "slide_id", "name", "split", "patient", "kind", "task")
NUMBER_COLUMNS = ("x", "y", "edge_l0")
COLUMNS = (*TEXT_COLUMNS, *NUMBER_COLUMNS, "tile_id")
#: How a tile without a file is named for other tools: x, y and edge, level-0 pixels.
PLACE_NAME = re.compile(r"(-?\d+)_(-?\d+)_(\d+)")
SHOWN = 3  # examples that a message names
FEW_TILES = 500  # are found by a filter on their ids; for more, all tiles are read


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelTable:
    """The rows of a table that have a class.

    Attributes:
        source: The table that was given.
        rows: Those of COLUMNS that the table has: text as strings, numbers as float64, tile_id as int64.
        number: (n,) index of each row in `source`.
        skipped: {why rows were left out: how many}.
        tool: The other tool that the table is of; None where it is ours.
    """

    source: UserTable
    rows: pa.Table
    number: NDArray[np.int64]
    skipped: Mapping[str, int] = field(default_factory=Counter)
    tool: ToolTable | None = None

    def __len__(self) -> int:
        return self.rows.num_rows

    @property
    def path(self) -> Path:
        return self.source.path

    def has(self, column: str) -> bool:
        """Whether the table has a column."""
        return column in self.rows.column_names

    def column(self, name: str) -> pa.Array:
        """The values of a column; all null if the table lacks it."""
        if self.has(name):
            return self.rows.column(name).combine_chunks()
        return pa.nulls(len(self), pa.float64() if name in NUMBER_COLUMNS else pa.string())

    def numbers(self, name: str) -> NDArray[np.float64]:
        """(n,) a column of numbers, NaN where there is none."""
        return self.column(name).to_numpy(zero_copy_only=False).astype(np.float64)  # a copy

    def codes(self, name: str) -> tuple[NDArray[np.int32], list[str]]:
        """(n,) index of each row's text in those of a column, -1 where there is none; and the texts."""
        encoded = self.column(name).dictionary_encode()
        return pc.fill_null(encoded.indices, -1).to_numpy().astype(np.int32), encoded.dictionary.to_pylist()

    def is_filled(self, column: str) -> NDArray[np.bool_]:
        """(n,) whether each row has a value in a column."""
        if not self.has(column):
            return np.zeros(len(self), bool)
        return self.rows.column(column).is_valid().to_numpy()

    def place(self, row: int) -> str:
        """Where a row is in the file, such as 'line 2'."""
        return self.source.place([self.number[row]])

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the file."""
        if self.tool is None:
            return self.source.notes
        note = f"{self.path.name}: read as a table of {self.tool.tool}"
        if len(self.tool.folds) > 1:
            note += f"; `fit-head --split file --split-file {self.path.name}` takes its {len(self.tool.folds)} folds"
        return (*self.source.notes, note)

    def refuse(self, invalid: NDArray[np.bool_], problem: str) -> None:
        """Raise LabelFormatError if any row is invalid."""
        if invalid.any():
            raise self.source.error(f"{int(invalid.sum())} rows {problem}", self.number[invalid])


def read_label_table(path: str | Path, *, task: str) -> LabelTable:
    """Read a table of labels: CSV, Excel, Parquet or Arrow.

    The column `label` (or `class`) holds the class. What the label is about is given by one of:

    - `tile_id`: a tile;
    - `slide_id` (or `slide`), `x` and `y`: a point; with `edge_l0` as well, a tile;
    - `slide_id` and `name` (or `file`): a ready-made tile;
    - `slide_id` alone: the whole slide;
    - `patient` alone: all slides of the patient.

    `split`, `patient` and `task` are optional. Text stays text: patient 007 keeps its zeros. Rows without a class, and
    those of another task, are skipped and counted. Tables of Patho-Bench, PathoROB and eva are read as they are; see
    `tool_table`.

    Raises:
        LabelFormatError: the file cannot be read, lacks a column, or has text where a number is expected.
    """
    return label_table(read_table(path, error=LabelFormatError), task=task)


def label_table(source: UserTable, *, task: str) -> LabelTable:
    """The rows of a table that have a class, as of `read_label_table`."""
    tool = tool_table(source, task=task)
    columns = {name: found for name in COLUMNS if (found := _column(source, name)) is not None}
    if tool is not None:
        columns = dict(tool.columns)
    if "label" not in columns or not {"tile_id", "slide_id", "patient"} & columns.keys():
        raise source.error(
            "expected the column label (or class) and one of tile_id, slide_id (or slide) and patient; "
            f"found {', '.join(source.names) or 'no column with a name'}"
        )
    rows = pa.table({name: _typed(source, name, column) for name, column in columns.items()})
    if tool is not None:
        rows = _of_tool(rows, tool)
    skipped: Counter[str] = Counter()
    keep = pc.is_valid(rows.column("label")).to_numpy()
    skipped["without a class"] = int((~keep).sum())
    if "task" in columns:
        of_task = pc.fill_null(pc.equal(rows.column("task"), task), True).to_numpy()
        skipped["of another task"] = int((keep & ~of_task).sum())
        keep = keep & of_task
    return LabelTable(
        source=source, rows=rows.filter(pa.array(keep)), number=np.flatnonzero(keep), skipped=+skipped, tool=tool
    )


def _of_tool(rows: pa.Table, tool: ToolTable) -> pa.Table:
    """Rows of another tool's table: classes by their names, and tiles by their place where that is their name."""
    if tool.classes:
        labels = [None if label is None else tool.classes.get(label, label) for label in rows["label"].to_pylist()]
        rows = rows.set_column(rows.column_names.index("label"), "label", pa.array(labels, pa.string()))
    if "name" not in rows.column_names:
        return rows
    names = rows["name"].to_pylist()
    places = [None if name is None else PLACE_NAME.fullmatch(name) for name in names]
    if not any(places):
        return rows
    for column, group in zip(NUMBER_COLUMNS, (1, 2, 3), strict=True):
        numbers = [None if place is None else float(place[group]) for place in places]
        rows = rows.append_column(column, pa.array(numbers, pa.float64()))
    others = [None if place else name for name, place in zip(names, places, strict=True)]
    return rows.set_column(rows.column_names.index("name"), "name", pa.array(others, pa.string()))


def _column(table: UserTable, name: str) -> str | None:
    """The column of a name, or of its other name."""
    if name == "patient":
        return table.find(*PATIENT_COLUMNS)
    own, other = table.find(name), table.find(ALIASES[name]) if name in ALIASES else None
    if own is not None and other is not None:
        raise table.error(f"more than one column means {name}: {own}, {other}; expected one of them")
    return own if other is None else other


def _typed(table: UserTable, name: str, column: str) -> pa.Array:
    if name == "tile_id":
        return table.integer_array(column)
    if name in NUMBER_COLUMNS:
        return table.number_array(column)
    try:
        return table.text_array(column)
    except UnicodeEncodeError as error:
        raise table.error(f"column {column!r} has {error.object!r}, which is no text; expected UTF-8") from None


def without_unknown_slides(table: LabelTable, store: Store, *, slide: str | None) -> LabelTable:
    """The rows of slides and patients that the store has; the others are counted.

    Args:
        slide: The slide of rows that name none.
    """
    slides = {row.slide_id: row for row in store.ledger.slides()}
    patients = {row.patient for row in slides.values()}
    names = SlideNames(slides)
    kind = _kinds(table, has_default_slide=slide is not None)
    of_slide, named = table.codes("slide_id")
    of_patient, persons = table.codes("patient")
    has_slide = np.array([*(bool(names.find(name)) for name in named), True])
    has_patient = np.array([*(patient in patients for patient in persons), None in patients])
    known = np.where(kind == "patient", has_patient[of_patient], has_slide[of_slide])
    skipped = Counter(table.skipped) + Counter({"of slides that the store lacks": int((~known).sum())})
    return replace(table, rows=table.rows.filter(pa.array(known)), number=table.number[known], skipped=skipped)


# -- labels -----------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False)
class _Places:
    """What each of n rows is about.

    Attributes:
        slides: The slides of the store.
        kind: (n,) of `Kind`, as text.
        slide: (n,) index into `slides`, -1 where there is none.
        name: n texts or nulls.
        x, y, edge_l0: (n,), NaN where there is none.
    """

    slides: list[SlideRow]
    kind: NDArray[np.str_]
    slide: NDArray[np.int32]
    name: pa.Array
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    edge_l0: NDArray[np.float64]


def table_labels(
    table: LabelTable,
    store: Store,
    *,
    task: str,
    author: str,
    class_map: Mapping[str, str],
    collection: str | None = None,
    slide: str | None = None,
    origin: Origin,
    source: str,
) -> pa.Table:
    """The label of each row, as rows of LABELS but for the key.

    Args:
        class_map: {class in the table: its new name}; other classes keep theirs.
        collection: Where tile ids are looked up; in all collections when None.
        slide: The slide of rows that name none.
        origin: Where x and y begin.
        source: What the labels name as their file.
    Raises:
        LabelFormatError: a row lacks a value that its kind needs.
        SlideNotInStoreError, TileNotFoundError: the store lacks what rows are about; the message names the first.
        LabelError: a place lies outside its slide.
    """
    places = _resolve_places(table, store, collection, slide, origin)
    of_tile, of_patient = places.kind == "tile", places.kind == "patient"
    by_name = of_tile & pc.is_valid(places.name).to_numpy(zero_copy_only=False)
    by_xy = (of_tile | (places.kind == "point")) & ~by_name
    ids = pa.array([slide.slide_id for slide in places.slides], pa.string())
    classes, named = table.codes("label")

    def given(values: pa.Array, where: NDArray[np.bool_]) -> pa.Array:
        return pc.if_else(pa.array(where), values, pa.scalar(None, values.type))

    def number(values: NDArray[np.float64], where: NDArray[np.bool_]) -> pa.Array:
        return pa.array(values, mask=~where | np.isnan(values))

    columns = {
        "task": pa.repeat(task, len(table)),
        "kind": pa.array(places.kind, pa.string()),
        "slide_id": ids.take(pa.array(places.slide, mask=of_patient | (places.slide < 0))),
        "name": given(places.name, by_name),
        "x": number(places.x, by_xy),
        "y": number(places.y, by_xy),
        "edge_l0": number(places.edge_l0, by_xy & of_tile),
        "label": pa.array([class_map.get(name, name) for name in named], pa.string()).take(pa.array(classes)),
        "split": table.column("split"),
        "patient": table.column("patient"),
        "author": pa.repeat(author, len(table)),
        "source": pa.repeat(source, len(table)),
    }
    return statement_rows(columns)


def _resolve_places(
    table: LabelTable, store: Store, collection: str | None, default_slide: str | None, origin: Origin
) -> _Places:
    """What each row is about, checked against the store and in level-0 pixels."""
    kind = _kinds(table, has_default_slide=default_slide is not None)
    slides = {slide.slide_id: slide for slide in store.ledger.slides()}
    by_id = (kind == "tile") & table.is_filled("tile_id")
    of_patient = kind == "patient"

    names_of, names = table.codes("slide_id")
    if default_slide is not None:
        names_of = np.where(names_of < 0, len(names), names_of)
        names = [*names, default_slide]
    used = np.unique(names_of[~of_patient & ~by_id & (names_of >= 0)])
    slide_of = _slides_of_names({names[code] for code in used.tolist()}, slides, table.path)
    index = {slide_id: i for i, slide_id in enumerate(slides)}
    meant = np.array([*(index[slide_of[name]] if name in slide_of else -1 for name in names), -1], np.int32)
    places = _Places(
        slides=list(slides.values()),
        kind=kind,
        slide=meant[names_of],
        name=table.column("name"),
        x=table.numbers("x"),
        y=table.numbers("y"),
        edge_l0=table.numbers("edge_l0"),
    )
    patients = set(table.column("patient").filter(pa.array(of_patient)).unique().to_pylist())
    _check_patients(patients, slides, table.path)
    if by_id.any():
        _fill_in_tiles(places, by_id, table, store, collection)
    _check_names(places, (kind == "tile") & ~by_id & table.is_filled("name"), store, table.path)
    _shift_to_level_0(places, ~by_id & ((kind == "tile") | (kind == "point")), origin, table)
    return places


def _kinds(table: LabelTable, *, has_default_slide: bool) -> NDArray[np.str_]:
    """(n,) what each row is about: by its column `kind`, else by the columns that the table has."""
    n = len(table)
    filled = {name: table.is_filled(name) for name in COLUMNS}
    slide = filled["slide_id"] | has_default_slide
    point = filled["x"] & filled["y"]
    square = point & filled["edge_l0"]
    if table.has("kind"):
        allowed = sorted(set(get_args(Kind)) - {"area"})
        codes, names = table.codes("kind")
        is_allowed = np.array([*(name in allowed for name in names), False])
        table.refuse(~is_allowed[codes], f"have a kind other than {', '.join(allowed)}")
        kinds = np.array([*names, ""])[codes]
    elif table.has("tile_id"):
        kinds = np.full(n, "tile")
        table.refuse(~filled["tile_id"], "have no tile_id")
    elif table.has("name") or table.has("x") or table.has("y"):
        tile = filled["name"] | filled["edge_l0"]
        kinds = np.where(tile, "tile", "point")
        if table.has("edge_l0"):
            table.refuse(~tile, "have neither name nor edge_l0")
    else:
        kinds = np.full(n, "slide" if table.has("slide_id") or has_default_slide else "patient")
    tile = kinds == "tile"
    table.refuse(
        tile & ~(filled["tile_id"] | filled["name"] | square), "are tiles without tile_id, name, or x, y, edge_l0"
    )
    table.refuse((kinds == "point") & ~point, "have no x or no y")
    table.refuse((kinds != "patient") & ~filled["tile_id"] & ~slide, "have no slide_id; --slide gives one to all")
    table.refuse((kinds == "patient") & ~filled["patient"], "have no patient")
    table.refuse(tile & (table.numbers("edge_l0") <= 0), "have an edge_l0 that is not above 0")
    return kinds


def _slides_of_names(names: set[str], slides: Mapping[str, SlideRow], path: Path) -> dict[str, str]:
    """{name: the slide that it means}."""
    slide_names = SlideNames(slides)
    slide_of, unresolved = {}, []
    for name in sorted(names):
        candidates = slide_names.find(name)
        if len(candidates) == 1:
            slide_of[name] = candidates[0]
        else:
            unresolved.append(name)
    if len(unresolved) == 1:
        slide_names.one(unresolved[0], where=str(path))
    if unresolved:
        raise SlideNotInStoreError(
            f"{path}: {len(unresolved)} of its {len(names)} slides are not in the store, or not by one name: "
            f"{_first(unresolved)}; the store has {_first(sorted(slides)) or 'no slide yet'}; "
            "--skip-unknown-slides leaves out the rows of slides that it lacks"
        )
    return slide_of


def _first(names: Sequence[str]) -> str:
    return ", ".join([*names[:SHOWN], *(["…"] if len(names) > SHOWN else [])])


def _check_patients(patients: set[str], slides: Mapping[str, SlideRow], path: Path) -> None:
    """Every patient must have a slide in the store."""
    in_store = {slide.patient for slide in slides.values() if slide.patient is not None}
    missing = sorted(patients - in_store)
    if missing:
        raise SlideNotInStoreError(
            f"{path}: {len(missing)} of its {len(patients)} patients have no slide in the store: "
            f"{', '.join(missing[:SHOWN])}; the store has {', '.join(sorted(in_store)[:SHOWN]) or 'no patient'}; "
            "ingest with a list that has the column patient, or leave such rows out with --skip-unknown-slides"
        )


def _fill_in_tiles(
    places: _Places, by_id: NDArray[np.bool_], table: LabelTable, store: Store, collection: str | None
) -> None:
    """Fill in slide, name, x, y and edge of rows that give a tile by its id."""
    rows = np.flatnonzero(by_id)
    ids = pc.fill_null(table.rows.column("tile_id"), 0).to_numpy()[rows]  # Nones would make them inexact floats
    edges = np.full(len(ids), -1, np.int64)  # -1 until a collection has the tile
    file_names = np.full(len(places.kind), None, object)
    number = {slide.slide_id: i for i, slide in enumerate(places.slides)}
    names = [collection] if collection else store.collection_names()
    for name in names:
        tiles = _tiles_of(store.collection(name), ids)
        slide = np.array([*(number.get(slide_id, -1) for slide_id in tiles.slides), -1], np.int32)[tiles.slide]
        at = positions_in(tiles.tile_id, ids, order=np.argsort(tiles.tile_id))
        found = np.flatnonzero(at >= 0)
        found = found[slide[at[found]] >= 0]
        at = at[found]
        differ = (edges[found] >= 0) & (edges[found] != tiles.edge_l0[at])
        if differ.any():
            i = found[differ.argmax()]
            raise LabelError(
                f"{table.path}: tile {ids[i]} has edges of {edges[i]} and {tiles.edge_l0[at[differ.argmax()]]} "
                "level-0 pixels in collections of different tilings; name one with --collection"
            )
        edges[found] = tiles.edge_l0[at]
        row = rows[found]
        places.slide[row] = slide[at]
        places.x[row], places.y[row] = tiles.xy_l0[at].T
        places.edge_l0[row] = tiles.edge_l0[at]
        file_names[row] = None if tiles.names is None else tiles.names[at]
    missing = [str(tile_id) for tile_id in ids[edges < 0][:SHOWN]]
    if missing:
        raise TileNotFoundError(
            f"{table.path}: {int((edges < 0).sum())} of its {len(ids)} tiles are not in "
            f"{', '.join(names) or 'the store'}: {', '.join(missing)}; "
            "tile ids are listed by `embedstore ls --tiles` and in every export"
        )
    places.name = pc.if_else(pa.array(by_id), pa.array(file_names, pa.string()), places.name)


def _tiles_of(collection: Collection, ids: NDArray[np.int64]) -> TileLocations:
    """Tiles of a collection, among them those with some ids."""
    if len(ids) > FEW_TILES:
        return read_tile_locations(collection)
    where = f"tile_id IN ({', '.join(map(str, ids.tolist()))})"
    found = collection.tiles(where=where, columns=list(TileLocation._fields))
    return locations_of(found, row=np.arange(len(found)), version=0, collection=collection.name)


def _check_names(places: _Places, rows: NDArray[np.bool_], store: Store, path: Path) -> None:
    """Every ready-made tile that rows name must be in a collection."""
    if not rows.any():
        return
    encoded = places.name.filter(pa.array(rows)).dictionary_encode()
    codes, names = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
    pairs = np.unique(places.slide[rows].astype(np.int64) * len(names) + codes)
    named = {(places.slides[pair // len(names)].slide_id, names[pair % len(names)]) for pair in pairs.tolist()}
    in_store: set[tuple[str, str]] = set()
    for collection in store.collection_names():
        tiles = read_tile_locations(store.collection(collection), slides={slide for slide, _ in named})
        if tiles.names is not None:
            in_store |= set(zip((tiles.slides[code] for code in tiles.slide), tiles.names, strict=True))
    missing = sorted(named - in_store)
    if missing:
        shown = ", ".join(f"{name} of {slide}" for slide, name in missing[:SHOWN])
        raise TileNotFoundError(
            f"{path}: {len(missing)} of its {len(named)} named tiles are in no collection: {shown}; "
            "names are paths below the folder of tiles, as `embedstore ls --tiles N` shows them"
        )


def _shift_to_level_0(places: _Places, of_place: NDArray[np.bool_], origin: Origin, table: LabelTable) -> None:
    """Shift x and y of points and tiles to level-0 pixels; refuse places outside their slide."""
    rows = np.flatnonzero(of_place & places.name.is_null().to_numpy(zero_copy_only=False))
    if not len(rows):
        return
    slide = places.slide[rows]
    frames = np.zeros((len(places.slides), 4), np.int64)
    used = np.unique(slide).tolist()
    if ready_made := [k for k in used if places.slides[k].is_ready_made]:
        first = np.isin(slide, ready_made).argmax()
        raise LabelError(
            f"{table.path}, {table.place(int(rows[first]))}: slide {places.slides[slide[first]].slide_id!r} is a "
            "folder of ready-made tiles, which have no place; label them by the columns slide_id, name and label"
        )
    for k in used:
        row = places.slides[k]
        frames[k] = *corner_l0(row, origin), row.width_l0 or 0, row.height_l0 or 0
    left, top, width, height = frames[slide].T
    places.x[rows] += left
    places.y[rows] += top
    x, y, edge = places.x[rows], places.y[rows], np.nan_to_num(places.edge_l0[rows])
    on_slide = (-edge <= x) & (x < width) & (-edge <= y) & (y < height)
    outside = np.flatnonzero((width > 0) & (height > 0) & ~on_slide)
    if len(outside):
        first = outside[0]
        raise LabelError(
            f"{table.path}: {len(outside)} place(s) lie outside their slides, the first in "
            f"{table.place(int(rows[first]))}: {x[first]:g}, {y[first]:g} on {places.slides[slide[first]].slide_id}, "
            f"which spans {width[first]}×{height[first]} px; expected level-0 pixels (origin {origin}; see --origin)"
        )
