"""Tell tissue from glass on a thumbnail of a brightfield slide (H&E, IHC)."""

import cv2
import numpy as np
from numpy.typing import NDArray

from embedstore.config import TissueConfig
from embedstore.errors import TissueError
from embedstore.slides.slide import Slide
from embedstore.slides.tissue.background import (
    PER_DENSITY,
    chroma,
    find_glass,
    glass_level,
    local_range,
    optical_density,
)
from embedstore.slides.tissue.mask import TissueMask, whole_slide
from embedstore.slides.tissue.mask_geojson import read_mask
from embedstore.slides.tissue.pen import find_pen, is_stain
from embedstore.slides.tissue.thumbnail import Thumbnail, read_thumbnail

Mask = NDArray[np.bool_]

# Darkfield: most of the picture is dark and next to nothing is as bright and colourless as glass.
DARK_LEVEL, DARK_SHARE = 70, 0.5
GLASS_LEVEL, GLASS_SHARE = 180, 0.02
BLACK_LEVEL = 45  # padding and the borders of the scanner's mask lie below, stained tissue at 8 µm/px above
# Optical density of the most absorbed channel. Glass with its dust and JPEG noise stays below 0.03; coloured tissue
# begins near 0.05. Otsu's threshold may rise above it only as far as glass itself is uneven: between eosin and nuclei,
# or between DAB and a pale counterstain, it would come to lie at 0.1 to 0.3 and lose the paler tissue.
DENSITY_FLOOR, DENSITY_CEILING = 0.05, 0.09
# Grey (dust, bubbles, edges of the cover glass) is no tissue unless dense: pigment and crush artefacts are.
GREY_CHROMA, GREY_DENSITY = 8, 0.35
# Pale tissue without colour (stroma under a faint counterstain: density 0.03 to 0.1, chroma 5 to 8) is told from haze,
# smudges and dust by its texture: grey levels vary by 9 to 30 over 40 µm, by 0 to 4 on glass. The rims of bubbles and
# of the cover glass and lint vary as much, but in bands narrower than 160 µm. At 0.025 a quarter of fat would come in.
PALE_DENSITY = 0.03
TEXTURE_UM, ROUGH_UM = 40.0, 160.0
ROUGH_RANGE = 6  # grey levels
ROUGH_PER_GLASS = 3.0  # times the glass's own range, where that is noisy
PEN_WARNING = "pen marks"
CLOSE_UM = 16.0  # gaps between fibres
# What follows holds about 20 bytes a pixel, and a reader should take as much memory for a large slide as for a small
# one: 20 MB beside the 90 of its libraries. 8×8 mm have so many pixels at 8 µm/px; larger slides are looked at more
# coarsely, one of 25×20 mm at 22 µm/px, a sixth of a usual tile.
TISSUE_PIXELS = 1_000_000


def slide_tissue(slide: Slide, mask_path: str | None, config: TissueConfig, mpp: float) -> TissueMask:
    """Tissue of a slide: from the mask given, or all of it, or found; errors as in `plan_slide`."""
    if mask_path is not None:
        return read_mask(mask_path, bounds_l0=slide.bounds_l0, mpp_l0=mpp, mpp=config.mpp)
    if config.method == "all":
        return whole_slide(slide.bounds_l0, mpp)
    return find_tissue(slide, config, mpp_l0=mpp)


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
    thumbnail = read_thumbnail(slide, mpp_l0=mpp_l0, mpp=config.mpp, max_pixels=TISSUE_PIXELS)
    return tissue_of(thumbnail, config, slide_name=slide.path)


def tissue_of(thumbnail: Thumbnail, config: TissueConfig, *, slide_name: str) -> TissueMask:
    """Find tissue on a thumbnail; arguments and errors as in `find_tissue`."""
    pixels, mpp, warnings = thumbnail.pixels, thumbnail.mpp, list(thumbnail.warnings)
    refuse_darkfield(pixels[~thumbnail.unread], slide_name)
    black = pixels.max(axis=2) < BLACK_LEVEL
    stained = _stained(pixels, black, mpp)
    if config.exclude_pen:
        pen = find_pen(pixels, mpp)
        if is_stain(pen, pixels, stained):
            warnings.append("its stain has the colours of ink: pen marks are not told from tissue, none is left out")
            pen[:] = False
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


def _stained(pixels: NDArray[np.uint8], black: Mask, mpp: float) -> Mask:
    smooth = np.asarray(cv2.GaussianBlur(pixels, (3, 3), 0), np.uint8)
    width_px = max(5, 2 * round(TEXTURE_UM / mpp / 2) + 1)  # 3 px would miss the texture that is left at 16 µm/px
    variation = local_range(smooth, width_px)
    glass = find_glass(smooth, variation)
    level = np.maximum(glass_level(smooth, glass), 200.0)
    density = optical_density(smooth, level)
    coloured = chroma(smooth, level) >= GREY_CHROMA
    coloured |= density >= GREY_DENSITY * PER_DENSITY
    found = coloured & (density > _threshold(density, glass, black))
    return found | ((density > PALE_DENSITY * PER_DENSITY) & _rough(variation, glass, mpp, width_px))


def _threshold(density: NDArray[np.uint8], glass: Mask, black: Mask) -> float:
    """Otsu's threshold on densities (Otsu 1979), kept between the palest coloured tissue and the densest glass."""
    if black.all():
        return DENSITY_FLOOR * PER_DENSITY
    found, _ = cv2.threshold(density[~black].reshape(-1, 1), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    densest = 2 * float(np.quantile(density[glass], 0.95)) if glass.any() else 0.0
    low, high = DENSITY_FLOOR * PER_DENSITY, DENSITY_CEILING * PER_DENSITY
    return min(max(found, low), min(max(densest, low), high))


def _rough(variation: NDArray[np.uint8], glass: Mask, mpp: float, width_px: int) -> Mask:
    """Where grey levels vary more than on glass, without bands as narrow as a line makes."""
    noise = float(np.median(variation[glass])) if glass.any() else 0.0
    least = max(ROUGH_RANGE, round(ROUGH_PER_GLASS * noise))
    # The mean over a wider window fills gaps; capped at twice the threshold it leaves the borders of bands in place.
    wide_px = 2 * width_px - 1
    rough = (cv2.blur(np.minimum(variation, 2 * least), (wide_px, wide_px)) > least).astype(np.uint8)
    # Opened by distances, whose cost does not grow with the disc: that is 161 px wide at 1 µm/px.
    radius = max(ROUGH_UM / mpp / 2, width_px)
    far_inside = cv2.distanceTransform(rough, cv2.DIST_L2, 5) > radius
    if not far_inside.any():
        return far_inside
    return np.asarray(cv2.distanceTransform((~far_inside).astype(np.uint8), cv2.DIST_L2, 5) <= radius, bool)


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
