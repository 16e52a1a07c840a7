"""Labels in tables: of tiles, places, whole slides and patients."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.annotations import Origin
from embedstore.errors import LabelError, LabelFormatError, SlideNotInStoreError, TileNotFoundError
from embedstore.labels.files.coordinate_frames import corner_l0
from embedstore.labels.files.slide_names import SlideNames
from embedstore.sorted_ids import positions_in
from embedstore.store import Collection, Label, SlideRow, Store, TileLocation, read_tile_locations
from embedstore.store.label import Kind
from embedstore.tables import PATIENT_COLUMNS, UserTable, read_table

#: {column: other names for it}
ALIASES = {"slide_id": "slide", "label": "class", "name": "file", "edge_l0": "edge"}
TEXT_COLUMNS = ("label", "slide_id", "name", "split", "patient", "kind", "task")
NUMBER_COLUMNS = ("x", "y", "edge_l0")
COLUMNS = (*TEXT_COLUMNS, *NUMBER_COLUMNS, "tile_id")
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
    """

    source: UserTable
    rows: pa.Table
    number: NDArray[np.int64]
    skipped: Mapping[str, int] = field(default_factory=Counter)

    def __len__(self) -> int:
        return self.rows.num_rows

    @property
    def path(self) -> Path:
        return self.source.path

    def has(self, column: str) -> bool:
        """Whether the table has a column."""
        return column in self.rows.column_names

    def values(self, column: str) -> list[Any]:
        """The values of a column; all None if the table lacks it."""
        return self.rows.column(column).to_pylist() if self.has(column) else [None] * len(self)

    def is_filled(self, column: str) -> NDArray[np.bool_]:
        """(n,) whether each row has a value in a column."""
        if not self.has(column):
            return np.zeros(len(self), bool)
        return self.rows.column(column).is_valid().to_numpy()

    def place(self, row: int) -> str:
        """Where a row is in the file, such as 'line 2'."""
        return self.source.place([self.number[row]])

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
    those of another task, are skipped and counted.

    Raises:
        LabelFormatError: the file cannot be read, lacks a column, or has text where a number is expected.
    """
    return label_table(read_table(path, error=LabelFormatError), task=task)


def label_table(source: UserTable, *, task: str) -> LabelTable:
    """The rows of a table that have a class, as of `read_label_table`."""
    columns = {name: found for name in COLUMNS if (found := _column(source, name)) is not None}
    if "label" not in columns or not {"tile_id", "slide_id", "patient"} & columns.keys():
        raise source.error(
            "expected the column label (or class) and one of tile_id, slide_id (or slide) and patient; "
            f"found {', '.join(source.names) or 'no column with a name'}"
        )
    rows = pa.table({name: _typed(source, name, column) for name, column in columns.items()})
    skipped: Counter[str] = Counter()
    keep = pc.is_valid(rows.column("label")).to_numpy()
    skipped["without a class"] = int((~keep).sum())
    if "task" in columns:
        of_task = pc.fill_null(pc.equal(rows.column("task"), task), True).to_numpy()
        skipped["of another task"] = int((keep & ~of_task).sum())
        keep = keep & of_task
    return LabelTable(source=source, rows=rows.filter(pa.array(keep)), number=np.flatnonzero(keep), skipped=+skipped)


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
        return pa.array(table.integers(column), pa.int64())
    if name in NUMBER_COLUMNS:
        return pa.array(table.numbers(column), pa.float64())
    try:
        return pa.array(table.text(column), pa.string())
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
    has_slide = {name: name is None or bool(names.find(name)) for name in set(table.values("slide_id"))}
    known = np.array(
        [
            patient in patients if of == "patient" else has_slide[name]
            for of, name, patient in zip(kind, table.values("slide_id"), table.values("patient"), strict=True)
        ],
        bool,
    )
    skipped = Counter(table.skipped) + Counter({"of slides that the store lacks": int((~known).sum())})
    return replace(table, rows=table.rows.filter(pa.array(known)), number=table.number[known], skipped=skipped)


# -- labels -----------------------------------------------------------------------------------


@dataclass(kw_only=True, eq=False)
class _Places:
    """What each of n rows is about.

    Attributes:
        kind: (n,) of `Kind`.
        slide_id, name, x, y, edge_l0, patient: n values each, as in `Label`.
    """

    kind: NDArray[np.object_]
    slide_id: list[str | None]
    name: list[str | None]
    x: list[float | None]
    y: list[float | None]
    edge_l0: list[float | None]
    patient: list[str | None]


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
) -> list[Label]:
    """The label of each row.

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
    labels = []
    for kind, slide_id, name, x, y, edge_l0, patient, label, split in zip(
        places.kind.tolist(), places.slide_id, places.name, places.x, places.y, places.edge_l0, places.patient,
        table.values("label"), table.values("split"), strict=True,
    ):  # fmt: skip
        by_name = kind == "tile" and name is not None
        by_xy = kind in ("tile", "point") and not by_name
        labels.append(
            Label(
                task=task,
                label=class_map.get(label, label),
                kind=kind,
                slide_id=None if kind == "patient" else slide_id,
                name=name if by_name else None,
                x=x if by_xy else None,
                y=y if by_xy else None,
                edge_l0=edge_l0 if by_xy and kind == "tile" else None,
                split=split,
                patient=patient,
                author=author,
                source=source,
            )
        )
    return labels


