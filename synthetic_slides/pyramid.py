"""Write a pyramidal, tiled JPEG BigTIFF like an Aperio scanner, band by band."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile

from embedstore.output_files import atomic_write

TILE_PX = 256
STEP = 4  # each level is this many times smaller than the next finer one
LEVELS = 3
JPEG_QUALITY = 85
SMALLEST_LEVEL_PX = 16  # a smaller level is of no use


def _tile_row(rows: np.ndarray) -> Iterator[bytes]:
    """JPEG tiles of one row of tiles; the edge is padded with its own colours, so that JPEG adds no ringing there."""
    for left in range(0, rows.shape[1], TILE_PX):
        tile = rows[:, left : left + TILE_PX]
        pad_below, pad_right = TILE_PX - tile.shape[0], TILE_PX - tile.shape[1]
        if pad_below or pad_right:
            tile = cv2.copyMakeBorder(tile, 0, pad_below, 0, pad_right, cv2.BORDER_REPLICATE)
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        yield cv2.imencode(".jpg", cv2.cvtColor(tile, cv2.COLOR_RGB2BGR), options)[1].tobytes()


class _Level:
    """A level of the pyramid, filled from bands of the next finer one as they arrive."""

    def __init__(self, size: tuple[int, int], coarser: "_Level | None") -> None:
        self.size = size
        self.coarser = coarser
        self.tiles: list[bytes] = []  # encoded: a sixteenth of the file or less
        self._pending = np.empty((0, size[0], 3), np.uint8)
        self._rows_left = size[1]

    def push(self, band: np.ndarray) -> None:
        """Add a band of the next finer level; its height is a multiple of `STEP`, except for the slide's last band."""
        rows = min(band.shape[0] // STEP, self._rows_left)
        if rows:
            shrunk = cv2.resize(
                band[: rows * STEP, : self.size[0] * STEP], (self.size[0], rows), interpolation=cv2.INTER_AREA
            )
            self._pending = np.concatenate([self._pending, shrunk])
            self._rows_left -= rows
        while len(self._pending) >= TILE_PX or (self._rows_left == 0 and len(self._pending)):
            row, self._pending = self._pending[:TILE_PX], self._pending[TILE_PX:]
            self.tiles.extend(_tile_row(row))
            if self.coarser:
                self.coarser.push(row)


def level_sizes(size_px: tuple[int, int]) -> list[tuple[int, int]]:
    """(width, height) of every level, level 0 first."""
    sizes = [size_px]
    while len(sizes) < LEVELS and min(sizes[-1]) // STEP >= SMALLEST_LEVEL_PX:
        sizes.append((sizes[-1][0] // STEP, sizes[-1][1] // STEP))
    return sizes


def write_pyramid(path: Path, bands: Iterable[np.ndarray], *, size_px: tuple[int, int], mpp: float) -> None:
    """Write a slide from its bands; the file gets its name once it is complete.

    Args:
        path: The file; an existing one is replaced.
        bands: uint8 (`TILE_PX`, width, 3) RGB, from the top; the last one may have fewer rows.
        size_px: (width, height) in level-0 pixels.
        mpp: Micrometres per level-0 pixel.
    """
    sizes = level_sizes(size_px)
    coarser: list[_Level] = []  # levels 1 and up
    for size in reversed(sizes[1:]):
        coarser.insert(0, _Level(size, coarser[0] if coarser else None))

    def level0() -> Iterator[bytes]:
        for band in bands:
            if coarser:  # before the tiles: the writer stops after the last one
                coarser[0].push(band)
            yield from _tile_row(band)

    width, height = size_px
    area = f"{width}x{height} [0,0 {width}x{height}] ({TILE_PX}x{TILE_PX})"
    encoded = f"JPEG/YCC Q={JPEG_QUALITY}"
    description = f"Aperio Image Library v12.0.0\r\n{area} {encoded}|AppMag = {_number(10 / mpp)}|MPP = {_number(mpp)}"
    with atomic_write(path) as part, tifffile.TiffWriter(part, bigtiff=True) as tiff:
        for size, tiles in zip(sizes, [level0(), *(iter(level.tiles) for level in coarser)], strict=True):
            # OpenCV encodes JPEG as YCbCr 4:2:0, which is what the tags must say.
            tiff.write(
                tiles,
                shape=(size[1], size[0], 3),
                dtype=np.uint8,
                tile=(TILE_PX, TILE_PX),
                photometric="ycbcr",
                subsampling=(2, 2),
                compression="jpeg",
                description=description,
                metadata=None,
                software=False,
            )


def _number(value: float) -> str:
    return f"{round(value)}" if math.isclose(value, round(value), rel_tol=1e-3) else f"{value:.6g}"
