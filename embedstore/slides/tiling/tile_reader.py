"""Read the tiles of a slide's plan."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embedstore.config import TilingConfig
from embedstore.errors import RegionReadError, SlideChangedError
from embedstore.slides.readers import open_slide
from embedstore.slides.remote import LocalCopy, local_copy, read_image
from embedstore.slides.resize import fit_square
from embedstore.slides.slide import Pixels, Slide
from embedstore.slides.tiling.resolution import best_level
from embedstore.slides.tiling.slide_grid import edge_and_stride
from embedstore.slides.tiling.slide_plan import SlidePlan, fingerprint
from embedstore.uris import tile_path


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
        self._plan, self._tile_px, self._downsample = plan, tiling.tile_px, tiling.downsample
        self.first_error: str | None = None
        self._slide: Slide | None = None
        self._level = 0
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
        self._level = self._best_level(self._slide, tiling) if plan.level is None else plan.level
        downsample = self._slide.level_downsamples[self._level]
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
        errors = self._read_images(start, pixels) if self._plan.names is not None else self._read_squares(start, pixels)
        for i, error in enumerate(errors):
            if error is not None:
                pixels[i], readable[i] = 0, False
                self.first_error = self.first_error or str(error)
        if self._slide is not None and _file_state(self._file) not in (None, self._state):
            raise self._changed()
        return pixels, readable

    def _best_level(self, slide: Slide, tiling: TilingConfig) -> int:
        mpp = self._plan.mpp or slide.mpp  # a crash may have kept it out of the slide's row
        return best_level(slide.level_downsamples, mpp=mpp, target_mpp=tiling.mpp) if mpp else 0

    def _changed(self) -> SlideChangedError:
        return SlideChangedError(
            f"slide {self._plan.slide_id!r}: its file {self._plan.source.path} changed while it was read; no tile of "
            "it is kept; wait until it is copied completely, and run again with --retry-failed"
        )

    def _read_images(self, start: int, out: Pixels) -> Iterator[RegionReadError | None]:
        plan = self._plan
        assert plan.names is not None
        for name, tile in zip(plan.names[start:], out, strict=False):
            path = tile_path(plan.source.path, name)
            if self._copy is not None:
                path = path.replace(plan.source.path, self._copy.path, 1)
            try:
                tile[:] = read_tile(path, self._tile_px)
            except RegionReadError as error:
                yield error
            else:
                yield None

    def _read_squares(self, start: int, out: Pixels) -> Iterable[RegionReadError | None]:
        plan = self._plan
        if self._slide is None:
            return [RegionReadError(f"slide {plan.slide_id!r}: the reader is closed")] * len(out)
        corners = plan.xy_l0[start : start + len(out)]
        return self._slide.read_squares(
            corners, self._level, edge_l0=plan.edge_l0, out=out, downsample=self._downsample
        )

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