def _resolve_places(
    table: LabelTable, store: Store, collection: str | None, default_slide: str | None, origin: Origin
) -> _Places:
    """What each row is about, checked against the store and in level-0 pixels."""
    kind = _kinds(table, has_default_slide=default_slide is not None)
    places = _Places(
        kind=kind,
        slide_id=[default_slide if slide is None else slide for slide in table.values("slide_id")],
        name=table.values("name"),
        x=table.values("x"),
        y=table.values("y"),
        edge_l0=table.values("edge_l0"),
        patient=table.values("patient"),
    )
    slides = {slide.slide_id: slide for slide in store.ledger.slides()}
    by_id = (kind == "tile") & table.is_filled("tile_id")

    names = {name for i in np.flatnonzero((kind != "patient") & ~by_id) if (name := places.slide_id[i]) is not None}
    slide_of = _slides_of_names(names, slides, table.path)
    places.slide_id = [None if name is None else slide_of.get(name) for name in places.slide_id]
    patients = {patient for i in np.flatnonzero(kind == "patient") if (patient := places.patient[i]) is not None}
    _check_patients(patients, slides, table.path)

    if by_id.any():
        _fill_in_tiles(places, by_id, table, store, collection, slides)
    _check_names(places, np.flatnonzero((kind == "tile") & ~by_id & table.is_filled("name")), store, table.path)
    _shift_to_level_0(places, np.flatnonzero(~by_id & np.isin(kind, ("tile", "point"))), slides, origin, table)
    return places


