"""Tell tissue from glass on a thumbnail of a brightfield slide (H&E, IHC)."""

import cv2
import numpy as np
from numpy.typing import NDArray

from embedstore.config import TissueConfig
from embedstore.errors import TissueError
from embedstore.slides.pen import find_pen
from embedstore.slides.slide import Slide
from embedstore.slides.thumbnail import Thumbnail, read_thumbnail
from embedstore.slides.tissue_mask import TissueMask

Mask = NDArray[np.bool_]

# Darkfield: most of the picture is dark and next to nothing is as bright and colourless as glass.
DARK_LEVEL, DARK_SHARE = 70, 0.5
GLASS_LEVEL, GLASS_SHARE = 180, 0.02
BLACK_LEVEL = 45  # padding and the borders of the scanner's mask lie below, stained tissue at 8 µm/px above
# Optical density of the most absorbed channel. Glass with its dust and JPEG noise stays below 0.03; the palest stroma
# and fat's septa begin near 0.05; Otsu would rise to 0.3 between eosin and nuclei where a slide has hardly any glass.
DENSITY_FLOOR, DENSITY_CEILING = 0.05, 0.09
DENSITY_BINS = 256
DENSITY_RANGE = 0.6
# Grey (dust, bubbles, edges of the cover glass) is no tissue unless dense: pigment and crush artefacts are.
GREY_CHROMA, GREY_DENSITY = 8, 0.35
PEN_WARNING = "pen marks"
CLOSE_UM = 16.0  # gaps between fibres


def find_tissue(slide: Slide, config: TissueConfig, *, mpp_l0: float) -> TissueMask:
    """Find tissue on a slide.

    Args:
        slide: The slide.
        config: The thumbnail's resolution, sizes of specks and holes, whether pen marks are left out.
        mpp_l0: The slide's level-0 resolution, µm/px.
    Raises:
        TissueError: the slide is darkfield or fluorescence.
        RegionReadError: nothing of it can be read.
    """
    return tissue_of(read_thumbnail(slide, mpp_l0=mpp_l0, mpp=config.mpp), config, slide_name=slide.path)


def tissue_of(thumbnail: Thumbnail, config: TissueConfig, *, slide_name: str) -> TissueMask:
    """Find tissue on a thumbnail; arguments and errors as in `find_tissue`."""
    pixels, mpp, warnings = thumbnail.pixels, thumbnail.mpp, list(thumbnail.warnings)
    refuse_darkfield(pixels[~thumbnail.unread], slide_name)
    black = pixels.max(axis=2) < BLACK_LEVEL
    stained = _stained(pixels, black)
    if config.exclude_pen:
        pen = find_pen(pixels, mpp)
        if pen.any():
            stained &= ~pen
            warnings.append(f"{PEN_WARNING} of {pen.sum() * (mpp / 1000) ** 2:.2g} mm² left out")
    stained &= ~_padding(black, mpp)
    stained |= thumbnail.unread
    mask = _tidy(stained, mpp, config)
    if config.exclude_pen and pen.any():
        mask &= ~pen  # closing grew into it
    return TissueMask(mask=mask, origin_l0=thumbnail.origin_l0, scale_l0=thumbnail.scale_l0, mpp=mpp, warnings=warnings)


def refuse_darkfield(pixels: NDArray[np.uint8], slide_name: str) -> None:
    """Raise a TissueError where pixels, (..., 3), are bright objects on a dark ground."""
    if pixels.size == 0:
        return
    dark = float((pixels.max(axis=-1) < DARK_LEVEL).mean())
    glass = float((pixels.min(axis=-1) > GLASS_LEVEL).mean())
    if dark > DARK_SHARE and glass < GLASS_SHARE:
        raise TissueError(
            f"slide {slide_name!r} looks like darkfield or fluorescence: {dark:.0%} of it is dark, {glass:.1%} as "
            "bright as glass; tissue is found on brightfield slides only; give a GeoJSON mask (column tissue of a "
            "slide list), or --tissue all"
        )


def optical_density(pixels: NDArray[np.uint8], glass: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Optical density of each pixel's most absorbed channel, in steps of DENSITY_RANGE / 255.

    Args:
        pixels: (rows, cols, 3) RGB.
        glass: (3,) grey level of empty glass.
    """
    levels = np.arange(256)[:, None]
    density = np.log10((glass + 1) / (levels + 1))
    table = np.clip(np.rint(density * (255 / DENSITY_RANGE)), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(pixels, table.reshape(1, 256, 3)).max(axis=2), np.uint8)


def glass_level(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(3,) grey level of empty glass: the commonest bright one of each channel; 245 where too little is bright."""
    bright = pixels[pixels.min(axis=-1) > GLASS_LEVEL]
    if len(bright) < 0.01 * pixels.size / 3:
        return np.full(3, 245.0)
    return np.array([np.bincount(bright[:, channel], minlength=256).argmax() for channel in range(3)], float)


def _stained(pixels: NDArray[np.uint8], black: Mask) -> Mask:
    smooth = np.asarray(cv2.GaussianBlur(pixels, (3, 3), 0), np.uint8)
    density = optical_density(smooth, np.maximum(glass_level(smooth), 200.0))
    threshold = _otsu(density[~black])
    chroma = smooth.max(axis=2) - smooth.min(axis=2)
    grey = (chroma < GREY_CHROMA) & (density < GREY_DENSITY * (255 / DENSITY_RANGE))
    return (density > threshold) & ~grey


def _otsu(density: NDArray[np.uint8]) -> float:
    """Otsu's threshold on densities, kept between the palest tissue and the densest glass (Otsu 1979)."""
    scale = 255 / DENSITY_RANGE
    if density.size == 0:
        return DENSITY_FLOOR * scale
    found, _ = cv2.threshold(density.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return min(max(found, DENSITY_FLOOR * scale), DENSITY_CEILING * scale)


def _padding(black: Mask, mpp: float) -> Mask:
    """Black that reaches the picture's edge: padding and scanner borders, with the blur along them."""
    count, labels = cv2.connectedComponents(black.astype(np.uint8), connectivity=8)
    if count == 1:
        return np.zeros_like(black)
    edges = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    touching = np.zeros(count, bool)
    touching[edges] = True
    touching[0] = False
    return _grow(touching[labels], 16.0 / mpp)


def _grow(mask: Mask, radius_px: float) -> Mask:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), disc(radius_px)), bool)


def disc(radius_px: float) -> NDArray[np.uint8]:
    """A round structuring element, one pixel at least."""
    edge = 2 * max(0, round(radius_px)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (edge, edge)), np.uint8)


def _tidy(stained: Mask, mpp: float, config: TissueConfig) -> Mask:
    """Close gaps, drop specks, fill holes."""
    radius = max(1, round(CLOSE_UM / mpp))
    # A border keeps closing from eating tissue at the picture's edge.
    framed = cv2.copyMakeBorder(stained.astype(np.uint8), radius, radius, radius, radius, cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(framed, cv2.MORPH_CLOSE, disc(radius))[radius:-radius, radius:-radius]
    kept = drop_small(closed.astype(bool), config.min_area_um2 / mpp**2)
    return ~drop_small(~kept, config.max_hole_um2 / mpp**2, connectivity=4)


def drop_small(mask: Mask, min_px: float, connectivity: int = 8) -> Mask:
    """A mask without its connected parts of fewer than `min_px` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=connectivity)
    large = stats[:, cv2.CC_STAT_AREA] >= min_px
    large[0] = False
    return np.asarray(large[labels], bool)
