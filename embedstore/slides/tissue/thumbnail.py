"""A small picture of a whole slide, made in bounded memory from any of its levels."""

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from embedstore.errors import RegionReadError
from embedstore.slides.slide import WHITE, Pixels, Slide

MAX_PIXELS = 8_000_000  # of a thumbnail or mask: 24 MB
BLOCK_PIXELS = 1_000_000  # read at once, 3 MB
# Without a level near the thumbnail's resolution, all of a much finer one must be decoded (3 ms a 512² region). Above
# this size a level that is up to four times too coarse is enlarged instead.
COSTLY_PIXELS = 200_000_000
ENLARGE = 4.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Thumbnail:
    """A picture of the scanned part of a slide.

    Attributes:
        pixels: (rows, cols, 3) uint8 RGB.
        unread: (rows, cols) bool: no level could be read there; white in `pixels`.
        origin_l0: (x, y) of its top-left corner, level-0 pixels.
        scale_l0: Level-0 pixels per thumbnail pixel, along x and y.
        mpp: Micrometres per thumbnail pixel.
        warnings: What a user should know about how it was made.
    """

    pixels: Pixels
    unread: NDArray[np.bool_]
    origin_l0: tuple[int, int]
    scale_l0: tuple[float, float]
    mpp: float
    warnings: list[str] = field(default_factory=list)


def read_thumbnail(
    slide: Slide, *, mpp_l0: float, mpp: float, max_pixels: int = MAX_PIXELS, most_read_px: int | None = None
) -> Thumbnail:
    """Read the scanned part of a slide at a coarse resolution.

    A block that cannot be read is tried again on the next finer level; where no level can be read it is marked.

    Args:
        slide: The slide.
        mpp_l0: Its level-0 resolution, µm/px.
        mpp: Resolution of the thumbnail, µm/px; it becomes coarser where there would be more than `max_pixels`, and it
            is never finer than level 0.
        max_pixels: Most pixels of the thumbnail.
        most_read_px: Most pixels of the slide to read for it; any number when None.
    Raises:
        RegionReadError: no part of the slide can be read, or more than `most_read_px` had to be.
    """
    x_l0, y_l0, width_l0, height_l0 = slide.bounds_l0
    shrink = max(mpp / mpp_l0, 1.0, (width_l0 * height_l0 / max_pixels) ** 0.5)
    columns, rows = max(1, round(width_l0 / shrink)), max(1, round(height_l0 / shrink))
    scale = width_l0 / columns, height_l0 / rows
    level = _level_for(slide, shrink)
    read_px = math.prod(slide.level_sizes[level])
    if most_read_px is not None and read_px > most_read_px:
        raise RegionReadError(
            f"slide {slide.path!r} has no small level: {read_px:,} pixels had to be read for a picture of the whole; "
            f"expected at most {most_read_px:,}; save the slide as a pyramid"
        )
    pixels, unread = np.empty((rows, columns, 3), np.uint8), np.zeros((rows, columns), bool)
    edge = max(1, int((BLOCK_PIXELS**0.5) * slide.level_downsamples[level] / max(scale)))
    first_error: RegionReadError | None = None
    for top in range(0, rows, edge):
        for left in range(0, columns, edge):
            bottom, right = min(top + edge, rows), min(left + edge, columns)
            box = (x_l0 + left * scale[0], y_l0 + top * scale[1], x_l0 + right * scale[0], y_l0 + bottom * scale[1])
            try:
                pixels[top:bottom, left:right] = _read_box(slide, level, box, (right - left, bottom - top))
            except RegionReadError as error:
                first_error = first_error or error
                pixels[top:bottom, left:right], unread[top:bottom, left:right] = WHITE, True
    if first_error is not None and unread.all():
        raise first_error
    share = float(unread.mean())
    warnings = (
        [f"{share:.1%} of the slide cannot be read on any level; counted as tissue: {first_error}"] if share else []
    )
    return Thumbnail(
        pixels=pixels,
        unread=unread,
        origin_l0=(x_l0, y_l0),
        scale_l0=scale,
        mpp=mpp_l0 * (scale[0] + scale[1]) / 2,
        warnings=warnings,
    )


def _level_for(slide: Slide, shrink: float) -> int:
    fine = [i for i, d in enumerate(slide.level_downsamples) if d <= shrink * 1.01]
    level = max(fine, key=lambda i: slide.level_downsamples[i], default=0)
    width, height = slide.level_sizes[level]
    coarser = [i for i, d in enumerate(slide.level_downsamples) if shrink * 1.01 < d <= shrink * ENLARGE]
    if width * height > COSTLY_PIXELS and coarser:
        return min(coarser, key=lambda i: slide.level_downsamples[i])
    return level


def _read_box(slide: Slide, level: int, box: tuple[float, float, float, float], size: tuple[int, int]) -> Pixels:
    """A box of level 0 (left, top, right, bottom) as `size` pixels, from a level or the next finer readable one."""
    downsample = slide.level_downsamples[level]
    left, top, right, bottom = (round(edge / downsample) for edge in box)
    width, height = max(1, right - left), max(1, bottom - top)
    try:
        region = slide.read_region((round(box[0]), round(box[1])), level, (width, height))
    except RegionReadError:
        finer = [i for i, d in enumerate(slide.level_downsamples) if d < downsample]
        if not finer or width * height > BLOCK_PIXELS * 16:
            raise
        return _read_box(slide, max(finer, key=lambda i: slide.level_downsamples[i]), box, size)
    if (width, height) == size:
        return region
    shrinks = width >= size[0] and height >= size[1]
    return np.asarray(cv2.resize(region, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.uint8)
