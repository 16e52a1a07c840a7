"""Whether a reader agrees with OpenSlide, from a few regions of every level of a slide."""

from typing import NamedTuple

import numpy as np

from embedstore.errors import RegionReadError
from embedstore.slides.slide import Slide

PROBE_PX = 256  # edge of a compared region, pixels of its level; large enough to span borders of the file's tiles
OVERVIEW_PX = 1024  # edge of the part of the coarsest level in which places with tissue are looked for, pixels
PROBES_A_LEVEL = 3  # two in places rich in contrast and one anywhere: 80 CPU-ms for a slide of three levels


class Tolerance(NamedTuple):
    """Largest mean and largest single difference that is allowed in a region, grey levels."""

    mean: float
    highest: int


# The tiff and dicom readers decode with the library that OpenSlide uses, so pixels must be equal.
EXACT = Tolerance(0.0, 0)
# Where a level's pixels do not fall on whole level-0 pixels, OpenSlide interpolates between them, rounding twice.
INTERPOLATED = Tolerance(0.75, 4)


def disagreement(reference: Slide, candidate: Slide, *, seed: int = 0) -> str | None:
    """Why a reader must not replace OpenSlide for a slide; None where it may.

    Args:
        reference: The slide, opened by OpenSlide.
        candidate: The slide, opened by the other reader.
        seed: Chooses the places that are compared.
    """
    if candidate.level_sizes != reference.level_sizes:
        return f"levels of {candidate.level_sizes} px; OpenSlide's are {reference.level_sizes}"
    if not np.allclose(candidate.level_downsamples, reference.level_downsamples, rtol=1e-6):
        return f"downsamples {candidate.level_downsamples}; OpenSlide's are {reference.level_downsamples}"
    compared = 0
    for level, places in enumerate(_places(reference, seed)):
        for x, y, width, height in places:
            try:
                expected, shift = _read_reference(reference, level, x, y, width, height)
            except RegionReadError:
                continue  # a region that OpenSlide cannot read proves nothing
            pixels = _read_shifted(candidate, level, x, y, expected.shape[:2], shift)
            difference = np.abs(pixels - expected)
            allowed = EXACT if shift == (0.0, 0.0) else INTERPOLATED
            if difference.mean() > allowed.mean or difference.max() > allowed.highest:
                return (
                    f"level {level} at {x},{y}: pixels differ from OpenSlide's by {difference.mean():.2f} grey levels "
                    f"on average, {difference.max():.0f} at most; allowed {allowed.mean} and {allowed.highest}"
                )
            compared += 1
    return None if compared else "OpenSlide could read no region to compare with"


def _places(slide: Slide, seed: int) -> list[list[tuple[int, int, int, int]]]:
    """(x, y, width, height) of the regions to compare on each level, level pixels, one pixel away from its edges."""
    rng = np.random.default_rng(seed)
    rich = _places_rich_in_contrast(slide, rng)
    probes = []
    for width, height in slide.level_sizes:
        w, h = min(PROBE_PX, width - 2), min(PROBE_PX, height - 2)
        if w < 1 or h < 1:
            probes.append([(0, 0, width, height)])
            continue
        centres = np.concatenate([rich, rng.random((PROBES_A_LEVEL - len(rich), 2))]) * (width, height)
        corners = np.clip(np.rint(centres - (w / 2, h / 2)), 1, (width - w - 1, height - h - 1)).astype(int)
        probes.append([(int(x), int(y), w, h) for x, y in dict.fromkeys(map(tuple, corners))])
    return probes


def _places_rich_in_contrast(slide: Slide, rng: np.random.Generator) -> np.ndarray:
    """(2, 2) places as shares of width and height; at random where the overview cannot be read."""
    level = len(slide.level_sizes) - 1
    width, height = slide.level_sizes[level]
    w, h = min(OVERVIEW_PX, width), min(OVERVIEW_PX, height)
    x, y = (width - w) // 2, (height - h) // 2
    downsample = slide.level_downsamples[level]
    try:
        overview = slide.read_region((round(x * downsample), round(y * downsample)), level, (w, h))
    except RegionReadError:
        return rng.random((2, 2))
    cell = max(1, min(w, h) // 16)
    rows, columns = h // cell, w // cell
    blocks = overview[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell, 3)
    contrast = blocks.std(axis=(1, 3)).sum(axis=-1).ravel()
    best = np.argsort(-contrast, kind="stable")[: max(2, len(contrast) // 10)]
    chosen = rng.choice(best, size=2, replace=len(best) < 2)
    centres = np.stack([chosen % columns, chosen // columns], axis=1) * cell + cell / 2 + (x, y)
    return centres / (width, height)


def _read_reference(
    slide: Slide, level: int, x: int, y: int, width: int, height: int
) -> tuple[np.ndarray, tuple[float, float]]:
    """The region as OpenSlide renders it, and its offset from whole pixels, in level pixels."""
    downsample = slide.level_downsamples[level]
    xy_l0 = round(x * downsample), round(y * downsample)
    shift = xy_l0[0] / downsample - x, xy_l0[1] / downsample - y
    if max(map(abs, shift)) < 1 / 512:  # cairo counts in 1/256 of a pixel
        shift = 0.0, 0.0
    return slide.read_region(xy_l0, level, (width, height)).astype(np.float32), shift


def _read_shifted(
    slide: Slide, level: int, x: int, y: int, shape: tuple[int, ...], shift: tuple[float, float]
) -> np.ndarray:
    """The region, interpolated as OpenSlide does where it does not lie on whole pixels."""
    height, width = shape
    downsample = slide.level_downsamples[level]
    if shift == (0.0, 0.0):
        return slide.read_region((round(x * downsample), round(y * downsample)), level, (width, height)).astype(
            np.float32
        )
    corner = round((x - 1) * downsample), round((y - 1) * downsample)
    wide = slide.read_region(corner, level, (width + 2, height + 2)).astype(np.float32)
    rows = _interpolate_rows(wide, 1 + shift[1], height)
    return _interpolate_rows(rows.swapaxes(0, 1), 1 + shift[0], width).swapaxes(0, 1)


def _interpolate_rows(pixels: np.ndarray, first: float, count: int) -> np.ndarray:
    """`count` rows, starting at the fractional row `first`."""
    low = int(np.floor(first))
    share = first - low
    below = pixels[low : low + count]
    return below if share == 0 else below * (1 - share) + pixels[low + 1 : low + 1 + count] * share
