"""AnnData: `{slide}.h5ad`, which scanpy reads."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa

from embedstore.errors import ExportError
from embedstore.layouts.writing.hdf5 import write_vectors
from embedstore.layouts.writing.mark import KEY
from embedstore.layouts.writing.slide_tiles import SlideTiles
from embedstore.output_files import atomic_write

#: How AnnData tells a dense array from other elements.
DENSE = {"encoding-type": "array", "encoding-version": "0.2.0"}


def anndata_files(out: Path, tiles: SlideTiles) -> list[Path]:
    """The file of a slide."""
    return [out / f"{tiles.name}.h5ad"]


def write_anndata(out: Path, tiles: SlideTiles) -> None:
    """Write a slide as AnnData: `X` float32, `obs` with a row a tile, `obsm['spatial']` centres in level-0 pixels.

    Raises:
        ExportError: anndata is not installed.
    """
    anndata = import_anndata()
    (path,) = anndata_files(out, tiles)
    annotated = anndata.AnnData(
        obs=observations(tiles.rows), var=dimensions(tiles.dim), uns={KEY: storable(tiles.about)}
    )
    if tiles.edges_l0.all():
        annotated.obsm["spatial"] = tiles.xy_l0 + tiles.edges_l0[:, None] / 2
    with atomic_write(path, keep_suffix=False) as part:
        annotated.write_h5ad(part)
        with h5py.File(part, "a") as file:
            file.attrs[KEY] = json.dumps(tiles.mark)
            file.pop("X", None)
            write_vectors(file, "X", tiles, np.float32).attrs.update(DENSE)


def dimensions(dim: int) -> Any:
    """The frame of AnnData's variables: the dimensions of a vector."""
    import pandas as pd

    return pd.DataFrame(index=[f"d{i}" for i in range(dim)])


def import_anndata(extra: str = "anndata") -> Any:
    """The package.

    Args:
        extra: The extra of embedstore that has all that the caller needs.
    Raises:
        ExportError: it is not installed.
    """
    try:
        import anndata
    except ImportError as error:
        raise ExportError(
            f"AnnData files need the package anndata, which is not installed; pip install 'embedstore[{extra}]'"
        ) from error
    return anndata


def observations(tiles: pa.Table) -> Any:
    """A data frame with tile ids as index and text columns as categories; empty columns are left out.

    A column that AnnData cannot name so, because of a '/' or as its `_index`, has '_' for '/', or 'index_'.
    """
    kept = [name for name in tiles.schema.names if name != "tile_id" and tiles[name].null_count < len(tiles)]
    encoded = [
        tiles[name].dictionary_encode() if pa.types.is_string(tiles[name].type) else tiles[name] for name in kept
    ]
    names: list[str] = []
    for name in kept:
        plain = "index_" if name == "_index" else name.replace("/", "_")
        while plain in names or (plain != name and plain in kept):
            plain += "_"
        names.append(plain)
    frame = pa.table(encoded, names=names).to_pandas()
    for name, column in zip(names, encoded, strict=True):
        if pa.types.is_boolean(column.type) and column.null_count:
            frame[name] = frame[name].astype("boolean")  # with gaps, pandas makes objects of them, which HDF5 has not
    frame.index = [str(tile_id) for tile_id in tiles["tile_id"].to_pylist()]
    return frame


def storable(value: Any) -> Any:
    """A value that HDF5 can hold: without None and empty lists, and without '/' in keys, which separates paths."""
    if isinstance(value, dict):
        return {
            str(key).replace("/", "_"): storable(entry) for key, entry in value.items() if entry not in (None, [], ())
        }
    if isinstance(value, list | tuple):
        plain = all(isinstance(entry, (int, float, bool)) for entry in value)
        return np.asarray(value) if plain else np.asarray([str(entry) for entry in value], object)
    return value
