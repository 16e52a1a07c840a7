"""tiatoolbox: `{slide}.zarr` since 2.0, and `{number}.position.npy` with `{number}.features.{head}.npy` before."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import FeatureFileError, LayoutError
from embedstore.layouts.arrays import ArrayFeatures, map_npy
from embedstore.layouts.layout import Entry, Features, Layout, SlideFacts, check_places, features_path
from embedstore.layouts.zarr_features import ZarrFeatures, read_array
from embedstore.quantities import first_few
from embedstore.zarr_files import is_zarr

POSITION, FEATURES = ".position.npy", ".features."
VECTORS, BOXES, SUFFIX = "probabilities", "coordinates", ".zarr"


class TiaToolbox(Layout):
    """Features of tiatoolbox's DeepFeatureExtractor; they say neither the extractor nor the resolution."""

    name = "tiatoolbox"
    title = "tiatoolbox"
    where = "the save_dir of its DeepFeatureExtractor, or a {slide}.zarr in it"
    holds_sets = True

    def recognise(self, folder: Path) -> bool:
        return bool(_stores(folder)) or any(True for _ in folder.glob(f"*{POSITION}"))

    def slides(self, folder: Path, *, features: str | None = None) -> Sequence[Entry]:
        if stores := _stores(folder):
            if features is not None:
                raise LayoutError(
                    f"--features {features}: tiatoolbox 2 writes one set of vectors a slide; leave it out"
                )
            return [Entry(slide=path.name.removesuffix(SUFFIX), features=path) for path in stores]
        places = {path.name.removesuffix(POSITION): path for path in sorted(folder.glob(f"*{POSITION}"))}
        files = {slide: _heads(folder, slide) for slide in places}
        heads = sorted({head for of_slide in files.values() for head in of_slide})
        if features is None and len(heads) > 1:
            raise LayoutError(
                f"{folder} holds vectors of {len(heads)} outputs of the network: {first_few(heads)}; say which with "
                f"--features {heads[0]}"
            )
        if features is not None and features not in heads:
            raise LayoutError(f"{folder} has no vectors {features!r}; it has {first_few(heads) or 'none'}")
        head = features if features is not None else next(iter(heads), "")
        return [Entry(slide=slide, features=files[slide].get(head), coordinates=path) for slide, path in places.items()]

    def open(self, entry: Entry, slide: SlideFacts) -> Features:
        path = features_path(entry, self.title)
        if entry.coordinates is not None:
            features: Features = ArrayFeatures(path, map_npy(path))
            return _placed(features, entry.coordinates, map_npy(entry.coordinates))
        return _placed(ZarrFeatures(path, path / VECTORS), path, read_array(path / BOXES, FeatureFileError))


def _placed(features: Features, path: Path, boxes: NDArray) -> Features:
    """Vectors with the boxes of their tiles, which are in pixels of the resolution of the network's input."""
    check_places(path, BOXES, boxes.shape, boxes.dtype, features.facts.tiles)
    if boxes.shape[1] != 4:
        raise FeatureFileError(f"{path}: places of shape {boxes.shape}; expected boxes, (tiles, 4)")
    boxes = np.asarray(boxes)
    if boxes.dtype.kind == "f" and not np.isfinite(boxes).all():
        raise FeatureFileError(f"{path} holds places that are no numbers; extract the slide again")
    edges = np.unique(boxes[:, 2:] - boxes[:, :2])
    if len(boxes) and (len(edges) != 1 or not 1 <= edges[0] < 1 << 20 or np.abs(boxes).max() >= 1 << 31):
        raise FeatureFileError(
            f"{path} holds boxes of {first_few(list(map(str, edges)))} pixels; expected squares of one size, as the "
            "patches of a DeepFeatureExtractor are"
        )
    features.xy_l0, features.in_tile_px = boxes[:, :2].astype(np.int64), True
    features.facts = replace(features.facts, tile_px=int(edges[0]) if len(boxes) else None, tool="tiatoolbox")
    return features


def _stores(folder: Path) -> list[Path]:
    candidates = [folder] if is_zarr(folder) else sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    return [path for path in candidates if (path / VECTORS).is_dir() and (path / BOXES).is_dir()]


def _heads(folder: Path, slide: str) -> dict[str, Path]:
    """{output of the network: file of its vectors}."""
    begin = f"{slide}{FEATURES}"
    found = (path for path in folder.iterdir() if path.name.startswith(begin) and path.suffix == ".npy")
    return {path.name[len(begin) : -len(".npy")]: path for path in found}
