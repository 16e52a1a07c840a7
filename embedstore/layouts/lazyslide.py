"""LazySlide and wsidata: `{slide}.zarr` of SpatialData, with `shapes/{tile_key}` and `tables/{model}_{tile_key}`."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from embedstore.errors import FeatureFileError, LayoutError
from embedstore.layouts.layout import MOST_TILES, Entry, Features, Layout, SlideFacts, features_path
from embedstore.layouts.zarr_features import ZarrFeatures, read_array
from embedstore.quantities import first_few
from embedstore.zarr_files import is_zarr, zarr_attributes

SPEC, PROPERTIES = "tile_spec", "slide_properties"
SUFFIX = ".zarr"


class LazySlide(Layout):
    """Features of LazySlide. What its files say of the scanner and the patient (`raw`) is not read."""

    name = "lazyslide"
    title = "LazySlide"
    where = "a {slide}.zarr, or the folder of several"
    holds_sets = True

    def recognise(self, folder: Path) -> bool:
        return any(_is_of_lazyslide(path) for path, _ in zip(_stores(folder), range(3), strict=False))

    def slides(self, folder: Path, *, features: str | None = None) -> Sequence[Entry]:
        stores = [path for path in _stores(folder) if _is_of_lazyslide(path)]
        tables = {path: _tables(path) for path in stores}
        names = sorted({name for of_store in tables.values() for name in of_store})
        if features is None and len(names) > 1:
            raise LayoutError(
                f"{folder} holds {len(names)} sets of vectors: {first_few(names)}; say which with --features {names[0]}"
            )
        if features is not None and features not in names:
            raise LayoutError(f"{folder} has no vectors {features!r}; it has {first_few(names) or 'none'}")
        chosen = features if features is not None else next(iter(names), None)
        return [
            Entry(
                slide=str(path.relative_to(folder).with_suffix("")) if path != folder else path.stem,
                features=path if chosen in tables[path] else None,
                coordinates=path / "shapes",
                key=chosen,
            )
            for path in stores
        ]

    def open(self, entry: Entry, slide: SlideFacts) -> Features:
        path = features_path(entry, self.title)
        tile_key = _tables(path).get(entry.key or "")
        if entry.key is None or tile_key is None:
            raise FeatureFileError(f"{path} has no vectors {entry.key!r} any more; run the same command again")
        return _LazySlideFeatures(path, entry.key, tile_key)


class _LazySlideFeatures(ZarrFeatures):
    def __init__(self, path: Path, table: str, tile_key: str):
        of_table = path / "tables" / table
        encoding = zarr_attributes(of_table / "X", FeatureFileError).get("encoding-type", "array")
        if encoding != "array":
            raise FeatureFileError(f"{of_table / 'X'} is a {str(encoding)[:40]!r}; expected a dense array of vectors")
        super().__init__(path, of_table / "X")
        attributes = zarr_attributes(path, FeatureFileError)
        spec, properties = _mapping(_mapping(attributes.get(SPEC)).get(tile_key)), _mapping(attributes.get(PROPERTIES))
        width, height = _number(spec.get("width")), _number(spec.get("height"))
        if width != height:
            raise FeatureFileError(f"{path}: its tiles {tile_key!r} are {width}×{height} px; expected squares")
        rows = _rows(of_table, self.facts.tiles)
        self.xy_l0, self.edge_l0 = _boxes(path / "shapes" / tile_key / "shapes.parquet", rows)
        shape = properties.get("shape")
        is_size = isinstance(shape, list) and len(shape) == 2 and all(isinstance(edge, int) for edge in shape)
        self.facts = replace(
            self.facts,
            extractor=table.removesuffix(f"_{tile_key}"),
            tile_px=None if width is None else int(width),
            mpp=_number(spec.get("mpp")),
            slide_mpp=_number(properties.get("mpp")),
            size_l0=(shape[1], shape[0]) if isinstance(shape, list) and is_size else None,
            tool="LazySlide",
        )


def _stores(folder: Path) -> Iterator[Path]:
    """The Zarr folders in a folder and those below it, or itself; what is in them is not walked through."""
    if is_zarr(folder):
        yield folder
        return
    for root, names, _ in os.walk(folder):
        inner = sorted(name for name in names if name.lower().endswith(SUFFIX) and not name.startswith("."))
        names[:] = sorted(name for name in names if name not in inner and not name.startswith("."))
        yield from (Path(root, name) for name in inner)


def _is_of_lazyslide(path: Path) -> bool:
    try:
        return bool(zarr_attributes(path, FeatureFileError).keys() & {SPEC, PROPERTIES})
    except FeatureFileError:
        return False


def _tables(path: Path) -> Mapping[str, str]:
    """{name of a table of vectors: key of its tiles}."""
    keys = sorted(_mapping(zarr_attributes(path, FeatureFileError).get(SPEC)), key=len)
    tables = path / "tables"
    names = sorted(child.name for child in tables.iterdir() if child.is_dir()) if tables.is_dir() else []
    return {name: key for name in names for key in keys if name.endswith(f"_{key}") and name != f"_{key}"}


def _rows(of_table: Path, tiles: int) -> NDArray[np.int64]:
    """Which tile each vector is of, by the ids that table and shapes share."""
    key = zarr_attributes(of_table, FeatureFileError).get("instance_key", "tile_id")
    ids = of_table / "obs" / str(key)
    if "/" in str(key) or ".." in str(key) or not ids.is_dir():
        raise FeatureFileError(f"{of_table} has no column {str(key)!r} in obs; expected the tile of each vector")
    found = read_array(ids, FeatureFileError)
    if found.shape != (tiles,) or found.dtype.kind not in "iu":
        raise FeatureFileError(
            f"{ids} is {found.dtype} of shape {found.shape}; expected a number for each of {tiles:,} vectors"
        )
    return found.astype(np.int64)


def _boxes(path: Path, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Corners, (n, 2), and edges, (n,), of tiles, level-0 pixels."""
    try:
        with pq.ParquetFile(path) as file:
            if file.metadata.num_rows > MOST_TILES:
                raise FeatureFileError(
                    f"{path} claims {file.metadata.num_rows:,} tiles, as no slide has; it is damaged"
                )
            names = file.schema_arrow.names
            table = file.read([name for name in ("tile_id", "geometry") if name in names])
        boxes = shapely.bounds(shapely.from_wkb(table.column("geometry").to_numpy()))
        stated = table.column("tile_id").to_numpy() if "tile_id" in table.column_names else np.arange(len(table))
    except FeatureFileError:
        raise
    except (OSError, KeyError, ValueError, TypeError, pa.ArrowException, shapely.errors.ShapelyError) as error:
        raise FeatureFileError(
            f"{path} cannot be read as the places of tiles: it is missing, cut short or damaged; tile the slide "
            "again with LazySlide, then run the same command with --retry-failed"
        ) from error
    order = np.argsort(stated, kind="stable")
    at = np.searchsorted(stated, ids, sorter=order)
    at = order[np.minimum(at, len(order) - 1)] if len(order) else np.zeros(0, np.int64)
    if len(at) != len(ids) or (stated[at] != ids).any():
        raise FeatureFileError(
            f"{path} lacks tiles that have vectors; was the slide tiled again since? extract the vectors again, then "
            "run the same command with --retry-failed"
        )
    chosen = boxes[at]
    if not np.isfinite(chosen).all() or (np.abs(chosen) >= 1 << 31).any():
        raise FeatureFileError(f"{path} holds places that are no numbers, or beyond ±2³¹; expected level-0 pixels")
    whole = np.rint(chosen).astype(np.int64)
    width, height = whole[:, 2] - whole[:, 0], whole[:, 3] - whole[:, 1]
    if (np.abs(width - height) > 1).any():
        raise FeatureFileError(
            f"{path} holds tiles that are no squares; expected tiles, as LazySlide's tile_tissues makes them"
        )
    return whole[:, :2], width


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < 1e6 else None
