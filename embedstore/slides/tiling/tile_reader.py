"""Read the tiles of a slide's plan."""

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embedstore.config import TilingConfig
from embedstore.errors import RegionReadError, SlideChangedError
from embedstore.slides.readers import open_slide
from embedstore.slides.remote import LocalCopy, local_copy, read_image
from embedstore.slides.slide import Pixels, Slide
from embedstore.slides.tiling.resize import fit_square
from embedstore.slides.tiling.slide_grid import edge_and_stride
from embedstore.slides.tiling.slide_plan import SlidePlan, fingerprint
from embedstore.uris import tile_path


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
            SlideChangedError: it is another file than the one that was planned.
        """
        self._plan, self._tile_px = plan, tiling.tile_px
        self.first_error: str | None = None
        self._slide: Slide | None = None
        self._copy: LocalCopy | None = None
        source = plan.source
        if plan.names is None or source.version is not None:  # else a few tiles are wanted, and not all of the folder
            self._copy = local_copy(source.path, kind=source.kind, version=source.version)
        if plan.names is not None or self._copy is None:
            return
        try:
            self._file, self._state = self._copy.path, _file_state(self._copy.path)
            self._slide = open_slide(self._file, reader=plan.reader, name=source.path)
            # Of some slides the store knows no fingerprint.
            if plan.fingerprint and fingerprint(self._file) != plan.fingerprint:
                raise self._changed()
        except BaseException:
            self.close()
            raise
        downsample = self._slide.level_downsamples[plan.level]
        edge_px = max(1, round(plan.edge_l0 / downsample))
        self._region = self._slide.region_buffer(edge_px, edge_px)
        self._slide.expect_stride(edge_and_stride(tiling, plan.mpp or tiling.mpp, downsample)[1])

    def read(self, start: int, stop: int) -> tuple[Pixels, NDArray[np.bool_]]:
        """Read tiles `start` to `stop` - 1 of the plan.

        Returns:
            Pixels, (n, tile_px, tile_px, 3) uint8 RGB, and (n,) bool: which tiles could be read; the others are zeros.
        Raises:
            SlideChangedError: its file was written to since it was opened, so that tiles may be of two contents.
        """
        count, edge = stop - start, self._tile_px
        pixels, readable = np.empty((count, edge, edge, 3), np.uint8), np.ones(count, bool)
        for i in range(count):
            try:
                self._read_tile(start + i, pixels[i])
            except RegionReadError as error:
                pixels[i], readable[i] = 0, False
                self.first_error = self.first_error or str(error)
        if self._slide is not None and _file_state(self._file) not in (None, self._state):
            raise self._changed()
        return pixels, readable

    def _changed(self) -> SlideChangedError:
        return SlideChangedError(
            f"slide {self._plan.slide_id!r}: its file {self._plan.source.path} changed while it was read; no tile of "
            "it is kept; wait until it is copied completely, and run again with --retry-failed"
        )

    def _read_tile(self, index: int, out: Pixels) -> None:
        plan = self._plan
        if plan.names is not None:
            path = tile_path(plan.source.path, plan.names[index])
            if self._copy is not None:
                path = path.replace(plan.source.path, self._copy.path, 1)
            out[:] = read_tile(path, self._tile_px)
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
        if self._copy is not None:
            self._copy.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _file_state(path: str) -> tuple[int, int, int] | None:
    """What changes when a file is written to or replaced; None for one that is gone: who has it open reads on."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def read_tile(path: str | Path, tile_px: int) -> Pixels:
    """Decode a tile image as `read_image` does, and resize it to a square as `fit_square` does.

    Returns:
        (tile_px, tile_px, 3) uint8 RGB.
    Raises:
        RegionReadError: the file does not exist, or cannot be decoded as an image.
    """
    return fit_square(read_image(path), tile_px)
