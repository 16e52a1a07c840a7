"""Folders as other tools write them, a few vectors each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

DIM = 8


def vectors(tiles: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((tiles, DIM)).astype(np.float32)


def places(tiles: int, edge_l0: int = 512, columns: int = 4) -> np.ndarray:
    """Corners of a grid, row by row."""
    at = np.arange(tiles)
    return np.stack([at % columns, at // columns], axis=1).astype(np.int64) * edge_l0


def write_hdf5(
    path: Path, arrays: Mapping[str, Any], attributes: Mapping[str, Mapping[str, Any]] | None = None
) -> Path:
    """A file of arrays; `attributes` by the name of an array, those of the file itself by ''."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
        for name, values in (attributes or {}).items():
            (file[name] if name else file).attrs.update(values)
    return path


def write_trident(
    job: Path, slide: str, *, tiles: int = 6, encoder: str = "uni_v1", edge_l0: int = 512, seed: int = 0, **changes: Any
) -> Path:
    """A slide of a job of TRIDENT at 20x; `changes` replace arrays, or attributes of `coords`."""
    of_tiles = {
        "patch_size": 256, "patch_size_level0": edge_l0, "level0_magnification": 40, "target_magnification": 20,
        "overlap": 0, "name": slide, "savetodir": "None", "level0_width": 4 * edge_l0, "level0_height": 4 * edge_l0,
    }  # fmt: skip
    arrays = {"features": vectors(tiles, seed=seed), "coords": places(tiles, edge_l0)}
    for name, value in changes.items():
        (arrays if name in arrays else of_tiles)[name] = value
    path = job / "20x_256px_0px_overlap" / f"features_{encoder}" / f"{slide}.h5"
    return write_hdf5(path, arrays, {"coords": of_tiles, "features": {"encoder": encoder, "name": slide}})


def write_clam(
    folder: Path, slide: str, *, tiles: int = 6, kinds: str = "h5 pt patches", patch_level: int = 1, size: int = 4096
) -> None:
    """A slide of CLAM, of tiles of 256 px at a level of 4 level-0 pixels each, or at level 0."""
    features, downsample = vectors(tiles), 4.0 if patch_level else 1.0
    coords = places(tiles, round(256 * downsample))
    if "h5" in kinds:
        arrays = {"features": features, "coords": coords.astype(np.int32)}
        write_hdf5(folder / "h5_files" / f"{slide}.h5", arrays)
    if "pt" in kinds:
        import torch  # here, as it takes seconds

        (folder / "pt_files").mkdir(parents=True, exist_ok=True)
        torch.save(torch.from_numpy(features), folder / "pt_files" / f"{slide}.pt")
    if "patches" in kinds:
        of_tiles = {
            "patch_size": 256, "patch_level": patch_level, "downsample": (downsample, downsample),
            "level_dim": (size, size), "downsampled_level_dim": (size, size), "name": slide, "save_path": "x",
        }  # fmt: skip
        write_hdf5(folder / "patches" / f"{slide}.h5", {"coords": coords}, {"coords": of_tiles})


def write_stamp(folder: Path, slide: str, version: str, *, tiles: int = 6, extractor: str = "uni") -> None:
    """A slide of a version of STAMP: tiles of 256 µm and 224 px in a grid of four columns."""
    grid = places(tiles, 1)
    arrays: dict[str, Any] = {"feats": vectors(tiles).astype(np.float16), "coords": (grid * 256).astype(np.float32)}
    attributes: dict[str, Any] = {"stamp_version": version, "extractor": extractor, "unit": "um"}
    if version.startswith("1"):
        arrays |= {"coords": grid * 224, "augmented": np.zeros(tiles, bool)}
        attributes = {"extractor": f"STAMP-extract-{version}_{extractor}"}
    elif version.startswith("2.0"):
        attributes["tile_size"] = 256.0
    else:
        attributes |= {"tile_size_um": 256.0, "tile_size_px": 224}
    if version >= "2.3":
        attributes |= {"code_hash": "ab" * 32, "feat_type": "tile"}
    write_hdf5(folder / f"{extractor}-abcdef12" / f"{slide}.h5", arrays, {"": attributes})
