"""Cut the place of a stored tile again, for an extractor that takes other tiles."""

from pathlib import Path
from typing import Protocol

from embedstore.config import TilingConfig
from embedstore.slides import Pixels, Slide, best_level, edge_and_stride, read_tile
from embedstore.store import TileLocation


class TileReader(Protocol):
    """Reads places of one slide as tiles of one size and resolution."""

    def read(self, tile: TileLocation, *, out: Pixels) -> None:
        """Fill `out`, (tile_px, tile_px, 3) uint8, with the place of a tile.

        Raises:
            RegionReadError: it cannot be read.
        """


class ImageReader:
    """Reads ready-made tiles: the whole image, resized.

    Args:
        folder: Where the images are.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def read(self, tile: TileLocation, *, out: Pixels) -> None:
        assert tile.name is not None, "a ready-made tile has a file name"
        out[:] = read_tile(Path(self._folder, tile.name), len(out))


class SquareReader:
    """Reads the square around a stored tile's centre, as ingest would cut it under another tiling.

    A square that would leave the slide's image is moved inside; a slide smaller than the square is padded with white.

    Args:
        slide: Open; used by one thread at a time.
        tiling: Edge and resolution of the tiles.
        mpp: Level-0 resolution of the slide, µm/px.
    """

    def __init__(self, slide: Slide, tiling: TilingConfig, mpp: float) -> None:
        self._slide = slide
        self._level = best_level(slide.level_downsamples, mpp=mpp, target_mpp=tiling.mpp)
        downsample = slide.level_downsamples[self._level]
        self._edge_l0, _ = edge_and_stride(tiling, mpp, downsample)
        self._downsample = tiling.downsample

    def corner(self, tile: TileLocation) -> tuple[int, int]:
        """(x, y) of the square's top-left corner, level-0 pixels."""
        left, top, width, height = self._slide.bounds_l0
        shift = (tile.edge_l0 - self._edge_l0) // 2
        x, y = (
            max(low, min(start + shift, low + length - self._edge_l0))
            for start, low, length in ((tile.x, left, width), (tile.y, top, height))
        )
        return x, y

    def read(self, tile: TileLocation, *, out: Pixels) -> None:
        corner = self.corner(tile)
        self._slide.read_square(corner, self._level, edge_l0=self._edge_l0, out=out, downsample=self._downsample)
