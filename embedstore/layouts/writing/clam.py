"""CLAM: `h5_files/{slide}.h5` with vectors and places, `pt_files/{slide}.pt` with the vectors, `patches/{slide}.h5`."""

import json
from pathlib import Path

import h5py
import numpy as np

from embedstore.extractors.tensor_file import write_tensor
from embedstore.layouts.clam import H5_FILES, PATCHES, PT_FILES
from embedstore.layouts.writing.hdf5 import new_hdf5, places_mark, write_vectors
from embedstore.layouts.writing.mark import KEY, stands
from embedstore.layouts.writing.slide_tiles import SlideTiles
from embedstore.output_files import atomic_write


def clam_files(out: Path, tiles: SlideTiles) -> list[Path]:
    """The features of a slide, and the other files that belong to them."""
    name = tiles.name
    return [out / H5_FILES / f"{name}.h5", out / PT_FILES / f"{name}.pt", out / PATCHES / f"{name}.h5"]


def write_clam(out: Path, tiles: SlideTiles) -> None:
    """Write a slide as CLAM does: `features` (n, dim) float32, `coords` (n, 2) int32 level-0 pixels.

    `patches` says that tiles are `patch_size` pixels of level 0, so that CLAM reads the same squares again.

    Raises:
        LayoutExportError: the tiles have several sizes; or another file stands there.
    """
    features, tensor, patches = clam_files(out, tiles)
    edge = tiles.edge_l0("CLAM")
    mark = places_mark(tiles, size=tiles.size_l0)
    if not stands(patches, mark):
        with new_hdf5(patches, mark) as file:
            coords = file.create_dataset("coords", data=tiles.xy_l0)
            coords.attrs.update({"patch_size": edge, "patch_level": 0, "downsample": (1.0, 1.0), "name": tiles.name})
            coords.attrs["save_path"] = ""
            if tiles.size_l0 is not None:
                coords.attrs.update({"level_dim": tiles.size_l0, "downsampled_level_dim": tiles.size_l0})
    with atomic_write(features, keep_suffix=False) as part, atomic_write(tensor, keep_suffix=False) as tensor_part:
        with h5py.File(part, "w") as file:
            file.attrs[KEY] = json.dumps(tiles.mark)
            offset = write_vectors(file, "features", tiles, np.float32).id.get_offset()
            file.create_dataset("coords", data=tiles.xy_l0.astype(np.int32))
        # From the file just written, so that the vectors of a large slide are never all in memory.
        write_tensor(tensor_part, np.memmap(part, np.float32, mode="c", offset=offset, shape=(len(tiles), tiles.dim)))
