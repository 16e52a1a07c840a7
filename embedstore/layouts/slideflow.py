"""slideflow: `{slide}.pt` with `{slide}.index.npz`, the centres of its tiles, and one `bags_config.json`."""

import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import FeatureFileError
from embedstore.extractors.tensor_file import read_tensor
from embedstore.layouts.arrays import ArrayFeatures, map_npy
from embedstore.layouts.layout import MOST_TILES, Entry, Features, Layout, SlideFacts, checked_places, features_path
from embedstore.zarr_files import read_json

CONFIG, INDEXES = "bags_config.json", (".index.npz", ".index.npy")
#: A width of tiles that is a magnification: 10x stands for 1 µm/px.
MAGNIFICATION = re.compile(r"(\d+(?:\.\d+)?)x", re.IGNORECASE)
UM_AT_1X = 10.0


class Slideflow(Layout):
    """Bags of slideflow."""

    name = "slideflow"
    title = "slideflow"
    where = "a folder of bags: {slide}.pt with {slide}.index.npz, and bags_config.json"

    def recognise(self, folder: Path) -> bool:
        return folder.is_dir() and ((folder / CONFIG).is_file() or bool(_indexes(folder)))

    def slides(self, folder: Path, *, features: str | None = None) -> Sequence[Entry]:
        indexes = _indexes(folder)
        bags = {path.stem: path for path in folder.glob("*.pt")}
        return [
            Entry(slide=slide, features=bags.get(slide), coordinates=indexes.get(slide))
            for slide in sorted(bags.keys() | indexes.keys())
        ]

    def open(self, entry: Entry, slide: SlideFacts) -> Features:
        path = features_path(entry, self.title)
        features = ArrayFeatures(path, read_tensor(path))
        config = _config(path.parent)
        tile_px = _number(config.get("tile_px"))
        um, mpp = config.get("tile_um"), None
        if isinstance(um, str) and (found := MAGNIFICATION.fullmatch(um)):
            mpp = UM_AT_1X / float(found[1]) if float(found[1]) else None
        elif (width := _number(um)) is not None and tile_px:
            mpp = width / tile_px
        features.facts = replace(
            features.facts,
            extractor=_extractor(config),
            tile_px=int(tile_px) if tile_px else None,
            mpp=mpp,
            tool="slideflow",
            warnings=("its colours were normalised by slideflow before",) if config.get("normalizer") else (),
        )
        if entry.coordinates is None:
            raise FeatureFileError(
                f"{path} has no {path.stem}{INDEXES[0]} beside it; expected the places of its tiles, as "
                "slideflow writes them"
            )
        features.xy_l0 = checked_places(
            entry.coordinates, "arr_0", _read_index(entry.coordinates), features.facts.tiles
        )
        features.centred = True
        if slide.mpp and mpp and tile_px:  # as slideflow cuts them
            features.edge_l0 = max(1, int(mpp * tile_px / slide.mpp + 1e-6))
        return features


def _indexes(folder: Path) -> dict[str, Path]:
    """{slide: file of its places}."""
    return {path.name.removesuffix(end): path for end in reversed(INDEXES) for path in folder.glob(f"*{end}")}


def _config(folder: Path) -> Mapping[str, Any]:
    return read_json(folder / CONFIG, FeatureFileError) if (folder / CONFIG).is_file() else {}


def _extractor(config: Mapping[str, Any]) -> str | None:
    """The class of the extractor, without its module."""
    extractor = config.get("extractor")
    name = extractor.get("class") if isinstance(extractor, Mapping) else None
    return name.rpartition(".")[2] or None if isinstance(name, str) else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < 1e6 and math.isfinite(value) else None


def _read_index(path: Path) -> NDArray:
    """The array of an index; only its header and as many values as tiles can have are unpacked."""
    if path.suffix == ".npy":
        return np.asarray(map_npy(path))
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "arr_0.npy" not in names:
                raise FeatureFileError(f"{path} has no array arr_0; it has {', '.join(names[:5]) or 'none'}")
            if archive.getinfo("arr_0.npy").file_size > 16 * MOST_TILES + 4096:
                raise FeatureFileError(f"{path} claims more places than a slide has; it is damaged")
            with archive.open("arr_0.npy") as file:
                return np.lib.format.read_array(file, allow_pickle=False)
    except FeatureFileError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, RuntimeError, NotImplementedError, MemoryError) as error:
        raise FeatureFileError(
            f"{path} cannot be read as an index of slideflow: it is cut short or damaged; make the bags again, "
            "then run the same command with --retry-failed"
        ) from error
