"""CLAM: `h5_files/{slide}.h5` and `pt_files/{slide}.pt`, with the tiles' places in `patches/{slide}.h5`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from embedstore.errors import FeatureFileError
from embedstore.extractors.tensor_file import read_tensor
from embedstore.layouts.arrays import ArrayFeatures
from embedstore.layouts.hdf5 import Hdf5Features, attribute, dataset, number, open_hdf5, read_places, reading, whole
from embedstore.layouts.layout import Entry, Features, Layout, SlideFacts, features_path
from embedstore.layouts.trident import PATCHES_SUFFIX

H5_FILES, PT_FILES, PATCHES = "h5_files", "pt_files", "patches"
#: In `h5_files` a file of the same slide says more: it has the places too.
SUFFIXES = {H5_FILES: ".h5", PT_FILES: ".pt"}


class Clam(Layout):
    """Features of CLAM. They do not say which extractor made them; CLAM's own are resnet50_trunc, uni_v1, conch_v1."""

    name = "clam"
    title = "CLAM"
    where = "the folder of --feat_dir, with h5_files/ and pt_files/"

    def recognise(self, folder: Path) -> bool:
        return any(_files(_within(folder, name), suffix) for name, suffix in SUFFIXES.items()) or bool(
            _patches(folder) and not any(path.stem.endswith(PATCHES_SUFFIX) for path in _patches(folder).values())
        )

    def slides(self, folder: Path, *, features: str | None = None) -> Sequence[Entry]:
        files: dict[str, Path] = {}
        for name in (PT_FILES, H5_FILES):
            if folder.name not in SUFFIXES or folder.name == name:
                files |= _files(_within(folder, name), SUFFIXES[name])
        patches = _patches(folder)
        return [
            Entry(slide=slide, features=files.get(slide), coordinates=patches.get(slide))
            for slide in sorted(files.keys() | patches.keys())
        ]

    def open(self, entry: Entry, slide: SlideFacts) -> Features:
        path = features_path(entry, self.title)
        if path.suffix == ".pt":
            features: Features = ArrayFeatures(path, read_tensor(path))
        else:
            file = open_hdf5(path)
            try:
                features = _ClamFeatures(path, file)
            except BaseException:
                file.close()
                raise
        features.facts = replace(features.facts, tool="CLAM")
        if entry.coordinates is not None:
            try:
                _place(features, entry.coordinates)
            except BaseException:
                features.close()
                raise
        return features


class _ClamFeatures(Hdf5Features):
    def __init__(self, path: Path, file: h5py.File):
        super().__init__(path, file, "features")
        with reading(path):
            if "coords" in file:
                self.xy_l0 = read_places(file, path, "coords", self.facts.tiles)


def _place(features: Features, path: Path) -> None:
    """Take what a file of `patches/` says: how large the tiles are, and their places where the vectors have none."""
    with open_hdf5(path) as file:
        coords = dataset(file, path, "coords")
        if features.xy_l0 is None:
            features.xy_l0 = read_places(file, path, "coords", features.facts.tiles)
        with reading(path):
            tile_px, level = whole(coords.attrs, "patch_size"), attribute(coords.attrs, "patch_level")
            downsample = _downsample(coords)
            size = _size(attribute(coords.attrs, "level_dim")) if level == 0 else None
    if tile_px is None:
        return
    if downsample is None:
        raise FeatureFileError(
            f"{path}: 'coords' has a patch_size of {tile_px}, and no downsample of its level; expected both, as CLAM "
            "writes them; give --edge-l0 and leave the folder patches/ away"
        )
    features.edge_l0 = round(tile_px * downsample)
    features.facts = replace(features.facts, tile_px=tile_px, size_l0=size)


def _downsample(coords: h5py.Dataset) -> float | None:
    """Level-0 pixels per pixel of the level that the tiles are of; None where the file does not say it."""
    if attribute(coords.attrs, "patch_level") == 0:
        return 1.0
    value = attribute(coords.attrs, "downsample")
    if isinstance(value, list) and value and all(isinstance(part, int | float) for part in value):
        value = float(np.mean(value))
    else:
        value = number(coords.attrs, "downsample")
    return value if value is not None and 1 <= value < 1e4 else None


def _size(value: object) -> tuple[int, int] | None:
    if isinstance(value, list) and len(value) == 2 and all(isinstance(part, int) and part > 0 for part in value):
        return int(value[0]), int(value[1])
    return None


def _within(folder: Path, name: str) -> Path:
    return folder if folder.name == name else folder / name


def _patches(folder: Path) -> dict[str, Path]:
    """Files of places: in the folder, or beside it, where CLAM's first step may have written them."""
    for where in (folder, folder.parent, folder.parent.parent):
        if found := _files(where / PATCHES, ".h5"):
            return found
        if folder.name not in SUFFIXES or where == folder.parent:
            break
    return {}


def _files(folder: Path, suffix: str) -> dict[str, Path]:
    """{slide: its file}."""
    return {path.stem: path for path in sorted(folder.glob(f"*{suffix}"))} if folder.is_dir() else {}