def _kinds(table: LabelTable, *, has_default_slide: bool) -> NDArray[np.object_]:
    """(n,) what each row is about: by its column `kind`, else by the columns that the table has."""
    n = len(table)
    filled = {name: table.is_filled(name) for name in COLUMNS}
    slide = filled["slide_id"] | has_default_slide
    point = filled["x"] & filled["y"]
    square = point & filled["edge_l0"]
    if table.has("kind"):
        kinds = np.array(table.values("kind"), object)
        allowed = sorted(set(get_args(Kind)) - {"area"})
        table.refuse(~np.isin(kinds.astype(str), allowed), f"have a kind other than {', '.join(allowed)}")
    elif table.has("tile_id"):
        kinds = np.full(n, "tile", object)
        table.refuse(~filled["tile_id"], "have no tile_id")
    elif table.has("name") or table.has("x") or table.has("y"):
        tile = filled["name"] | filled["edge_l0"]
        kinds = np.where(tile, "tile", "point").astype(object)
        if table.has("edge_l0"):
            table.refuse(~tile, "have neither name nor edge_l0")
    else:
        kinds = np.full(n, "slide" if table.has("slide_id") or has_default_slide else "patient", object)
    tile = kinds == "tile"
    table.refuse(
        tile & ~(filled["tile_id"] | filled["name"] | square), "are tiles without tile_id, name, or x, y, edge_l0"
    )
    table.refuse((kinds == "point") & ~point, "have no x or no y")
    table.refuse((kinds != "patient") & ~filled["tile_id"] & ~slide, "have no slide_id; --slide gives one to all")
    table.refuse((kinds == "patient") & ~filled["patient"], "have no patient")
    edges = np.array([1.0 if edge is None else edge for edge in table.values("edge_l0")])
    table.refuse(tile & (edges <= 0), "have an edge_l0 that is not above 0")
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
    places: _Places,
    by_id: NDArray[np.bool_],
    table: LabelTable,
    store: Store,
    collection: str | None,
    slides: Mapping[str, SlideRow],
) -> None:
    """Fill in slide, name, x, y and edge of rows that give a tile by its id."""
    rows = np.flatnonzero(by_id)
    ids = pc.fill_null(table.rows.column("tile_id"), 0).to_numpy()[rows]  # Nones would make them inexact floats
    edges = np.full(len(ids), -1, np.int64)  # -1 until a collection has the tile
    names = [collection] if collection else store.collection_names()
    for name in names:
        for i, tile in _tiles_of(store.collection(name), ids):
            row = rows[i]
            if tile.slide_id not in slides:
                continue
            if edges[i] >= 0 and edges[i] != tile.edge_l0:
                raise LabelError(
                    f"{table.path}: tile {ids[i]} has edges of {edges[i]} and {tile.edge_l0} level-0 pixels in "
                    "collections of different tilings; name one with --collection"
                )
            edges[i] = tile.edge_l0
            places.slide_id[row], places.name[row] = tile.slide_id, tile.name
            places.x[row], places.y[row], places.edge_l0[row] = tile.x, tile.y, tile.edge_l0
    missing = [str(tile_id) for tile_id in ids[edges < 0][:SHOWN]]
    if missing:
        raise TileNotFoundError(
            f"{table.path}: {int((edges < 0).sum())} of its {len(ids)} tiles are not in "
            f"{', '.join(names) or 'the store'}: {', '.join(missing)}; "
            "tile ids are listed by `embedstore ls --tiles` and in every export"
        )


def _tiles_of(collection: Collection, ids: NDArray[np.int64]) -> Iterator[tuple[int, TileLocation]]:
    """(index of an id, its tile) for each tile that a collection has."""
    if len(ids) <= FEW_TILES:
        where = f"tile_id IN ({', '.join(map(str, ids.tolist()))})"
        found = TileLocation.from_table(collection.tiles(where=where, columns=list(TileLocation._fields)))
        tiles = {tile.tile_id: tile for tile in found}
        yield from ((i, tiles[tile_id]) for i, tile_id in enumerate(ids.tolist()) if tile_id in tiles)
        return
    locations = read_tile_locations(collection)
    position = positions_in(locations.tile_id, ids, order=np.argsort(locations.tile_id))
    yield from ((int(i), locations.location(position[i])) for i in np.flatnonzero(position >= 0))


def _check_names(places: _Places, rows: NDArray[np.int64], store: Store, path: Path) -> None:
    """Every ready-made tile that rows name must be in a collection."""
    if not len(rows):
        return
    named = {(str(places.slide_id[i]), str(places.name[i])) for i in rows}
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


def _shift_to_level_0(
    places: _Places, rows: NDArray[np.int64], slides: Mapping[str, SlideRow], origin: Origin, table: LabelTable
) -> None:
    """Shift x and y of points and tiles to level-0 pixels; refuse places outside their slide."""
    outside = []
    for i in rows.tolist():
        if places.name[i] is not None:
            continue
        slide_id, x, y, edge = places.slide_id[i], places.x[i], places.y[i], places.edge_l0[i] or 0
        assert slide_id is not None and x is not None and y is not None, "checked by _kinds"
        slide = slides[slide_id]
        if slide.is_ready_made:
            raise LabelError(
                f"{table.path}, {table.place(i)}: slide {slide_id!r} is a folder of ready-made tiles, "
                "which have no place; label them by the columns slide_id, name and label"
            )
        left, top = corner_l0(slide, origin)
        x, y = places.x[i], places.y[i] = x + left, y + top
        width, height = slide.width_l0, slide.height_l0
        if width and height and not (-edge <= x < width and -edge <= y < height):
            outside.append((i, x, y, width, height))
    if outside:
        i, x, y, width, height = outside[0]
        raise LabelError(
            f"{table.path}: {len(outside)} place(s) lie outside their slides, the first in {table.place(i)}: "
            f"{x:g}, {y:g} on {places.slide_id[i]}, which spans {width}×{height} px; expected level-0 pixels "
            f"(origin {origin}; see --origin)"
        )
