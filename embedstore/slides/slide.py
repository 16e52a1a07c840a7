"""An open slide: the interface that every reader implements."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embedstore.config import Downsample
from embedstore.errors import RegionReadError, SlideFormatError
from embedstore.slides.resize import Pixels, fit_square

WHITE = 255
#: How much coarser than a tile a level reduced by its decoder may be: the tile is enlarged from it.
LEAST_RATIO = 0.97

# No scanner's picture is so large: 26 cm at 0.25 µm/px, and 275 billion pixels. What claims more is damaged.
MOST_EDGE_PX, MOST_PX = 1 << 20, 1 << 38
# 8192², of a tile as the file stores it: it is decoded as a whole. Scanners' tiles have 128 to 4096 px an edge.
MOST_TILE_PX = 1 << 26

# Most memory that the cache of decoded tiles takes for one open slide, bytes.
CACHE_BYTES = 32 << 20


@dataclass(frozen=True, kw_only=True)
class SlideHeader:
    """What a slide file states about itself.

    Attributes:
        level_sizes: (width, height) of each level, finest first, pixels.
        level_downsamples: Level-0 pixels per pixel of each level.
        mpp_xy: Micrometres per level-0 pixel along x and y; None where the file does not state them.
        vendor: OpenSlide's name of the format.
        properties: Properties of the file, by OpenSlide's names.
    """

    level_sizes: list[tuple[int, int]]
    level_downsamples: list[float]
    mpp_xy: tuple[float, float] | None
    vendor: str
    properties: dict[str, str]


class Slide(ABC):
    """An open slide.

    Levels and level-0 coordinates are OpenSlide's. Several threads may read from one slide.

    Attributes:
        reader: Name of the reader.
        path: The file.
        level_sizes, level_downsamples, mpp_xy, vendor, properties: As in `SlideHeader`.
        warnings: What a user should know about the way this slide is read.
        overrules_openslide: What OpenSlide makes of this file is known to be wrong, and `warnings` says why.
        passed_over: {reader: why it was not chosen}; empty where the reader was given by name.
        reductions: For each level, the factors by which its decoder can shrink it; (1,) where it cannot.
    """

    reader: str

    def __init__(self, path: str, header: SlideHeader):
        _check(path, header)
        self.path = path
        self.level_sizes = header.level_sizes
        self.level_downsamples = header.level_downsamples
        self.mpp_xy = header.mpp_xy
        self.vendor = header.vendor
        self.properties = header.properties
        self.warnings: list[str] = []
        self.overrules_openslide = False
        self.passed_over: dict[str, str] = {}
        self.reductions: list[tuple[int, ...]] = [(1,)] * len(self.level_sizes)

    @property
    def size_l0(self) -> tuple[int, int]:
        """(width, height) of level 0, pixels."""
        return self.level_sizes[0]

    @property
    def mpp(self) -> float | None:
        """Micrometres per level-0 pixel, the mean of x and y; None where the file does not state it."""
        return None if self.mpp_xy is None else (self.mpp_xy[0] + self.mpp_xy[1]) / 2

    @property
    def bounds_l0(self) -> tuple[int, int, int, int]:
        """(x, y, width, height) of the scanned part, level-0 pixels; MRXS slides are mostly padding."""
        width, height = self.size_l0
        x, y, w, h = (
            int(float(self.properties.get(f"openslide.bounds-{name}", default)))
            for name, default in (("x", 0), ("y", 0), ("width", width), ("height", height))
        )
        x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
        return x, y, max(1, min(w, width - x)), max(1, min(h, height - y))

    @property
    def usable(self) -> bool:
        """Whether it can still be read from: its process, if it has one, did not end."""
        return True

    def abort(self) -> None:  # noqa: B027 - only a process can be ended
        """End what other threads read, if the slide has a process of its own; they get a RegionReadError."""

    def expect_stride(self, stride_l0: int) -> None:  # noqa: B027 - most readers ignore the hint
        """Announce that regions will be read row by row, `stride_l0` level-0 pixels apart; a hint for caches."""

    def read_squares(
        self,
        xy_l0: NDArray[np.integer],
        level: int,
        *,
        edge_l0: int,
        out: Pixels,
        downsample: Downsample = "area",
    ) -> list[RegionReadError | None]:
        """Read squares of a level, each resized to a tile.

        Args:
            xy_l0: (n, 2) top-left corners as (x, y), level-0 pixels.
            level: Index of the level.
            edge_l0: Edge of a square, level-0 pixels.
            out: (n, tile_px, tile_px, 3) uint8 to fill; zeros where a square cannot be read.
            downsample: How squares are made smaller, as in `TilingConfig`.
        Returns:
            For each square why it cannot be read, or None.
        """
        tile_px = out.shape[1]
        reduce = self.reduction(level, edge_l0 / tile_px) if downsample == "dct" else 1
        edge_px = max(1, round(edge_l0 / (self.level_downsamples[level] * reduce)))
        region = None if edge_px == tile_px else np.empty((edge_px, edge_px, 3), np.uint8)
        errors: list[RegionReadError | None] = []
        for corner, tile in zip(xy_l0.tolist(), out, strict=True):
            error = None
            try:
                self.read_region(
                    corner, level, (edge_px, edge_px), out=tile if region is None else region, reduce=reduce
                )
                if region is not None:
                    fit_square(region, tile_px, out=tile)
            except RegionReadError as raised:
                tile[:], error = 0, raised
            errors.append(error)
        return errors

    def reduction(self, level: int, px_l0: float, *, among: Sequence[int] | None = None) -> int:
        """How many times a level is reduced in decoding for tiles whose pixels are `px_l0` level-0 pixels wide.

        Args:
            among: Factors to choose from; those of the level when None.
        """
        ratio = px_l0 / self.level_downsamples[level]
        factors = self.reductions[level] if among is None else among
        return max((factor for factor in factors if ratio >= LEAST_RATIO * factor), default=1)

    def read_square(
        self, xy_l0: tuple[int, int], level: int, *, edge_l0: int, out: Pixels, downsample: Downsample = "area"
    ) -> None:
        """Fill `out`, (tile_px, tile_px, 3) uint8, with a square; otherwise as `read_squares`.

        Raises:
            RegionReadError: it cannot be decoded.
        """
        corners = np.array([xy_l0])
        error = self.read_squares(corners, level, edge_l0=edge_l0, out=out[None], downsample=downsample)[0]
        if error is not None:
            raise error

    def read_region(
        self, xy_l0: tuple[int, int], level: int, size: tuple[int, int], *, out: Pixels | None = None, reduce: int = 1
    ) -> Pixels:
        """Read a rectangle of a level.

        Args:
            xy_l0: Its top-left corner, level-0 pixels; rounded to the nearest pixel of the level.
            level: Index of the level.
            size: (width, height), pixels of the level.
            out: (height, width, 3) uint8 to fill instead of a new array.
            reduce: One of the level's `reductions`; the level is read as one that many times smaller.
        Returns:
            (height, width, 3) uint8 RGB; white outside the slide and where the file stores no pixels.
        Raises:
            RegionReadError: there is no such level, or its data cannot be decoded.
        """
        if not 0 <= level < len(self.level_sizes):
            raise RegionReadError(
                f"slide {self.path!r} has levels 0 to {len(self.level_sizes) - 1}; level {level} was requested"
            )
        width, height = size
        if width < 1 or height < 1:
            raise RegionReadError(f"slide {self.path!r}: region of {width}×{height} px; expected 1×1 or more")
        if out is None:
            out = np.empty((height, width, 3), np.uint8)
        if reduce not in self.reductions[level]:
            raise RegionReadError(
                f"slide {self.path!r}: level {level} cannot be read at 1/{reduce}; expected 1/{self.reductions[level]}"
            )
        downsample = self.level_downsamples[level] * reduce
        x, y = round(xy_l0[0] / downsample), round(xy_l0[1] / downsample)
        level_w, level_h = (-(-length // reduce) for length in self.level_sizes[level])
        if x >= 0 and y >= 0 and x + width <= level_w and y + height <= level_h:
            self._fill_at(level, reduce, x, y, out)
            return out
        out[:] = WHITE
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + width, level_w), min(y + height, level_h)
        if left < right and top < bottom:
            self._fill_at(level, reduce, left, top, out[top - y : bottom - y, left - x : right - x])
        return out

    @abstractmethod
    def _fill(self, level: int, x: int, y: int, out: Pixels) -> None:
        """Fill `out` with the pixels of a level from (x, y) on, in level pixels; all of it lies inside the level."""

    def _fill_reduced(self, level: int, reduce: int, x: int, y: int, out: Pixels) -> None:
        """The same in pixels of the reduced level, for readers that have `reductions`."""
        raise NotImplementedError

    def _fill_at(self, level: int, reduce: int, x: int, y: int, out: Pixels) -> None:
        if reduce == 1:
            self._fill(level, x, y, out)
        else:
            self._fill_reduced(level, reduce, x, y, out)

    @abstractmethod
    def close(self) -> None:
        """Close the file; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check(path: str, header: SlideHeader) -> None:
    """Refuse sizes that only a damaged file states, before anything of that size is made."""
    for level, (width, height) in enumerate(header.level_sizes):
        if not (1 <= width <= MOST_EDGE_PX and 1 <= height <= MOST_EDGE_PX and width * height <= MOST_PX):
            raise SlideFormatError(
                f"slide {path!r}: level {level} is said to have {width}×{height} px; expected at most {MOST_EDGE_PX:,} "
                "an edge; the file is damaged: copy it again"
            )
        tile_w, tile_h = (
            int(header.properties.get(f"openslide.level[{level}].tile-{edge}", 0)) for edge in ("width", "height")
        )
        if tile_w * tile_h > MOST_TILE_PX and header.vendor != "hamamatsu":  # whose strips are decoded line by line
            raise SlideFormatError(
                f"slide {path!r}: level {level} is stored in tiles of {tile_w}×{tile_h} px; expected at most "
                f"{MOST_TILE_PX / 1e6:.0f} million pixels a tile; save it with tiles of 256 or 512 px"
            )
