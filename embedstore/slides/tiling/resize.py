"""Bring a square region to the size that an extractor wants."""

import cv2
import numpy as np

from embedstore.slides.slide import Pixels

# OpenCV's area filter has a fast path for whole factors: 512 to 256 px takes 0.1 ms, and 507 to 256 px 1.8, as much as
# decoding. Bilinear to exactly twice the size and area by two from there takes 0.6, and is the same filter to the eye:
# on three real slides it differs by 0.1 grey levels on average (1 to 2 at most) at factors of 1.95 to 2.05, and by 0.4
# (8 at most) at the ends of this range. Most slides are here: 0.22 to 0.28 µm/px read at 0.5.
NEARLY_TWO = (1.75, 2.25)


def fit_square(pixels: Pixels, tile_px: int, *, out: Pixels | None = None) -> Pixels:
    """Resize to a square: area filtering where it shrinks, cubic where it grows.

    Args:
        pixels: (height, width, 3).
        tile_px: Edge of the square, pixels.
        out: (tile_px, tile_px, 3) uint8 to fill instead of a new array.
    """
    height, width = pixels.shape[:2]
    if height == width == tile_px:
        if out is None:
            return pixels
        out[:] = pixels
        return out
    how = cv2.INTER_AREA if height >= tile_px and width >= tile_px else cv2.INTER_CUBIC
    low, high = (bound * tile_px for bound in NEARLY_TWO)
    if low <= height <= high and low <= width <= high and (height, width) != (2 * tile_px, 2 * tile_px):
        pixels = np.asarray(cv2.resize(pixels, (2 * tile_px, 2 * tile_px), interpolation=cv2.INTER_LINEAR), np.uint8)
    return np.asarray(cv2.resize(pixels, (tile_px, tile_px), dst=out, interpolation=how), np.uint8)
