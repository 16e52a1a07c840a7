"""Find tissue on a thumbnail of a brightfield slide (H&E, IHC)."""

import cv2
import numpy as np
from numpy.typing import NDArray

from embedstore.config import TissueConfig
from embedstore.errors import TissueError
from embedstore.quantities import rounded
from embedstore.slides.remote import local_copy
from embedstore.slides.slide import Slide
from embedstore.slides.tissue.background import (
    PER_DENSITY,
    USUAL_LEVEL,
    Mask,
    background_level,
    brightest,
    chroma,
    darkest,
    find_background,
    local_range,
    optical_density,
)
from embedstore.slides.tissue.mask import TissueMask, whole_slide
from embedstore.slides.tissue.mask_geojson import read_mask
from embedstore.slides.tissue.pen import disc, find_pen, grow, is_stain
from embedstore.slides.tissue.thumbnail import Thumbnail, read_thumbnail

# Darkfield: most of the picture is dark, and almost nothing is as bright and colourless as glass.
DARK_LEVEL, DARK_SHARE = 70, 0.5
GLASS_LEVEL, GLASS_SHARE = 180, 0.02
BLACK_LEVEL = 45  # padding and the borders of the scanner's mask lie below, stained tissue at 8 µm/px above
# Padding is written as 0, and is 0 to 3 after compression; ink lets some light pass. A scanner's border is less black,
# and runs along a whole side.
PADDING_LEVEL, FULL_SIDE, PADDING_BLUR_UM = 12, 0.95, 16.0
# Optical density of the most absorbed channel. Background with dust and JPEG noise stays below 0.03; coloured tissue
# begins near 0.05. Otsu's threshold may rise above that only as far as the background is uneven: between eosin and
# nuclei, or between DAB and a pale counterstain, it would lie at 0.1 to 0.3 and lose the paler tissue.
DENSITY_FLOOR, DENSITY_CEILING = 0.05, 0.09
# Grey (dust, bubbles, edges of the cover glass) is tissue only where it is dense: pigment and crush artefacts are.
GREY_CHROMA, GREY_DENSITY = 8, 0.35
# Pale tissue without colour (stroma under a faint counterstain: density 0.03 to 0.1, chroma 5 to 8) differs from haze,
# smudges and dust by its texture: grey levels vary by 9 to 30 over 40 µm, by 0 to 4 on the background. The rims of
# bubbles and of the cover glass, and lint, vary as much, but in bands narrower than 160 µm. At a density of 0.025 a
# quarter of fat would be included.
PALE_DENSITY = 0.03
TEXTURE_UM, ROUGH_UM = 40.0, 160.0
ROUGH_RANGE = 6  # grey levels
ROUGH_PER_BACKGROUND = 3.0  # times the range of the background, where that is noisy
PEN_WARNING = "pen marks"
CLOSE_UM = 16.0  # gaps between fibres
# Detection holds about 20 bytes a pixel, and a reader should take no more memory for a large slide than for a small
# one: 20 MB beside the 90 of its libraries. 8×8 mm have so many pixels at 8 µm/px. Larger slides get a coarser
# thumbnail: 25×20 mm are seen at 22 µm/px, a sixth of a usual tile.
TISSUE_PIXELS = 1_000_000


def slide_tissue(slide: Slide, mask_path: str | None, config: TissueConfig, mpp: float) -> TissueMask:
    """The tissue of a slide: from a mask, by detection, or all of it.

    Args:
        slide: The slide.
        mask_path: A mask (GeoJSON or XML of ASAP) that replaces detection, or None.
        config: How tissue is found.
        mpp: The slide's level-0 resolution, µm/px.
    Raises:
        TissueError: the mask is malformed, or the slide is darkfield or fluorescence.
        RegionReadError: no part of the slide can be read.
    """
    if mask_path is not None:
        with local_copy(mask_path) as mask:
            return read_mask(
                mask.path, bounds_l0=slide.bounds_l0, mpp_l0=mpp, mpp=config.mpp, origin=config.mask_origin
            )
    if config.method == "all":
        return whole_slide(slide.bounds_l0, mpp)
    return find_tissue(slide, config, mpp_l0=mpp)


def find_tissue(slide: Slide, config: TissueConfig, *, mpp_l0: float) -> TissueMask:
    """Find tissue on a slide.

    Args:
        slide: The slide.
        config: Resolution of the thumbnail, smallest pieces and holes, and whether pen marks are left out.
        mpp_l0: The slide's level-0 resolution, µm/px.
    Raises:
        TissueError: the slide is darkfield or fluorescence.
        RegionReadError: no part of it can be read.
    """
    thumbnail = read_thumbnail(slide, mpp_l0=mpp_l0, mpp=config.mpp, max_pixels=TISSUE_PIXELS)
    return tissue_of(thumbnail, config, slide_name=slide.path)


