"""How large a pixel of a slide is, and which level serves an asked resolution."""

from collections.abc import Sequence

from embedstore.errors import ResolutionError
from embedstore.slides.slide import Slide

# Objectives resolve 0.2 µm at best, so nobody scans finer than a quarter of that; from 5 µm/px on a nucleus is one or
# two pixels, which is an overview and no slide. What lies outside is a placeholder (72 dpi, a converter's default).
PLAUSIBLE_MPP = (0.05, 5.0)
USER_TOLERANCE = 0.10  # the user's mpp against the file's: beyond, one of the two is wrong
# Scanners of one nominal magnification differ by up to 9 % (20x: 0.46 to 0.504 µm/px): enlarging by so little is what
# an extractor trained on several of them has seen.
COARSER_TOLERANCE = 0.10
LEVEL_TOLERANCE = 0.01  # downsamples are off by this much through the rounding of level sizes (2.0005 for 2)
ANISOTROPY_TOLERANCE = 0.02


def resolve_mpp(slide: Slide, slide_id: str, given: float | None) -> tuple[float, list[str]]:
    """Level-0 resolution of a slide, µm/px, and what a user should know about it. What the user gave wins.

    Raises:
        ResolutionError: neither the user nor the file says.
    """
    warnings, said = [], slide.mpp
    low, high = PLAUSIBLE_MPP
    if said is not None and not low <= said <= high:
        warnings.append(f"implausible mpp {said:.5g} in the file (expected {low} to {high} µm/px): a placeholder?")
    if given is not None:
        if not 0 < given < float("inf"):
            raise ResolutionError(f"slide {slide_id!r}: mpp {given} was given; expected a positive number of µm/px")
        if said is not None and abs(given - said) > USER_TOLERANCE * said:
            warnings.append(f"mpp {given:.5g} as given; the file says {said:.5g}")
        return given, warnings
    if slide.mpp_xy is None or said is None:
        raise ResolutionError(
            f"slide {slide_id!r} has no resolution; expected openslide.mpp-x and openslide.mpp-y, found neither; "
            "pass --mpp 0.25 if you know it, or give a column mpp in the slide list"
        )
    x, y = slide.mpp_xy
    if abs(x - y) > ANISOTROPY_TOLERANCE * said:
        warnings.append(f"pixels are not square: mpp {x:.5g} along x, {y:.5g} along y; their mean {said:.5g} is used")
    return said, warnings


def check_fine_enough(mpp: float, asked_mpp: float, slide_id: str) -> None:
    """Raise a ResolutionError where level 0 is coarser than the asked resolution by more than 10 %."""
    if mpp > asked_mpp * (1 + COARSER_TOLERANCE):
        hint = (
            f"{mpp:.5g} lies outside of {PLAUSIBLE_MPP[0]} to {PLAUSIBLE_MPP[1]} and may be a placeholder: pass --mpp, "
            "or give a column mpp in the slide list, if you know better"
            if not PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1]
            else f"leave it out, or ask for tiles at {mpp:.3g} µm/px or coarser"
        )
        raise ResolutionError(
            f"slide {slide_id!r} has {mpp:.5g} µm/px at level 0, coarser than the asked {asked_mpp:.5g}; {hint}"
        )


def best_level(downsamples: Sequence[float], *, mpp: float, asked_mpp: float) -> int:
    """The coarsest level that is no coarser than the asked resolution; level 0 where none is."""
    fine = [i for i, d in enumerate(downsamples) if d * mpp <= asked_mpp * (1 + LEVEL_TOLERANCE)]
    return max(fine, key=lambda i: downsamples[i]) if fine else 0
