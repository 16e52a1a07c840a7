"""OpenSlide: opens nearly every format, and is the reference that the other readers are compared with."""

import threading
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import openslide

from embedstore.errors import RegionReadError, SlideFormatError
from embedstore.slides.slide import CACHE_BYTES, WHITE, Pixels, Slide, SlideHeader


def library_version() -> str:
    """Version of the OpenSlide library itself."""
    return str(openslide.__library_version__)


def open_handle(path: str) -> openslide.OpenSlide:
    """Open a file with OpenSlide.

    Raises:
        SlideFormatError: OpenSlide cannot open it.
    """
    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError as error:
        raise SlideFormatError(
            f"slide {path!r}: OpenSlide {library_version()} does not know its format "
            f"({Path(path).stat().st_size} bytes)"
        ) from error
    except openslide.OpenSlideError as error:
        raise SlideFormatError(f"slide {path!r}: OpenSlide cannot open it: {error}") from error


def read_header(handle: openslide.OpenSlide) -> SlideHeader:
    """What OpenSlide reports about a file."""
    return SlideHeader(
        level_sizes=[(int(width), int(height)) for width, height in handle.level_dimensions],
        level_downsamples=[float(downsample) for downsample in handle.level_downsamples],
        mpp_xy=_mpp_xy(handle.properties),
        vendor=handle.properties.get("openslide.vendor", "unknown"),
        properties=dict(handle.properties),
    )


def _mpp_xy(properties: Mapping[str, str]) -> tuple[float, float] | None:
    """Micrometres per level-0 pixel along x and y, where the file states two positive, finite numbers."""
    try:
        x, y = (float(properties[f"openslide.mpp-{axis}"]) for axis in "xy")
    except (KeyError, ValueError):
        return None
    return (x, y) if 0 < x < float("inf") and 0 < y < float("inf") else None


class OpenSlideSlide(Slide):
    """A slide read by OpenSlide."""

    reader = "openslide"

    def __init__(self, path: str):
        handle = _cached_handle(path)
        self._handle: openslide.OpenSlide | None = handle
        self._lock = threading.Lock()
        super().__init__(path, read_header(handle))

    def _fill(self, level: int, x: int, y: int, out: Pixels) -> None:
        handle, downsample = self._handle, self.level_downsamples[level]
        if handle is None:
            raise RegionReadError(f"slide {self.path!r} is closed")
        size = out.shape[1], out.shape[0]
        try:
            image = handle.read_region((round(x * downsample), round(y * downsample)), level, size)
        except openslide.OpenSlideError as error:
            self._reopen(handle)
            raise RegionReadError(
                f"slide {self.path!r}: OpenSlide cannot read {size[0]}×{size[1]} px at {x},{y}, level {level}: {error}"
            ) from error
        rgba = np.asarray(image)
        alpha = rgba[..., 3:]
        if alpha.min() == WHITE:
            out[:] = cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB)
        else:  # transparent where nothing was scanned
            opacity = alpha.astype(np.float32) / WHITE
            out[:] = np.rint(rgba[..., :3] * opacity + WHITE * (1 - opacity)).astype(np.uint8)

    def _reopen(self, broken: openslide.OpenSlide) -> None:
        """Replace a handle after an error: OpenSlide fails every later call on it."""
        with self._lock:
            if self._handle is broken:
                self._handle = _cached_handle(self.path)  # the broken one is freed once no thread uses it

    def close(self) -> None:
        with self._lock:
            handle, self._handle = self._handle, None
        if handle is not None:
            handle.close()


def _cached_handle(path: str) -> openslide.OpenSlide:
    handle = open_handle(path)
    handle.set_cache(openslide.OpenSlideCache(CACHE_BYTES))
    return handle
