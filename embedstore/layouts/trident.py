"""TRIDENT: `JOB/{mag}x_{px}px_{overlap}px_overlap/features_{encoder}/{slide}.h5`, with `patches/` beside it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import h5py

from embedstore.errors import FeatureFileError, LayoutError
from embedstore.layouts.hdf5 import Hdf5Features, attribute, number, open_hdf5, read_places, reading, whole
from embedstore.layouts.layout import Entry, Features, Layout, SlideFacts, features_path

FEATURES, PATCHES, PATCHES_SUFFIX = "features_", "patches", "_patches"
#: A magnification of 10 stands for 1 µm/px; TRIDENT takes slides of up to a third more or less for the same one.
UM_AT_1X = 10.0


class Trident(Layout):
    """Features of TRIDENT, of all versions that write HDF5."""

    name = "trident"
    title = "TRIDENT"
    where = "the job's folder, or a folder features_ENCODER in it"

    def recognise(self, folder: Path) -> bool:
        return bool(_feature_folders(folder)) or _has_patches(folder)

    def slides(self, folder: Path, *, features: str | None = None) -> Sequence[Entry]:
        folders = _feature_folders(folder)
        if len(folders) > 1:
            sets = ", ".join(str(each.relative_to(folder)) for each in folders)
            raise LayoutError(f"{folder} holds {len(folders)} sets of features: {sets}; give the folder of one")
        if not folders and not _has_patches(folder):
            raise LayoutError(f"{folder} has no folder {FEATURES}ENCODER with files of .h5; expected {self.where}")
        within = folders[0] if folders else folder
        patches = (within.parent if folders else folder) / PATCHES
        coordinates = {path.stem.removesuffix(PATCHES_SUFFIX): path for path in _files(patches)}
        files = {path.stem: path for path in _files(within)} if folders else {}
        return [
            Entry(slide=slide, features=files.get(slide), coordinates=coordinates.get(slide))
            for slide in sorted(files.keys() | coordinates.keys())
        ]

    def open(self, entry: Entry, slide: SlideFacts) -> Features:
        path = features_path(entry, self.title)
        file = open_hdf5(path)
        try:
            return _TridentFeatures(path, file)
        except BaseException:
            file.close()
            raise


class _TridentFeatures(Hdf5Features):
    def __init__(self, path: Path, file: h5py.File):
        super().__init__(path, file, "features")
        self.xy_l0 = read_places(file, path, "coords", self.facts.tiles)
        with reading(path):
            of_tiles, of_features = file["coords"].attrs, file["features"].attrs
            self.edge_l0 = whole(of_tiles, "patch_size_level0")
            magnification = number(of_tiles, "target_magnification")
            width, height = whole(of_tiles, "level0_width"), whole(of_tiles, "level0_height")
            encoder = attribute(of_features, "encoder")
            tile_px = whole(of_tiles, "patch_size")
        if self.facts.tiles and self.edge_l0 is None:
            raise FeatureFileError(
                f"{path}: 'coords' has no attribute patch_size_level0; expected the edge of a tile in level-0 pixels, "
                "as TRIDENT writes it; if another tool wrote the file, give its --layout"
            )
        self.facts = replace(
            self.facts,
            extractor=str(encoder) if encoder else path.parent.name.removeprefix(FEATURES),
            tile_px=tile_px,
            mpp=None if magnification is None else UM_AT_1X / magnification,
            size_l0=None if width is None or height is None else (width, height),
            tool="TRIDENT",
        )


def _feature_folders(folder: Path) -> list[Path]:
    """Folders of features in a folder: itself, those in it, and those in its folders of tilings."""
    if folder.name.startswith(FEATURES):
        candidates = [folder]
    else:
        candidates = [*folder.glob(f"{FEATURES}*"), *folder.glob(f"*/{FEATURES}*")]
    return sorted(each for each in candidates if each.is_dir() and _files(each))


def _has_patches(folder: Path) -> bool:
    return any(path.stem.endswith(PATCHES_SUFFIX) for path in _files(folder / PATCHES))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.h5") if path.is_file()) if folder.is_dir() else []