def tissue_of(thumbnail: Thumbnail, config: TissueConfig, *, slide_name: str) -> TissueMask:
    """Find tissue on a thumbnail; arguments and errors as in `find_tissue`."""
    pixels, mpp, warnings = thumbnail.pixels, thumbnail.mpp, list(thumbnail.warnings)
    refuse_darkfield(pixels[~thumbnail.unread][None], slide_name)
    black = brightest(pixels) < BLACK_LEVEL
    stained = _stained(pixels, black, mpp)
    padding = _padding(pixels, black, mpp)
    if config.exclude_pen:
        pen = find_pen(np.where(padding[..., None], np.uint8(USUAL_LEVEL), pixels), mpp)
        if is_stain(pen, pixels, stained):
            warnings.append(
                "its stain has the colours of ink: pen marks cannot be told from tissue, so none is left out"
            )
            pen[:] = False
        if pen.any():
            stained &= ~pen
            warnings.append(f"{PEN_WARNING} of {rounded(pen.sum() * (mpp / 1000) ** 2, 2)} mm² left out")
    stained &= ~_reach_the_edge(black, mpp)
    stained |= thumbnail.unread
    mask = _tidy(stained, mpp, config)
    if config.exclude_pen and pen.any():
        mask &= ~pen  # closing may have grown into it
    return TissueMask(mask=mask, origin_l0=thumbnail.origin_l0, scale_l0=thumbnail.scale_l0, mpp=mpp, warnings=warnings)


def refuse_darkfield(pixels: NDArray[np.uint8], slide_name: str) -> None:
    """Raise a TissueError where pixels, (rows, cols, 3), show bright objects on a dark background."""
    if pixels.size == 0:
        return
    dark = float((brightest(pixels) < DARK_LEVEL).mean())
    glass = float((darkest(pixels) > GLASS_LEVEL).mean())
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
    background = find_background(smooth, variation)
    level = np.maximum(background_level(smooth, background), 200.0)
    density = optical_density(smooth, level)
    coloured = chroma(smooth, level) >= GREY_CHROMA
    coloured |= density >= GREY_DENSITY * PER_DENSITY
    stained = coloured & (density > _threshold(density, background, black))
    return stained | ((density > PALE_DENSITY * PER_DENSITY) & _rough(variation, background, mpp, width_px))


def _threshold(density: NDArray[np.uint8], background: Mask, black: Mask) -> float:
    """Otsu's threshold on densities (Otsu 1979), kept between the palest coloured tissue and the densest background."""
    if black.all():
        return DENSITY_FLOOR * PER_DENSITY
    otsu, _ = cv2.threshold(density[~black].reshape(-1, 1), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    densest = 2 * float(np.quantile(density[background], 0.95)) if background.any() else 0.0
    low, high = DENSITY_FLOOR * PER_DENSITY, DENSITY_CEILING * PER_DENSITY
    return min(max(otsu, low), min(max(densest, low), high))


def _rough(variation: NDArray[np.uint8], background: Mask, mpp: float, width_px: int) -> Mask:
    """Where grey levels vary more than on the background, without narrow bands such as lines make."""
    noise = float(np.median(variation[background])) if background.any() else 0.0
    least = max(ROUGH_RANGE, round(ROUGH_PER_BACKGROUND * noise))
    # The mean over a wider window fills gaps; capped at twice the threshold, it does not move the borders of bands.
    wide_px = 2 * width_px - 1
    rough = (cv2.blur(np.minimum(variation, 2 * least), (wide_px, wide_px)) > least).astype(np.uint8)
    # Morphological opening by distances: the cost does not grow with the disc, which is 161 px wide at 1 µm/px.
    radius = max(ROUGH_UM / mpp / 2, width_px)
    far_inside = cv2.distanceTransform(rough, cv2.DIST_L2, 5) > radius
    if not far_inside.any():
        return far_inside
    return np.asarray(cv2.distanceTransform((~far_inside).astype(np.uint8), cv2.DIST_L2, 5) <= radius, bool)


def _padding(pixels: NDArray[np.uint8], black: Mask, mpp: float) -> Mask:
    """Black that no pen makes: it reaches the edge of the picture and is all but flat, or takes up a whole side."""
    flat = black & (brightest(pixels) <= PADDING_LEVEL)
    sides = np.zeros_like(black)
    for side, rim in ((sides, black), (sides.T, black.T)):
        full = rim.mean(axis=1) >= FULL_SIDE
        side[: _leading(full)] = True
        side[len(full) - _leading(full[::-1]) :] = True
    return _reach_the_edge(flat, mpp) | grow(sides & black, PADDING_BLUR_UM / mpp)


def _leading(full: NDArray[np.bool_]) -> int:
    """How many of the first values are true."""
    return int(len(full) if full.all() else full.argmin())


def _reach_the_edge(black: Mask, mpp: float) -> Mask:
    """Black areas that reach the edge of the picture, padding and scanner borders, with the blur along them."""
    count, labels = cv2.connectedComponents(black.astype(np.uint8), connectivity=8)
    if count == 1:
        return np.zeros_like(black)
    edges = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    touching = np.zeros(count, bool)
    touching[edges] = True
    touching[0] = False
    return grow(touching[labels], PADDING_BLUR_UM / mpp)


def _tidy(stained: Mask, mpp: float, config: TissueConfig) -> Mask:
    """Close gaps, drop specks, fill holes."""
    radius = max(1, round(CLOSE_UM / mpp))
    # Without a border, closing would remove tissue at the edge of the picture.
    framed = cv2.copyMakeBorder(stained.astype(np.uint8), radius, radius, radius, radius, cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(framed, cv2.MORPH_CLOSE, disc(radius))[radius:-radius, radius:-radius]
    kept = drop_small(closed.astype(bool), config.min_area_um2 / mpp**2)
    return ~drop_small(~kept, config.max_hole_um2 / mpp**2, connectivity=4)


def drop_small(mask: Mask, min_px: float, connectivity: int = 8) -> Mask:
    """A mask without connected parts of fewer than `min_px` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=connectivity)
    large = stats[:, cv2.CC_STAT_AREA] >= min_px
    large[0] = False
    return np.asarray(large[labels], bool)
