"""Plain tables: Parquet, Arrow, CSV, HDF5 or .npy files with a vector and a place a tile, of no tool's own layout."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.errors import FeatureFileError, LayoutError
from embedstore.layouts.arrays import ArrayFeatures, map_npy
from embedstore.layouts.hdf5 import SUFFIXES as HDF5_SUFFIXES
from embedstore.layouts.hdf5 import Hdf5Features, open_hdf5, read_places, reading
from embedstore.layouts.layout import (
    Entry,
    FeatureFacts,
    Features,
    Layout,
    SlideFacts,
    check_shape,
    checked_places,
    features_path,
)
from embedstore.layouts.table_rows import SLIDES, TABLE_SUFFIXES, TableRows

#: Names that are looked for, without regard to capitals: of vectors, of places, and of the edge of a tile.
VECTORS = ("features", "feats", "embeddings", "embedding", "vectors", "vector")
PLACES = ("coords", "coordinates", "xy", "places", "xy_l0")
X, Y = ("x", "x_l0", "coord_x", "coords_x", "x_coord"), ("y", "y_l0", "coord_y", "coords_y", "y_coord")
EDGES = ("edge_l0", "edge", "patch_size_level0", "tile_size_l0")
#: One of many columns, each of which is a component of the vector: feat1, f_0, 767.
COMPONENT = re.compile(r"(.*?)(\d+)")
#: How a file of places beside `{slide}.npy` is named.
COORDINATES = ("_coords", ".coords", "_coordinates", ".coordinates")


class Plain(Layout):
    """Tables of which each row is a tile, one file a slide, or one of all slides with a column slide_id."""

    name = "plain"
    title = "plain tables"
    where = (
        "a folder of {slide}.parquet, .csv, .h5 or .npy with {slide}_coords.npy, or one table with a column slide_id"
    )

    def recognise(self, folder: Path) -> bool:
        return any(_looks_plain(path) for path in _files(folder))

    def slides(self, folder: Path, *, features: str | None = None) -> Sequence[Entry]:
        entries: dict[str, Entry] = {}
        for path in _files(folder):
            name = path.name if folder.is_file() else path.relative_to(folder).as_posix()
            for entry in _entries(path, name.removesuffix(path.suffix)):
                if other := entries.get(entry.slide):
                    raise LayoutError(
                        f"slide {entry.slide!r} has vectors in {other.features} and in {path}; expected one file a "
                        "slide; move one of them away, or give a folder that holds one kind"
                    )
                entries[entry.slide] = entry
        return [entries[slide] for slide in sorted(entries)]

    def open(self, entry: Entry, slide: SlideFacts) -> Features:
        path = features_path(entry, "the tool")
        if path.suffix.lower() == ".npy":
            return _npy_features(entry, path)
        if path.suffix.lower() not in HDF5_SUFFIXES:
            return _TableFeatures(path, entry.key)
        file = open_hdf5(path)
        try:
            return _PlainHdf5Features(path, file)
        except BaseException:
            file.close()
            raise


def _npy_features(entry: Entry, path: Path) -> Features:
    features = ArrayFeatures(path, map_npy(path))
    if entry.coordinates is not None:
        places = map_npy(entry.coordinates)
        features.xy_l0 = checked_places(entry.coordinates, entry.coordinates.name, places, features.facts.tiles)
    return features


class _PlainHdf5Features(Hdf5Features):
    def __init__(self, path: Path, file: h5py.File):
        with reading(path):
            names = {name.lower(): name for name in file}
        vectors, places = (next((names[n] for n in known if n in names), None) for known in (VECTORS, PLACES))
        if vectors is None:
            raise FeatureFileError(
                f"{path} has no dataset of vectors; expected one named {', '.join(VECTORS)}; it has "
                f"{', '.join(map(repr, sorted(names))) or 'none'}"
            )
        super().__init__(path, file, vectors)
        if places is not None:
            self.xy_l0 = read_places(file, path, places, self.facts.tiles)


class _TableFeatures(Features):
    """Vectors in the columns of a table, of which places are read at once and vectors a batch at a time."""

    def __init__(self, path: Path, slide: str | None):
        self.path, self._table = path, TableRows(path, None if slide is None else (_slide_column(path) or "", slide))
        columns = _Columns.of(path, self._table.schema)
        self._columns = columns.vectors
        places = self._table.read([name for name in (columns.x, columns.y, columns.edge) if name])
        tiles = len(places)
        self.facts = FeatureFacts(dim=columns.dim, tiles=tiles) if columns.dim else self._first_facts(tiles)
        check_shape(path, "vectors", (tiles, self.facts.dim), np.dtype(np.float32))
        if columns.x and columns.y:
            xy = np.stack([_whole(path, places, name) for name in (columns.x, columns.y)], axis=1)
            self.xy_l0 = xy
        if columns.edge:
            self.edge_l0 = _whole(path, places, columns.edge)

    def _first_facts(self, tiles: int) -> FeatureFacts:
        return FeatureFacts(dim=self.read(0, 1).shape[1] if tiles else 1, tiles=tiles)

    def read(self, start: int, stop: int) -> NDArray[np.floating]:
        table = self._table.range(start, stop, self._columns)
        if len(self._columns) > 1:
            return np.stack([_numbers(self.path, table, name) for name in self._columns], axis=1)
        return _lists(self.path, table[self._columns[0]].combine_chunks(), len(table))

    def close(self) -> None:
        self._table.close()


class _Columns:
    """Which columns of a table are vectors, places and edges.

    Attributes:
        vectors: One column of lists, or one for each component.
        dim: Length of a vector; 0 where only the lists themselves say it.
    """

    def __init__(self, vectors: Sequence[str], dim: int, names: Mapping[str, str]):
        self.vectors, self.dim = list(vectors), dim
        self.x, self.y = (next((names[n] for n in known if n in names), None) for known in (X, Y))
        self.edge = next((names[n] for n in EDGES if n in names), None)

    @classmethod
    def of(cls, path: Path, schema: pa.Schema) -> "_Columns":
        names = {name.lower(): name for name in schema.names}
        lists = [field for field in schema if _is_list(field.type)]
        named = [field for field in lists if field.name.lower() in VECTORS] or lists
        if len(named) == 1:
            kind = named[0].type
            return cls([named[0].name], kind.list_size if pa.types.is_fixed_size_list(kind) else 0, names)
        if named:
            raise FeatureFileError(
                f"{path} has {len(named)} columns of lists: {', '.join(field.name for field in named)}; expected one, "
                f"or one named {', '.join(VECTORS)}; rename the one of the vectors"
            )
        families: dict[str, dict[int, str]] = {}
        for field in schema:
            if (match := COMPONENT.fullmatch(field.name)) and (
                pa.types.is_floating(field.type) or pa.types.is_integer(field.type)
            ):
                families.setdefault(match[1].lower(), {})[int(match[2])] = field.name
        family = max(families.values(), key=len, default={})
        ordered = sorted(family)
        if len(ordered) < 2 or ordered != list(range(ordered[0], ordered[0] + len(ordered))):
            raise FeatureFileError(
                f"{path} has no vectors; expected a column of lists named {', '.join(VECTORS)}, or a column for each "
                "component, numbered without gaps: feat0, feat1, …"
            )
        return cls([family[i] for i in ordered], len(ordered), names)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _lists(path: Path, column: Any, rows: int) -> NDArray[np.floating]:
    """(rows, dim) of a column of lists."""
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if column.null_count or not rows:
        raise FeatureFileError(f"{path} has {column.null_count:,} tiles without a vector; expected one of each")
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    values = column.flatten()
    if len(lengths) != 1 or not lengths[0] or values.null_count or not pa.types.is_floating(values.type):
        raise FeatureFileError(
            f"{path} has vectors of {sorted(lengths)[:4]} values of type {values.type}; expected floating-point "
            "numbers, of one length"
        )
    return values.to_numpy(zero_copy_only=False).reshape(rows, lengths[0])


def _numbers(path: Path, table: pa.Table, name: str) -> NDArray[np.floating]:
    column = table[name].combine_chunks()
    if column.null_count or not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise FeatureFileError(
            f"{path}: column {name!r} is {column.type} with {column.null_count:,} missing values; expected numbers"
        )
    return column.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)


def _whole(path: Path, table: pa.Table, name: str) -> NDArray[np.int64]:
    column = table[name].combine_chunks()
    if column.null_count or not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise FeatureFileError(
            f"{path}: column {name!r} is {column.type} with {column.null_count:,} missing values; expected level-0 "
            "pixels"
        )
    values = column.to_numpy(zero_copy_only=False)
    if len(values) and not (np.isfinite(values).all() and np.abs(values.astype(np.float64)).max() < 1 << 31):
        raise FeatureFileError(f"{path}: column {name!r} holds values beyond ±2³¹; expected level-0 pixels")
    return np.rint(values).astype(np.int64)


def _slide_column(path: Path) -> str | None:
    """The column that says whose a row is; None where the file is of one slide."""
    if path.suffix.lower() not in TABLE_SUFFIXES:
        return None
    with TableRows(path, None) as table:
        names = {name.lower(): name for name in table.schema.names}
    return next((names[name] for name in SLIDES if name in names), None)


def _entries(path: Path, name: str) -> Iterator[Entry]:
    """The slides of a file."""
    if path.suffix.lower() == ".npy":
        if not name.endswith(COORDINATES):
            beside = [path.with_name(f"{path.stem}{ending}.npy") for ending in COORDINATES]
            yield Entry(slide=name, features=path, coordinates=next((each for each in beside if each.is_file()), None))
        return
    try:
        column = _slide_column(path)
        if column is None:
            yield Entry(slide=name, features=path)
            return
        with TableRows(path, None) as table:
            for slide in table.distinct(column):
                yield Entry(slide=slide, features=path, key=slide)
    except FeatureFileError:  # its outcome says why
        yield Entry(slide=name, features=path)


def _files(folder: Path) -> list[Path]:
    suffixes = {".npy", *HDF5_SUFFIXES, *TABLE_SUFFIXES}
    if folder.is_file():
        return [folder] if folder.suffix.lower() in suffixes else []
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file())


def _looks_plain(path: Path) -> bool:
    """Whether a file has vectors, by the names of what it holds."""
    try:
        if path.suffix.lower() == ".npy":
            return map_npy(path).ndim == 2
        if path.suffix.lower() in HDF5_SUFFIXES:
            with open_hdf5(path) as file, reading(path):
                return any(name.lower() in VECTORS for name in file)
        with TableRows(path, None) as table:
            return bool(_Columns.of(path, table.schema).vectors)
    except FeatureFileError:
        return False
