"""Zarr folders as LazySlide and tiatoolbox write them, a few vectors each."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
import zarr

from tests.layouts.files import places, vectors

#: What a scanner wrote of the patient, which no import may keep.
PATIENT = "Jane Doe 1957"


def write_lazyslide(
    path: Path,
    *,
    sets: dict[str, str] | None = None,
    tiles: int = 6,
    edge_l0: int = 512,
    zarr_format: int = 3,
    **spec: Any,
) -> Path:
    """A slide of LazySlide; `sets` are models by the name of their table; `spec` changes that of the tiles."""
    root = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    keys = set((sets := sets or {"uni_tiles": "tiles"}).values())
    known = {"width": 256, "height": 256, "mpp": 0.5, "base_downsample": 2.0, "tissue_name": "tissues"} | spec
    root.attrs.update({
        "spatialdata_attrs": {"version": "0.2"},
        "slide_properties": {"shape": [4 * edge_l0, 4 * edge_l0], "mpp": 0.25, "raw": f'{{"Patient": "{PATIENT}"}}'},
        "tile_spec": dict.fromkeys(keys, known),
    })  # fmt: skip
    for key in keys:
        (path / "shapes" / key).mkdir(parents=True)
        corners = places(tiles, edge_l0)
        boxes = shapely.box(*corners.T, *(corners + edge_l0).T)
        ids = np.arange(tiles)[::-1] + 10  # in another order than the vectors
        table = pa.table({"tile_id": ids, "geometry": shapely.to_wkb(boxes[::-1])})
        pq.write_table(table, path / "shapes" / key / "shapes.parquet")
    for seed, (name, key) in enumerate(sets.items()):
        table_of = root.require_group("tables").create_group(name)
        table_of.attrs.update({"region": key, "instance_key": "tile_id", "encoding-type": "anndata"})
        table_of.create_array("X", data=vectors(tiles, seed=seed), chunks=(4, 8))
        table_of["X"].attrs["encoding-type"] = "array"
        table_of.create_group("obs").create_array("tile_id", data=np.arange(tiles) + 10)
    return path


def write_tiatoolbox(path: Path, *, tiles: int = 6, edge_px: int = 224) -> Path:
    """A slide of tiatoolbox 2."""
    corners = places(tiles, edge_px)
    root = zarr.open_group(path, mode="w", zarr_format=2)
    root.create_array("probabilities", data=vectors(tiles))
    root.create_array("coordinates", data=np.concatenate([corners, corners + edge_px], axis=1))
    return path
