"""Conversion of coordinates from the frame of a program to level-0 pixels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from embedstore.errors import LabelError
from embedstore.labels.files.annotations import Origin
from embedstore.store import SlideRow


def corner_l0(slide: SlideRow, origin: Origin) -> tuple[int, int]:
    """Where (0, 0) of a file lies, level-0 pixels.

    `bounds`: the corner of the part of the slide that holds an image according to OpenSlide (`openslide.bounds-x` and
    `-y`), as in QuPath. `level0`: the corner of level 0, as in ASAP and OpenSlide.

    Args:
        slide: The slide's row in the ledger.
    """
    if origin == "level0":
        return 0, 0
    return slide.corner_l0


def level_0(
    shapes: Sequence[shapely.Geometry], slide: SlideRow, *, origin: Origin, where: str | Path
) -> NDArray[np.object_]:
    """Shift shapes from the frame of a file to level-0 pixels.

    Args:
        shapes: Shapes in the frame of the file.
        slide: The slide's row in the ledger.
        origin: Where the file's coordinates begin.
        where: The file, for errors.
    Returns:
        The same shapes, shifted.
    Raises:
        LabelError: a shape lies wholly outside the slide, or the slide is a folder of ready-made tiles.
    """
    if slide.is_ready_made and shapes:
        raise LabelError(
            f"{where}: slide {slide.slide_id!r} is a folder of ready-made tiles, which have no place; "
            "label them by a table with the columns slide_id, name and label"
        )
    original = np.array(shapes, object)
    shifted = _shift(original, corner_l0(slide, origin))
    if not len(original) or not slide.width_l0 or not slide.height_l0:
        return shifted
    size = slide.width_l0, slide.height_l0
    outside = ~_meets(shifted, size)
    if outside.any():
        raise LabelError(_outside_message(original, shifted, outside, slide, size, origin, where))
    return shifted


def _shift(shapes: NDArray[np.object_], corner: tuple[int, int]) -> NDArray[np.object_]:
    if corner == (0, 0) or not len(shapes):
        return shapes
    return shapely.transform(shapes, lambda xy: xy + np.asarray(corner))


def _meets(shapes: NDArray[np.object_], size: tuple[int, int]) -> NDArray[np.bool_]:
    left, top, right, bottom = shapely.bounds(shapes).T
    return (left < size[0]) & (top < size[1]) & (right >= 0) & (bottom >= 0)


def _outside_message(
    original: NDArray[np.object_],
    shifted: NDArray[np.object_],
    outside: NDArray[np.bool_],
    slide: SlideRow,
    size: tuple[int, int],
    origin: Origin,
    where: str | Path,
) -> str:
    left, top, right, bottom = shapely.total_bounds(shifted[outside])
    width, height = size
    x, y = corner_l0(slide, origin)
    other: Origin = "level0" if origin == "bounds" else "bounds"
    fits = _meets(_shift(original, corner_l0(slide, other)), (width, height)).all()
    hint = (
        f"with --origin {other} all would lie on it"
        if fits
        else "is this the file of another slide? --slide says which it is of"
    )
    return (
        f"{where}: {int(outside.sum())} of {len(shifted)} annotations lie outside slide {slide.slide_id!r}: they "
        f"span x {left:.0f} to {right:.0f}, y {top:.0f} to {bottom:.0f}, the slide x 0 to {width}, y 0 to {height} "
        f"(level-0 pixels, with --origin {origin}: coordinates begin at {x}, {y}); {hint}"
    )
