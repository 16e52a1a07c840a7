"""TRIDENT: `{mag}x_{px}px_{overlap}px_overlap/features_{encoder}/{slide}.h5`, and `patches/{slide}_patches.h5`."""

from pathlib import Path
from typing import Any

import numpy as np

from embedstore.layouts.extractor_names import name_of_tool
from embedstore.layouts.trident import FEATURES, PATCHES, PATCHES_SUFFIX, UM_AT_1X
from embedstore.layouts.writing.hdf5 import new_hdf5, places_mark, write_vectors
from embedstore.layouts.writing.mark import stands
from embedstore.layouts.writing.slide_tiles import SlideTiles
from embedstore.output_files import file_name


def trident_files(out: Path, tiles: SlideTiles) -> list[Path]:
    """The features of a slide, which say that the slide is done, and its patches."""
    tiling = tiles.tiling
    overlap = max(0, tiling.tile_px - (tiling.stride_px or tiling.tile_px))
    folder = out / f"{_number(UM_AT_1X / tiling.mpp):g}x_{tiling.tile_px}px_{overlap}px_overlap"
    encoder = file_name(f"{FEATURES}{_encoder(tiles)}")
    return [folder / encoder / f"{tiles.name}.h5", folder / PATCHES / f"{tiles.name}{PATCHES_SUFFIX}.h5"]


def write_trident(out: Path, tiles: SlideTiles) -> None:
    """Write a slide as TRIDENT does; Patho-Bench reads it too.

    `features` are (n, dim) float32, `coords` (n, 2) int64 level-0 pixels. Its attribute `patch_size_level0` is the edge
    of a tile as it was read. Magnifications are 10 / mpp, and that of level 0 is such that TRIDENT reads the same
    squares again.

    Raises:
        LayoutExportError: the tiles have several sizes; or another file stands there.
    """
    features, patches = trident_files(out, tiles)
    attributes = _attributes(tiles)
    mark = places_mark(tiles, **attributes)
    if not stands(patches, mark):
        with new_hdf5(patches, mark) as file:
            _write_coords(file, tiles, attributes)
    with new_hdf5(features, tiles.mark) as file:
        vectors = write_vectors(file, "features", tiles, np.float32)
        vectors.attrs.update({"name": tiles.name, "savetodir": features.parent.name, "encoder": _encoder(tiles)})
        _write_coords(file, tiles, attributes)


def _write_coords(file: Any, tiles: SlideTiles, attributes: dict[str, Any]) -> None:
    file.create_dataset("coords", data=tiles.xy_l0).attrs.update(attributes)


def _attributes(tiles: SlideTiles) -> dict[str, Any]:
    edge, tiling = tiles.edge_l0("TRIDENT"), tiles.tiling
    target = UM_AT_1X / tiling.mpp
    width, height = tiles.size_l0 or ("None", "None")  # as TRIDENT writes what it does not know
    return {
        "patch_size": tiling.tile_px,
        "patch_size_level0": edge,
        "level0_magnification": _number(target * edge / tiling.tile_px),
        "target_magnification": _number(target),
        "overlap": max(0, tiling.tile_px - (tiling.stride_px or tiling.tile_px)),
        "name": tiles.name,
        "savetodir": "",
        "level0_width": width,
        "level0_height": height,
    }


def _encoder(tiles: SlideTiles) -> str:
    return name_of_tool("trident", tiles.extractor.ref.name)


def _number(value: float) -> float:
    """A magnification as TRIDENT has it: whole where it is."""
    return round(value) if abs(value - round(value)) < 1e-9 else value
