"""The size of a slide's pixels, and the level to read for a target resolution."""

from collections.abc import Sequence

from embedstore.errors import ResolutionError
from embedstore.slides.slide import Slide

# Objectives resolve 0.2 µm at best, so nobody scans finer than a quarter of that. From 5 µm/px on a nucleus is one or
# two pixels, which is an overview and not a slide. Values outside are placeholders (72 dpi, a converter's default).
PLAUSIBLE_MPP = (0.05, 5.0)
USER_TOLERANCE = 0.10  # where the user's mpp differs from the file's by more, one of the two is wrong
# Scanners of one nominal magnification differ by up to 9 % (20x: 0.46 to 0.504 µm/px), so extractors trained on several
# of them have seen tiles enlarged by that much.
COARSER_TOLERANCE = 0.10
LEVEL_TOLERANCE = 0.01  # rounded level sizes change downsamples by less than this (2.0005 for 2)
ANISOTROPY_TOLERANCE = 0.02


def resolve_mpp(slide: Slide, slide_id: str, given: float | None) -> tuple[float, list[str]]:
    """Level-0 resolution of a slide, µm/px, and warnings about it.

    Args:
        slide: The slide.
        slide_id: Its name in errors.
        given: Resolution given by the user, which takes precedence over the file's.
    Raises:
        ResolutionError: neither the user nor the file states it.
    """
    warnings, stated = [], slide.mpp
    low, high = PLAUSIBLE_MPP
    if stated is not None and not low <= stated <= high:
        warnings.append(f"implausible mpp {stated:.5g} in the file (expected {low} to {high} µm/px): a placeholder?")
    if given is not None:
        if not 0 < given < float("inf"):
            raise ResolutionError(f"slide {slide_id!r}: mpp {given} was given; expected a positive number of µm/px")
        if stated is not None and abs(given - stated) > USER_TOLERANCE * stated:
            warnings.append(f"mpp {given:.5g} as given; the file says {stated:.5g}")
        return given, warnings
    if slide.mpp_xy is None or stated is None:
        raise ResolutionError(
            f"slide {slide_id!r} has no resolution; expected openslide.mpp-x and openslide.mpp-y, found neither; "
            "pass --mpp 0.25 if you know it, or give a column mpp in the slide list"
        )
    x, y = slide.mpp_xy
    if abs(x - y) > ANISOTROPY_TOLERANCE * stated:
        warnings.append(f"pixels are not square: mpp {x:.5g} along x, {y:.5g} along y; their mean {stated:.5g} is used")
    return stated, warnings


def check_fine_enough(mpp: float, target_mpp: float, slide_id: str) -> None:
    """Raise a ResolutionError where level 0 is coarser than the target resolution by more than 10 %."""
    if mpp > target_mpp * (1 + COARSER_TOLERANCE):
        hint = (
            f"{mpp:.5g} lies outside of {PLAUSIBLE_MPP[0]} to {PLAUSIBLE_MPP[1]} and may be a placeholder: pass --mpp, "
            "or give a column mpp in the slide list, if you know better"
            if not PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1]
            else f"leave it out, or ask for tiles at {mpp:.3g} µm/px or coarser"
        )
        raise ResolutionError(
            f"slide {slide_id!r} has {mpp:.5g} µm/px at level 0, coarser than the requested {target_mpp:.5g}; {hint}"
        )


def best_level(downsamples: Sequence[float], *, mpp: float, target_mpp: float) -> int:
    """The coarsest level that is no coarser than the target resolution; level 0 where there is none."""
    fine = [i for i, d in enumerate(downsamples) if d * mpp <= target_mpp * (1 + LEVEL_TOLERANCE)]
    return max(fine, key=lambda i: downsamples[i]) if fine else 0
