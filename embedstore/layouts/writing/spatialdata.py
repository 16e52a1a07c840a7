"""SpatialData: `{slide}.zarr` as LazySlide and wsidata keep it, with the tiles' squares and a table of vectors.

Written by zarr, anndata and pyarrow. The package spatialdata would bring 40 others, and 0.7.3 cannot be installed
beside the newest botocore, as s3fs holds it back. `benchmarks/layout_round_trip.py` opens what is written with it.
"""

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embedstore.errors import ExportError
from embedstore.layouts.lazyslide import PROPERTIES, SPEC, SUFFIX
from embedstore.layouts.writing.anndata import DENSE, dimensions, import_anndata, observations
from embedstore.layouts.writing.mark import KEY
from embedstore.layouts.writing.slide_tiles import SlideTiles
from embedstore.output_files import atomic_folder

#: The name of the squares, which LazySlide gives to its own too.
TILES = "tiles"
#: Of the vectors, about: a chunk is a file.
CHUNK_BYTES = 16_000_000
_AXES = [{"name": name, "type": "space", "unit": "unit"} for name in "xy"]
#: The squares are in the frame of the slide: level-0 pixels.
_SHAPES: dict[str, Any] = {
    "encoding-type": "ngff:shapes",
    "axes": ["x", "y"],
    "coordinateTransformations": [
        {"type": "identity", "input": {"name": "xy", "axes": _AXES}, "output": {"name": "global", "axes": _AXES}}
    ],
    "spatialdata_attrs": {"version": "0.3"},
}
_TABLE: dict[str, Any] = {
    "spatialdata-encoding-type": "ngff:regions_table", "region": TILES, "region_key": "library_id",
    "instance_key": "tile_id", "version": "0.2",
}  # fmt: skip


def spatialdata_files(out: Path, tiles: SlideTiles) -> list[Path]:
    """The folder of a slide."""
    return [out / f"{tiles.name}{SUFFIX}"]


def write_spatialdata(out: Path, tiles: SlideTiles) -> None:
    """Write a slide as SpatialData: `shapes/tiles`, and the table `{extractor}_tiles`; all places in level-0 pixels.

    Raises:
        LayoutExportError: the tiles have several sizes.
        ExportError: anndata or zarr is not installed.
    """
    import_anndata("spatialdata")
    try:
        import zarr
    except ImportError as error:
        raise ExportError(
            "SpatialData needs the package zarr, which is not installed; pip install 'embedstore[spatialdata]'"
        ) from error
    (path,) = spatialdata_files(out, tiles)
    spec = tile_spec(tiles)
    with atomic_folder(path) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zarr and anndata, about what comes in their next versions
        root = zarr.open_group(part, mode="w", zarr_format=3)
        root.attrs.update(
            {
                "spatialdata_attrs": {"version": "0.2"},
                PROPERTIES: _slide_properties(tiles),
                SPEC: {TILES: spec},
                KEY: tiles.mark,
                f"{KEY}.about": tiles.about,  # in uns of the table, each of its values would be an array of zarr
            }
        )
        root.create_group("shapes").create_group(TILES).attrs.update(_SHAPES)
        _write_table(root.create_group("tables"), f"{tiles.extractor.ref.name}_{TILES}", tiles)
        zarr.consolidate_metadata(root.store)
        _write_squares(part / "shapes" / TILES / "shapes.parquet", tiles)


def tile_spec(tiles: SlideTiles) -> dict[str, Any]:
    """How wsidata reads the tiles again: from level 0, which every slide has."""
    tiling, edge = tiles.tiling, tiles.edge_l0("SpatialData")
    downsample = edge / tiling.tile_px
    while int(tiling.tile_px * downsample) < edge:  # wsidata cuts what is behind the point
        downsample = math.nextafter(downsample, math.inf)
    stride = tiling.stride_px or tiling.tile_px
    return {
        "height": tiling.tile_px, "width": tiling.tile_px, "stride_height": stride, "stride_width": stride,
        "mpp": tiling.mpp, "ops_level": 0, "ops_downsample": downsample, "base_level": 0,
        "base_downsample": downsample, "tissue_name": None,
    }  # fmt: skip


def _slide_properties(tiles: SlideTiles) -> dict[str, Any]:
    """What wsidata compares with the slide, or takes from here; nothing that a scanner wrote."""
    known: dict[str, Any] = {"mpp": tiles.slide_mpp}
    if tiles.size_l0 is not None:
        width, height = tiles.size_l0
        known |= {"shape": [height, width], "bounds": list(tiles.bounds_l0 or (0, 0, width, height))}
    return {name: value for name, value in known.items() if value is not None}


def _write_squares(path: Path, tiles: SlideTiles) -> None:
    """The tiles' squares as GeoParquet, with what was asked for of each."""
    import shapely

    left, top = tiles.xy_l0.T
    boxes = shapely.box(left, top, left + tiles.edges_l0, top + tiles.edges_l0)
    number = pa.array(np.arange(len(tiles)))
    columns = {
        "tile_id": number, "x": tiles.xy_l0[:, 0], "y": tiles.xy_l0[:, 1], "tissue_id": np.zeros(len(tiles), np.int64),
        "geometry": pa.array(shapely.to_wkb(boxes), pa.binary()),
        **{name: tiles.rows[name] for name in tiles.extra},
    }  # fmt: skip
    bounds = [float(left.min()), float(top.min()), float((left + tiles.edges_l0).max()),
              float((top + tiles.edges_l0).max())]  # fmt: skip
    geometry = {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": None, "bbox": bounds}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geometry}}
    pq.write_table(pa.table(columns).replace_schema_metadata({"geo": json.dumps(geo)}), path)


def _write_table(tables: Any, name: str, tiles: SlideTiles) -> None:
    import anndata
    import pandas as pd

    obs = observations(tiles.rows).drop(columns=["x", "y", "name"], errors="ignore")
    obs["embedstore_id"] = tiles.rows["tile_id"].to_numpy()
    obs.index = [str(number) for number in range(len(tiles))]
    obs["tile_id"] = np.arange(len(tiles))  # of the slide, as wsidata numbers them
    obs["library_id"] = pd.Categorical([TILES] * len(tiles))
    keys = {"region": TILES, "region_key": "library_id", "instance_key": "tile_id"}
    annotated = anndata.AnnData(obs=obs, var=dimensions(tiles.dim), uns={"spatialdata_attrs": keys})
    anndata.io.write_elem(tables, name, annotated)
    table = tables[name]
    table.attrs.update(_TABLE)
    if "X" in table:
        del table["X"]
    rows = min(max(1, CHUNK_BYTES // (4 * tiles.dim)), len(tiles))
    vectors = table.create_array("X", shape=(len(tiles), tiles.dim), chunks=(rows, tiles.dim), dtype="float32")
    vectors.attrs.update(DENSE)
    at = 0
    for block in tiles.blocks():
        vectors[at : at + len(block)] = block.astype(np.float32)
        at += len(block)
