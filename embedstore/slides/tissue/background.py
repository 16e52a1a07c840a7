"""The background of a thumbnail (empty glass), and how much more than it a pixel absorbs."""

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

BRIGHT = 180  # grey level; the background is brighter on every scanner, most stained tissue is not
WHITE = 254  # in all channels: fill of parts that were not scanned, and overexposed background
# Background is nearly colourless on a white-balanced scanner (2 to 6 levels on real ones) and flat: 0 to 4 levels over
# 40 µm, where the palest tissue seen varies by 10 and more.
MAX_CHROMA, MAX_RANGE = 16, 8
ENOUGH, FEW = 0.05, 0.01  # shares of the picture that make a reliable and a doubtful estimate
USUAL_LEVEL = 245.0
DENSITY_RANGE = 0.6  # optical density of the step 255
PER_DENSITY = 255 / DENSITY_RANGE


def brightest(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(rows, cols) highest of the channels of (rows, cols, 3); NumPy takes 20 times as long over an axis of three."""
    red, green, blue = cv2.split(pixels)
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.uint8)


def darkest(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(rows, cols) lowest of the channels of (rows, cols, 3)."""
    red, green, blue = cv2.split(pixels)
    return np.asarray(cv2.min(cv2.min(red, green), blue), np.uint8)


def find_background(pixels: NDArray[np.uint8], variation: NDArray[np.uint8]) -> Mask:
    """Pixels that are certainly background: bright, colourless, flat, and not the white of parts that were not scanned.

    Args:
        pixels: (rows, cols, 3) RGB.
        variation: (rows, cols) from `local_range`.
    """
    lowest = darkest(pixels)
    flat = (lowest > BRIGHT) & (lowest < WHITE) & (variation <= MAX_RANGE)
    return flat & (brightest(pixels) - lowest <= MAX_CHROMA)


def background_level(pixels: NDArray[np.uint8], background: Mask) -> NDArray[np.float64]:
    """(3,) grey level of the background: the most frequent level of each channel.

    It is taken from the pixels that are certainly background, and from all bright pixels where those are few. White
    fill beside darker glass would make the glass look stained, so certain background comes first.
    """
    for candidates, share in ((background, ENOUGH), (darkest(pixels) > BRIGHT, FEW)):
        if candidates.mean() >= share:
            mask = candidates.astype(np.uint8)
            counts = [cv2.calcHist([pixels], [channel], mask, [256], [0, 256]) for channel in range(3)]
            return np.array([count.argmax() for count in counts], float)
    return np.full(3, USUAL_LEVEL)


def optical_density(pixels: NDArray[np.uint8], level: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Optical density of each pixel's most absorbed channel, in steps of 1 / PER_DENSITY.

    Args:
        pixels: (rows, cols, 3) RGB.
        level: (3,) grey level of the background.
    """
    density = np.log10((level + 1) / (np.arange(256)[:, None] + 1))
    return brightest(_look_up(pixels, density * PER_DENSITY))


def chroma(pixels: NDArray[np.uint8], level: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Distance of each pixel from grey, in grey levels, with the background as white; arguments as above."""
    balanced = _look_up(pixels, np.arange(256)[:, None] * (255 / level))
    return brightest(balanced) - darkest(balanced)


def local_range(pixels: NDArray[np.uint8], width_px: int) -> NDArray[np.uint8]:
    """Range of grey levels, of the most absorbed channel, in a square around each pixel."""
    square = np.ones((width_px, width_px), np.uint8)
    return np.asarray(cv2.morphologyEx(darkest(pixels), cv2.MORPH_GRADIENT, square), np.uint8)


def _look_up(pixels: NDArray[np.uint8], table: NDArray[np.float64]) -> NDArray[np.uint8]:
    whole = np.clip(np.rint(table), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(pixels, whole.reshape(1, 256, 3)), np.uint8)
