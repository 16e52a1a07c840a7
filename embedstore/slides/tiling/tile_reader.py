"""Read the tiles of a slide's plan."""

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embedstore.config import TilingConfig
from embedstore.errors import RegionReadError
from embedstore.slides.image_file import read_image
from embedstore.slides.readers import open_slide
from embedstore.slides.slide import Pixels, Slide
from embedstore.slides.tiling.resize import fit_square
from embedstore.slides.tiling.slide_grid import edge_and_stride
from embedstore.slides.tiling.slide_plan import SlidePlan


def read_square(slide: Slide, xy_l0: tuple[int, int], level: int, *, region: Pixels, out: Pixels) -> None:
    """Read a square of a level and resize it to a tile.

    Args:
        slide: The slide.
        xy_l0: Top-left corner of the square, level-0 pixels.
        level: Index of the level.
        region: (edge, edge, 3) uint8 buffer for the square as it is read, in pixels of the level.
        out: (tile_px, tile_px, 3) uint8 to fill.
    Raises:
        RegionReadError: it cannot be decoded.
    """
    edge = len(region)
    if edge == len(out):
        slide.read_region(xy_l0, level, (edge, edge), out=out)
        return
    slide.read_region(xy_l0, level, (edge, edge), out=region)
    fit_square(region, len(out), out=out)


class TileReader:
    """Reads any run of a plan's tiles, from one thread at a time.

    Attributes:
        first_error: Why the first unreadable tile could not be read; None while all tiles could be.
    """

    def __init__(self, plan: SlidePlan, tiling: TilingConfig):
        """Open the slide with the plan's reader.

        Raises:
            SlideNotFoundError, SlideFormatError: it is gone, or does not open.
        """
        self._plan, self._tile_px = plan, tiling.tile_px
        self.first_error: str | None = None
        self._slide: Slide | None = None
        if plan.names is not None:
            return
        self._slide = open_slide(plan.source.path, reader=plan.reader)
        downsample = self._slide.level_downsamples[plan.level]
        edge_px = max(1, round(plan.edge_l0 / downsample))
        self._region = self._slide.region_buffer(edge_px, edge_px)
        self._slide.expect_stride(edge_and_stride(tiling, plan.mpp or tiling.mpp, downsample)[1])

    def read(self, start: int, stop: int) -> tuple[Pixels, NDArray[np.bool_]]:
        """Read tiles `start` to `stop` - 1 of the plan.

        Returns:
            Pixels, (n, tile_px, tile_px, 3) uint8 RGB, and (n,) bool: which tiles could be read; the others are zeros.
        """
        count, edge = stop - start, self._tile_px
        pixels, readable = np.empty((count, edge, edge, 3), np.uint8), np.ones(count, bool)
        for i in range(count):
            try:
                self._read_tile(start + i, pixels[i])
            except RegionReadError as error:
                pixels[i], readable[i] = 0, False
                self.first_error = self.first_error or str(error)
        return pixels, readable

    def _read_tile(self, index: int, out: Pixels) -> None:
        plan = self._plan
        if plan.names is not None:
            out[:] = read_tile(Path(plan.source.path, plan.names[index]), self._tile_px)
            return
        if self._slide is None:
            raise RegionReadError(f"slide {plan.slide_id!r}: the reader is closed")
        x, y = int(plan.xy_l0[index, 0]), int(plan.xy_l0[index, 1])
        read_square(self._slide, (x, y), plan.level, region=self._region, out=out)

    def close(self) -> None:
        """Close the slide; a second call does nothing."""
        if self._slide is not None:
            self._slide.close()
            self._slide = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_tile(path: str | Path, tile_px: int) -> Pixels:
    """Decode a tile image as `read_image` does, and resize it to a square as `fit_square` does.

    Returns:
        (tile_px, tile_px, 3) uint8 RGB.
    Raises:
        RegionReadError: the file does not exist, or cannot be decoded as an image.
    """
    return fit_square(read_image(path), tile_px)
