"""Cut the place of a stored tile again, for an extractor that wants another tile."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from embedstore.config import TilingConfig
from embedstore.slides import Pixels, Slide, best_level, edge_and_stride, read_square, read_tile


class Cut(Protocol):
    """Reads places of one slide as tiles of one kind."""

    def read(self, row: Mapping[str, Any], *, out: Pixels) -> None:
        """Fill `out`, (tile_px, tile_px, 3) uint8, with the place of a collection's row.

        Raises:
            RegionReadError: it cannot be read.
        """


class ImageFile:
    """A ready-made tile: the whole image, resized.

    Args:
        folder: Where the images are.
    """

    def __init__(self, folder: str):
        self._folder = folder

    def read(self, row: Mapping[str, Any], *, out: Pixels) -> None:
        out[:] = read_tile(Path(self._folder, row["name"]), len(out))


class SlideSquare:
    """A square of a slide around a stored tile's centre, as ingest would cut it under this tiling.

    One that would leave the slide's image is shifted inside; a slide smaller than that has white beyond its edge.

    Args:
        slide: Open; one thread at a time.
        tiling: Edge and resolution of the tiles.
        mpp: Level-0 resolution of the slide, µm/px.
    """

    def __init__(self, slide: Slide, tiling: TilingConfig, mpp: float):
        self._slide = slide
        self._level = best_level(slide.level_downsamples, mpp=mpp, asked_mpp=tiling.mpp)
        downsample = slide.level_downsamples[self._level]
        self._edge_l0, _ = edge_and_stride(tiling, mpp, downsample)
        edge_px = max(1, round(self._edge_l0 / downsample))
        self._region = np.empty((edge_px, edge_px, 3), np.uint8)

    def corner(self, row: Mapping[str, Any]) -> tuple[int, int]:
        """(x, y) of the square's top-left, level-0 pixels."""
        left, top, width, height = self._slide.bounds_l0
        x, y = (
            max(low, min(row[axis] + (row["edge_l0"] - self._edge_l0) // 2, low + length - self._edge_l0))
            for axis, low, length in (("x", left, width), ("y", top, height))
        )
        return x, y

    def read(self, row: Mapping[str, Any], *, out: Pixels) -> None:
        read_square(self._slide, self.corner(row), self._level, region=self._region, out=out)
