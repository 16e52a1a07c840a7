"""STAMP: `OUT/{extractor}[-{hash}]/{path of the slide}.h5`, of all versions from 1 to 2.4."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from embedstore.errors import FeatureFileError, LayoutError
from embedstore.layouts.hdf5 import Hdf5Features, attribute, dataset, number, open_hdf5, read_places, reading, whole
from embedstore.layouts.layout import Entry, Features, Layout, SlideFacts, features_path

#: Names of the vectors; those of the second have no places.
FEATS, WITHOUT_PLACES = "feats", "patch_embeddings"
#: Micrometres per level-0 pixel, which embedstore adds to the attributes of STAMP in its exports.
SLIDE_MPP = "slide_mpp"
#: STAMP 1 wrote places in pixels of its tiles, of which 224 are 256 µm.
PX_OF_1, UM_OF_1 = 224, 256.0
IDENTIFIER_OF_1 = "STAMP-extract-"
#: Files that are looked at to recognise a folder.
LOOKED_AT = 5


class Stamp(Layout):
    """Features of STAMP's `preprocess`."""

    name = "stamp"
    title = "STAMP"
    where = "the output_dir of preprocess, or the folder of an extractor in it"

    def recognise(self, folder: Path) -> bool:
        return any(_holds_features(path) for path in _first_files(folder))

    def slides(self, folder: Path, *, features: str | None = None) -> Sequence[Entry]:
        sets = _sets(folder)
        if len(sets) > 1:
            names = ", ".join(each.name for each in sets)
            raise LayoutError(f"{folder} holds {len(sets)} sets of features: {names}; give the folder of one")
        within = sets[0] if sets else folder
        return [
            Entry(slide=path.relative_to(within).with_suffix("").as_posix(), features=path)
            for path in sorted(within.rglob("*.h5"))
            if path.is_file()
        ]

    def open(self, entry: Entry, slide: SlideFacts) -> Features:
        path = features_path(entry, self.title)
        file = open_hdf5(path)
        try:
            return _StampFeatures(path, file, slide)
        except BaseException:
            file.close()
            raise


class _StampFeatures(Hdf5Features):
    def __init__(self, path: Path, file: h5py.File, slide: SlideFacts):
        with reading(path):
            kind = attribute(file.attrs, "feat_type")
            name = WITHOUT_PLACES if FEATS not in file and WITHOUT_PLACES in file else FEATS
        if kind not in (None, "tile"):
            raise FeatureFileError(
                f"{path} holds features of a whole {kind}; expected those of its tiles, as `stamp preprocess` writes"
            )
        super().__init__(path, file, name)
        self._kept = _not_augmented(file, path, self.facts.tiles)
        with reading(path):
            extractor, version = (attribute(file.attrs, key) for key in ("extractor", "stamp_version"))
            has_places = "coords" in file
        self.facts = replace(
            self.facts,
            tiles=self.facts.tiles if self._kept is None else len(self._kept),
            extractor=_model(extractor),
            tool=f"STAMP {version}" if version else "STAMP",
            warnings=()
            if self._kept is None
            else (f"{self._vectors.shape[0] - len(self._kept):,} augmented tiles are left out",),
        )
        if has_places:
            self._place(file, path, slide, of_1=version is None)

    def _place(self, file: h5py.File, path: Path, slide: SlideFacts, *, of_1: bool) -> None:
        places = read_places(file, path, "coords", self._vectors.shape[0], whole_numbers=False)
        with reading(path):
            um = number(file.attrs, "tile_size_um")
            if um is None and attribute(file.attrs, "unit") == "um":
                um = number(file.attrs, "tile_size")
            tile_px = whole(file.attrs, "tile_size_px")
        if um is None:
            if not (of_1 or attribute(file.attrs, "unit") is None) or not _is_of_1(file, path, places):
                raise FeatureFileError(
                    f"{path} does not say in which unit its places are; expected tile_size_um, or a stride of "
                    f"{PX_OF_1} pixels as of STAMP 1; extract the slide again with a newer STAMP"
                )
            um, tile_px, places = UM_OF_1, PX_OF_1, places * (UM_OF_1 / PX_OF_1)
        mpp = None if tile_px is None else round(um / tile_px, 4)
        self.facts = replace(self.facts, tile_px=tile_px, mpp=mpp)
        with reading(path):
            slide_mpp = slide.mpp or number(file.attrs, SLIDE_MPP)
        if slide_mpp is None:
            raise FeatureFileError(
                f"{path}: its places are in micrometres; give the slides with --slides, or --slide-mpp in µm per "
                "level-0 pixel, so that they can be placed on level 0"
            )
        if self._kept is not None:
            places = places[self._kept]
        self.edge_l0 = max(1, round(um / slide_mpp))
        self.xy_l0 = np.rint(places / slide_mpp).astype(np.int64)

    def read(self, start: int, stop: int) -> NDArray[np.floating]:
        if self._kept is None or start == stop:
            return super().read(start, stop)
        rows = self._kept[start:stop]
        return super().read(int(rows[0]), int(rows[-1]) + 1)[rows - rows[0]]


def _not_augmented(file: h5py.File, path: Path, tiles: int) -> NDArray[np.int64] | None:
    """The rows that are tiles as they are, of a file that also has augmented ones; else None."""
    with reading(path):
        if "augmented" not in file:
            return None
    flags = dataset(file, path, "augmented")
    with reading(path):
        if flags.shape != (tiles,):
            raise FeatureFileError(
                f"{path}: there are {tiles:,} vectors, and 'augmented' has the shape {flags.shape}; extract it again"
            )
        augmented = np.asarray(flags[:]).astype(bool)
    return np.flatnonzero(~augmented) if augmented.any() else None


def _is_of_1(file: h5py.File, path: Path, places: NDArray[np.floating]) -> bool:
    """Whether places have the stride of STAMP 1, or where there is one tile, whether the file names that version."""
    gaps = [np.diff(np.unique(places[:, axis])) for axis in (0, 1)]
    strides = [gap.min() for gap in gaps if len(gap)]
    if strides:
        return round(float(min(strides))) == PX_OF_1
    with reading(path):
        return str(attribute(file.attrs, "extractor") or "").startswith(IDENTIFIER_OF_1)


def _model(identifier: object) -> str | None:
    """The extractor of 'STAMP-extract-1.1.0_uni' and of 'uni'."""
    if not isinstance(identifier, str):
        return None
    return identifier.rpartition("_")[2] if identifier.startswith(IDENTIFIER_OF_1) else identifier


def _first_files(folder: Path) -> list[Path]:
    found = []
    for path in folder.rglob("*.h5") if folder.is_dir() else ():
        found.append(path)
        if len(found) == LOOKED_AT:
            break
    return found


def _holds_features(path: Path) -> bool:
    try:
        with open_hdf5(path) as file, reading(path):
            return FEATS in file or WITHOUT_PLACES in file
    except FeatureFileError:
        return False


def _sets(folder: Path) -> list[Path]:
    """The folders of extractors in a folder; none where it is that of one itself."""
    if any(folder.glob("*.h5")):
        return []
    return [each for each in sorted(folder.iterdir()) if each.is_dir() and _is_set(each)]


def _is_set(folder: Path) -> bool:
    """Whether a folder is named after the extractor of its files, as STAMP does, and not as one of slides."""
    for path in _first_files(folder):
        try:
            with open_hdf5(path) as file:
                extractor = attribute(file.attrs, "extractor")
        except FeatureFileError:
            continue
        return isinstance(extractor, str) and folder.name.startswith((extractor, _model(extractor) or extractor))
    return False
