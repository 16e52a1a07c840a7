"""Deep zoom: a slide as a pyramid of small tiles, each level half as large as the next finer one.

The grid is that of the Deep Zoom format, which OpenSeadragon and other viewers ask for: deep-zoom level `max_level` has
the pixels of the slide's level 0, every level below has half as many along each edge, rounded up, and deep-zoom level 0
is a single pixel. A pixel covers a whole square of level-0 pixels, so a viewer's image coordinates are level-0 pixels.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from embedstore.errors import PictureNotFoundError, RegionReadError
from embedstore.slides import Pixels, Slide
from embedstore.slides.slide import WHITE

#: Edge of a tile, pixels, and how far neighbouring tiles overlap. benchmarks/service_tiles.py compares them.
TILE_PX, OVERLAP_PX = 512, 0
#: A level is taken for one that is finer by a whole factor if its downsample differs by less than this share.
LEVEL_TOLERANCE = 0.005
#: A tile is read from a level that is at most this many times finer; others come from the overview, where there is one.
FINER = 2.2
#: The level of the overview, which has up to 2048 px an edge: 12 MB.
OVERVIEW_LEVEL = 11
#: Longest edge of a region that is read at once, pixels: 12 MB.
BLOCK_PX = 2048
#: Most pixels that are read for one tile of a slide without an overview: 0.2 s of JPEG.
MOST_TILE_READ_PX = 1 << 24
#: Most pixels that are read for an overview: 2 s of JPEG, 20 s of JPEG 2000.
MOST_OVERVIEW_READ_PX = 1 << 27


@dataclass(frozen=True, kw_only=True)
class DeepZoomGrid:
    """Levels and tiles of a picture.

    Attributes:
        size_l0: (width, height) of level 0 of the slide, pixels.
        tile_px: Edge of a tile, pixels.
    """

    size_l0: tuple[int, int]
    tile_px: int = TILE_PX

    @property
    def max_level(self) -> int:
        """The level that has the pixels of level 0."""
        return (max(self.size_l0) - 1).bit_length()

    def factor(self, level: int) -> int:
        """Level-0 pixels along each edge of a pixel of a level."""
        return 1 << (self.max_level - level)

    def size(self, level: int) -> tuple[int, int]:
        """(width, height) of a level, pixels."""
        factor = self.factor(level)
        return -(-self.size_l0[0] // factor), -(-self.size_l0[1] // factor)

    def tiles(self, level: int) -> tuple[int, int]:
        """(columns, rows) of tiles of a level."""
        width, height = self.size(level)
        return -(-width // self.tile_px), -(-height // self.tile_px)

    def tile(self, level: int, column: int, row: int) -> tuple[int, int, int, int]:
        """(x, y, width, height) of a tile, pixels of its level.

        Raises:
            PictureNotFoundError: there is no such tile.
        """
        if not 0 <= level <= self.max_level:
            raise PictureNotFoundError(f"there is no deep-zoom level {level}; expected 0 to {self.max_level}")
        columns, rows = self.tiles(level)
        if not (0 <= column < columns and 0 <= row < rows):
            raise PictureNotFoundError(
                f"deep-zoom level {level} has no tile in column {column}, row {row}; expected columns 0 to "
                f"{columns - 1} and rows 0 to {rows - 1}"
            )
        (width, height), x, y = self.size(level), column * self.tile_px, row * self.tile_px
        return x, y, min(self.tile_px, width - x), min(self.tile_px, height - y)


class DeepZoom:
    """The deep-zoom tiles of an open slide; several threads may ask.

    Attributes:
        slide: The slide.
        grid: Its levels and tiles.
        min_level: The coarsest level that has tiles: 0, except on a large slide that lacks coarse levels itself.
    """

    def __init__(self, slide: Slide, *, tile_px: int = TILE_PX):
        self.slide = slide
        self.grid = DeepZoomGrid(size_l0=slide.size_l0, tile_px=tile_px)
        self._overview_level = min(OVERVIEW_LEVEL, self.grid.max_level)
        self._overview: Pixels | None = None
        self._making = threading.Lock()
        self.min_level = next(level for level in range(self.grid.max_level + 1) if self._is_served(level))

    def pixels(self, level: int, column: int, row: int) -> Pixels:
        """A tile.

        Returns:
            (height, width, 3) uint8 RGB; the tiles of the last column and row are as small as what is left.
        Raises:
            PictureNotFoundError: there is no such tile.
            RegionReadError: the slide cannot be read there.
        """
        x, y, width, height = self.grid.tile(level, column, row)
        if not self._is_served(level):
            raise PictureNotFoundError(
                f"the slide has no level near deep-zoom level {level}, and too many pixels to make it from; "
                f"expected {self.min_level} to {self.grid.max_level}; save the slide as a pyramid to see it whole"
            )
        if self._is_direct(level):
            return self._read(level, x, y, width, height)
        ratio = self.grid.factor(level) // self.grid.factor(self._overview_level)
        part = self.overview()[y * ratio : (y + height) * ratio, x * ratio : (x + width) * ratio]
        return _shrink(part, (width * ratio, height * ratio), (width, height))

    def overview(self) -> Pixels:
        """The whole slide at OVERVIEW_LEVEL, made once; white where it cannot be read.

        Raises:
            RegionReadError: no part of it can be read, or its process ended.
        """
        with self._making:
            if self._overview is None:
                self._overview = self._read_overview()
            return self._overview

    def _read_overview(self) -> Pixels:
        level = self._overview_level
        width, height = self.grid.size(level)
        pixels = np.full((height, width, 3), WHITE, np.uint8)
        failed: RegionReadError | None = None
        readable = False
        for box in self._blocks(level, 0, 0, width, height):
            x, y, block_w, block_h = box
            try:
                pixels[y : y + block_h, x : x + block_w] = self._read_block(level, *box)
                readable = True
            except RegionReadError as error:
                if not self.slide.usable:
                    raise
                failed = failed or error
        if failed is not None and not readable:
            raise failed
        return pixels

    def _is_served(self, level: int) -> bool:
        width, height = self.grid.size(level)
        if self._is_direct(level):
            read_px = min(width, self.grid.tile_px) * min(height, self.grid.tile_px) * self._ratio(level) ** 2
            return read_px <= MOST_TILE_READ_PX
        width, height = self.grid.size(self._overview_level)
        return width * height * self._ratio(self._overview_level) ** 2 <= MOST_OVERVIEW_READ_PX

    def _is_direct(self, level: int) -> bool:
        """Whether tiles of a level are read from the slide, and not made from the overview."""
        return level >= self._overview_level or self._ratio(level) <= FINER

    def _source(self, level: int) -> int:
        """The level of the slide that a deep-zoom level is read from: the coarsest that is no coarser."""
        factor = self.grid.factor(level) * (1 + LEVEL_TOLERANCE)
        downsamples = self.slide.level_downsamples
        return max((i for i, d in enumerate(downsamples) if d <= factor), key=lambda i: downsamples[i], default=0)

    def _ratio(self, level: int) -> float:
        """How many times finer than a deep-zoom level the slide's level is that it is read from."""
        return self.grid.factor(level) / self.slide.level_downsamples[self._source(level)]

    def _read(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """A rectangle of a deep-zoom level, block by block."""
        blocks = list(self._blocks(level, x, y, width, height))
        if len(blocks) == 1:
            return self._read_block(level, *blocks[0])
        pixels = np.empty((height, width, 3), np.uint8)
        for left, top, block_w, block_h in blocks:
            block = self._read_block(level, left, top, block_w, block_h)
            pixels[top - y : top - y + block_h, left - x : left - x + block_w] = block
        return pixels

    def _blocks(self, level: int, x: int, y: int, width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
        """The parts of a rectangle that are read at once."""
        edge = max(1, int(BLOCK_PX / self._ratio(level)))
        for top in range(y, y + height, edge):
            for left in range(x, x + width, edge):
                yield left, top, min(edge, x + width - left), min(edge, y + height - top)

    def _read_block(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """A rectangle of a deep-zoom level, reduced by the area filter from the next finer level of the slide."""
        source, ratio, factor = self._source(level), self._ratio(level), self.grid.factor(level)
        downsample, (level_w, level_h) = self.slide.level_downsamples[source], self.slide.level_sizes[source]
        left, top = (
            min(round(corner * factor / downsample), edge - 1) for corner, edge in ((x, level_w), (y, level_h))
        )
        whole = max(1, round(ratio))
        if abs(ratio / whole - 1) <= LEVEL_TOLERANCE:
            wanted = width * whole, height * whole
        else:
            wanted = round((x + width) * ratio) - left, round((y + height) * ratio) - top
        region = self._region(source, left, top, (min(wanted[0], level_w - left), min(wanted[1], level_h - top)))
        return _shrink(region, wanted, (width, height))

    def _region(self, source: int, left: int, top: int, size: tuple[int, int]) -> Pixels:
        downsample = self.slide.level_downsamples[source]
        return self.slide.read_region((round(left * downsample), round(top * downsample)), source, size)


def _shrink(pixels: Pixels, wanted: tuple[int, int], size: tuple[int, int]) -> Pixels:
    """Reduce what should have (width, height) `wanted` to `size`; pixels that it lacks are those of its edge."""
    height, width = pixels.shape[:2]
    if (width, height) != wanted:
        below, right = max(0, wanted[1] - height), max(0, wanted[0] - width)
        pixels = np.asarray(cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_REPLICATE), np.uint8)
    if wanted == size:
        return pixels
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
