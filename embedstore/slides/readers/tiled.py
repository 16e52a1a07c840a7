"""Slides whose levels are grids of separately compressed tiles, decoded one by one."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from embedstore.slides.readers.row_cache import RowCache
from embedstore.slides.slide import CACHE_BYTES, WHITE, Pixels, Slide, SlideHeader


@dataclass(frozen=True, kw_only=True)
class LevelLayout:
    """The tiles in which a file stores a level: their size in pixels, and how many there are."""

    tile_w: int
    tile_h: int
    columns: int
    rows: int


class TiledSlide(Slide):
    """Assembles regions from the tiles of the file; reading row by row decodes each of them about once.

    Attributes:
        decoded_tiles: How many tiles of the file have been decoded so far.
    """

    def __init__(
        self,
        path: str,
        header: SlideHeader,
        layouts: Sequence[LevelLayout],
        *,
        missing_from_finer: bool = False,
    ):
        """Keep the layout of each level.

        Args:
            path: The file.
            header: What it states about itself.
            layouts: Of each level.
            missing_from_finer: Fill in a tile that the file lacks from the next finer level; else it is white.
        """
        super().__init__(path, header)
        self.decoded_tiles = 0
        self._layouts = list(layouts)
        self._cache = RowCache(CACHE_BYTES)
        self._stride_l0: int | None = None
        self._missing_from_finer = missing_from_finer

    def expect_stride(self, stride_l0: int) -> None:
        self._stride_l0 = stride_l0

    @abstractmethod
    def _decode(self, level: int, column: int, row: int) -> Pixels | None:
        """One tile as (tile_h, tile_w, 3) RGB; None where the file stores none.

        Raises:
            RegionReadError: it cannot be decoded.
        """

    def _decode_reduced(self, level: int, column: int, row: int, reduce: int) -> Pixels | None:
        """One tile as (tile_h / reduce, tile_w / reduce, 3) RGB; None where the decoder cannot shrink it.

        Asked only for `reductions` of the level, which divide the tile's edges.
        """
        return None

    def _fill(self, level: int, x: int, y: int, out: Pixels) -> None:
        self._fill_reduced(level, 1, x, y, out)

    def _fill_reduced(self, level: int, reduce: int, x: int, y: int, out: Pixels) -> None:
        layout, cache = self._layouts[level], self._cache
        height, width = out.shape[:2]
        tile_w, tile_h = layout.tile_w // reduce, layout.tile_h // reduce
        step = None if self._stride_l0 is None else int(self._stride_l0 / (self.level_downsamples[level] * reduce))
        next_x, next_y = x + (step or width), y + (step or height)
        cache.begin((level, reduce), y)
        for row in range(y // tile_h, (y + height - 1) // tile_h + 1):
            top = row * tile_h
            for column in range(x // tile_w, (x + width - 1) // tile_w + 1):
                left, key = column * tile_w, (level, reduce, column, row)
                y0, y1 = max(y, top), min(y + height, top + tile_h)
                tile = cache.get(key)
                if tile is None or y0 < top + tile_h - len(tile):  # of some only the lower rows were kept
                    tile = self._tile(level, column, row) if reduce == 1 else self._reduced(level, column, row, reduce)
                soon, later = left + tile_w > next_x, top + tile_h > next_y
                if soon or later:
                    rows = None if soon or step is None else top + tile_h - next_y
                    cache.put(key, tile, bottom=top + tile_h, soon=soon, rows=rows)
                else:
                    cache.drop(key)
                x0, x1 = max(x, left), min(x + width, left + tile_w)
                first = top + tile_h - len(tile)
                out[y0 - y : y1 - y, x0 - x : x1 - x] = tile[y0 - first : y1 - first, x0 - left : x1 - left]

    def _reduced(self, level: int, column: int, row: int, reduce: int) -> Pixels:
        tile = self._decode_reduced(level, column, row, reduce)
        if tile is not None:
            self.decoded_tiles += 1
            return tile
        whole = self._tile(level, column, row)
        size = whole.shape[1] // reduce, whole.shape[0] // reduce
        return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.uint8)

    def _tile(self, level: int, column: int, row: int) -> Pixels:
        tile = self._decode(level, column, row)
        self.decoded_tiles += 1
        layout = self._layouts[level]
        if tile is not None:
            return tile
        if level == 0 or not self._missing_from_finer:
            return np.full((layout.tile_h, layout.tile_w, 3), WHITE, np.uint8)
        # Aperio's encoder leaves out some tiles of coarser levels; OpenSlide, too, shows the finer level there.
        scale = self.level_downsamples[level] / self.level_downsamples[level - 1]
        corner = (
            round(column * layout.tile_w * self.level_downsamples[level]),
            round(row * layout.tile_h * self.level_downsamples[level]),
        )
        finer = self.read_region(corner, level - 1, (round(layout.tile_w * scale), round(layout.tile_h * scale)))
        shrunk = cv2.resize(finer, (layout.tile_w, layout.tile_h), interpolation=cv2.INTER_AREA)
        return np.asarray(shrunk, np.uint8)
