"""Find marks of felt-tip pens by their absorption, which differs from that of stains."""

import cv2
import numpy as np
from numpy.typing import NDArray

from embedstore.slides.tissue.background import Mask

STROKE_UM = 60.0  # ink is at least so wide: felt-tip lines are 300 to 1000 µm, spots of pigment and folds narrower
FRINGE_UM = 48.0  # ink fades out over this distance around a mark
# A blue stain of the whole tissue (Giemsa, toluidine blue) absorbs like blue ink. It is a stain where it makes up
# nearly all that is stained AND is uneven: over 3 px the density of red varies by 12 to 20 % in blue-stained marrow
# (median), and by 3 to 8 % in pen marks.
STAIN_SHARE, STAIN_UNEVENNESS = 0.8, 0.11


def find_pen(pixels: NDArray[np.uint8], mpp: float) -> Mask:
    """Find marks of blue, green, red and black pens.

    Blue and green inks absorb red light most and let green or blue pass. Haematoxylin (optical density 0.65, 0.70, 0.29
    in red, green, blue), eosin (0.07, 0.99, 0.11) and DAB (0.27, 0.57, 0.78) never do. Red ink absorbs green and blue
    alike and no red. Only marks as wide as a pen's line count. A blue stain of parts of the tissue (Alcian blue) is
    taken for a blue pen, so switch the exclusion off for such stains; `is_stain` recognises a blue stain of all of it.

    Args:
        pixels: (rows, cols, 3) uint8 RGB.
        mpp: Micrometres a pixel.
    Returns:
        (rows, cols) bool, including the fading fringe of the marks.
    """
    red, green, blue = (cv2.GaussianBlur(pixels[..., channel], (3, 3), 0) for channel in range(3))
    table = _densities()
    red_od, green_od, blue_od = table[red], table[green], table[blue]
    brightest = np.maximum(np.maximum(red, green), blue)
    darkest = np.minimum(np.minimum(red, green), blue)

    blue_ink = (red_od > 0.45) & (green_od < 0.80 * red_od) & (blue_od < 0.55 * red_od)
    blue_ink |= (red_od > 0.28) & (green_od < 0.80 * red_od) & (blue_od < 0.32 * red_od)  # pale blue
    green_ink = (red_od > 0.35) & (green_od < 0.72 * red_od) & (green_od < 0.95 * blue_od)
    red_ink = (red_od < 0.16) & (green_od > 0.55) & (blue_od > 0.75 * green_od)
    black_ink = (brightest < 80) & (brightest - darkest < 30)
    seeds = _wide(blue_ink, mpp) | _wide(green_ink, mpp) | _wide(red_ink, mpp) | _wide(black_ink, mpp)
    if not seeds.any():
        return seeds
    faint = (red_od > 0.12) & (green_od < 0.85 * red_od)  # the pale parts of blue and green strokes
    faint |= (red_od < 0.12) & (green_od > 0.3) & (blue_od > 0.7 * green_od)
    faint |= black_ink
    # Blue ink over eosin: red and green are absorbed alike, as by haematoxylin, but less blue (0.3 of red, not 0.45).
    # A bluish haematoxylin comes near to that, so it counts only where a mark leads into it.
    faint |= _wide((red_od > 0.5) & (green_od < 1.05 * red_od) & (blue_od < 0.38 * red_od), mpp)
    return grow(_connected(seeds, faint | seeds), max(1, FRINGE_UM / mpp))


def is_stain(pen: Mask, pixels: NDArray[np.uint8], stained: Mask) -> bool:
    """Whether what `find_pen` found is the stain of the tissue.

    Args:
        pen: (rows, cols) from `find_pen`.
        pixels: (rows, cols, 3) uint8 RGB.
        stained: (rows, cols) bool, everything darker or more colourful than the background, pen marks included.
    """
    inked = pen & stained
    if not inked.any() or inked.sum() < STAIN_SHARE * stained.sum():
        return False
    red = np.asarray(cv2.GaussianBlur(pixels[..., 0], (3, 3), 0), np.uint8)
    density = _densities()[red]
    mean = cv2.blur(density, (3, 3))
    spread = np.sqrt(np.maximum(cv2.blur(density * density, (3, 3)) - mean * mean, 0))
    return float(np.median((spread / np.maximum(density, 0.05))[inked])) > STAIN_UNEVENNESS


def _densities() -> NDArray[np.float32]:
    """Optical density of each grey level, for a background of 245."""
    return np.log10(246.0 / (np.minimum(np.arange(256), 245) + 1)).astype(np.float32)


def disc(radius_px: float) -> NDArray[np.uint8]:
    """A round structuring element of at least one pixel."""
    edge = 2 * max(0, round(radius_px)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (edge, edge)), np.uint8)


def grow(mask: Mask, radius_px: float) -> Mask:
    """A mask and everything within a distance of it."""
    return np.asarray(cv2.dilate(mask.astype(np.uint8), disc(radius_px)), bool)


def _wide(mask: Mask, mpp: float) -> Mask:
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc(max(1, STROKE_UM / mpp / 2)))
    return np.asarray(opened, bool)


def _connected(seeds: Mask, within: Mask) -> Mask:
    """The connected parts of `within` that hold a seed."""
    count, labels = cv2.connectedComponents(within.astype(np.uint8), connectivity=8)
    holds_seed = np.zeros(count, bool)
    holds_seed[labels[seeds]] = True
    holds_seed[0] = False
    return np.asarray(holds_seed[labels], bool)
