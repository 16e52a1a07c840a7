"""STAMP: `{extractor}/{slide}.h5` with `feats` float16 and `coords` in micrometres."""

from pathlib import Path

import numpy as np

from embedstore.errors import LayoutExportError
from embedstore.layouts.extractor_names import name_of_tool
from embedstore.layouts.stamp import FEATS, SLIDE_MPP
from embedstore.layouts.writing.hdf5 import new_hdf5, write_vectors
from embedstore.layouts.writing.slide_tiles import SlideTiles
from embedstore.output_files import file_name

#: The version whose files these are, as far as a reader can tell: STAMP refuses files of a newer version than its own.
STAMP_VERSION = "2.0.0"
#: To what a resolution is known that came from micrometres and pixels, µm/px.
MPP_STEP = 1e-4


def stamp_files(out: Path, tiles: SlideTiles) -> list[Path]:
    """The file of a slide."""
    return [out / file_name(_extractor(tiles)) / f"{tiles.name}.h5"]


def write_stamp(out: Path, tiles: SlideTiles) -> None:
    """Write a slide as STAMP 2 does: `feats` (n, dim) float16, `coords` (n, 2) float32 micrometres.

    Micrometres, from the corner of level 0, are exact in float32 to 1/100 of a pixel: divided by the slide's mpp and
    rounded they give the pixels back. The attribute `slide_mpp`, which STAMP does not have, says by what.

    Raises:
        LayoutExportError: the slide's mpp is not known, or its tiles have several sizes.
    """
    (path,) = stamp_files(out, tiles)
    edge, tiling = tiles.edge_l0("STAMP"), tiles.tiling
    if tiles.slide_mpp is None:
        raise LayoutExportError(
            f"slide {tiles.slide_id!r} has no mpp in the store, and STAMP keeps places in micrometres; ingest it again "
            "with --mpp and --force, or import it again with --slide-mpp; or export it with --layout trident or clam, "
            "which keep pixels"
        )
    tile_um = tiling.tile_px * tiling.mpp
    if abs(tile_um - round(tile_um)) <= tiling.tile_px * MPP_STEP / 2:  # 224 px of 1.1429 µm/px were 256 µm
        tile_um = float(round(tile_um))
    if round(tile_um / tiles.slide_mpp) != edge:
        tile_um = edge * tiles.slide_mpp
    with new_hdf5(path, tiles.mark) as file:
        write_vectors(file, FEATS, tiles, np.float16)
        file["coords"] = (tiles.xy_l0 * tiles.slide_mpp).astype(np.float32)
        file.attrs.update(
            {
                "stamp_version": STAMP_VERSION,
                "extractor": _extractor(tiles),
                "unit": "um",
                "tile_size": tile_um,  # its name in 2.0
                "tile_size_um": tile_um,
                "tile_size_px": tiling.tile_px,
                "feat_type": "tile",
                SLIDE_MPP: tiles.slide_mpp,
            }
        )


def _extractor(tiles: SlideTiles) -> str:
    return name_of_tool("stamp", tiles.extractor.ref.name)
