"""The frames in which programs count pixels, and the way into level 0."""

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

    QuPath shows the part of a slide that OpenSlide says holds an image (`openslide.bounds-x` and `-y`) and counts from
    its corner: `bounds`. ASAP and OpenSlide itself count from the corner of level 0: `level0`.

    Args:
        slide: The slide's row in the ledger.
    """
    if origin == "level0":
        return 0, 0
    return slide.corner_l0


def level_0(
    shapes: Sequence[shapely.Geometry], slide: SlideRow, *, origin: Origin, where: str | Path
) -> NDArray[np.object_]:
    """Bring shapes of a file into level-0 pixels.

    Args:
        shapes: In the file's own frame.
        slide: The slide's row in the ledger.
        origin: Where the file's coordinates begin.
        where: The file, for the message.
    Returns:
        The same shapes, moved.
    Raises:
        LabelError: a shape lies wholly outside of the slide, or the slide is a folder of ready-made tiles.
    """
    if slide.is_ready_made and shapes:
        raise LabelError(
            f"{where}: slide {slide.slide_id!r} is a folder of ready-made tiles, which have no place; "
            "label them by a table with the columns slide_id, name and label"
        )
    drawn = np.array(shapes, object)
    moved = _move(drawn, corner_l0(slide, origin))
    if not len(drawn) or not slide.width_l0 or not slide.height_l0:
        return moved
    size = slide.width_l0, slide.height_l0
    outside = ~_meets(moved, size)
    if outside.any():
        raise LabelError(_where_they_are(drawn, moved, outside, slide, size, origin, where))
    return moved


def _move(shapes: NDArray[np.object_], corner: tuple[int, int]) -> NDArray[np.object_]:
    if corner == (0, 0) or not len(shapes):
        return shapes
    return shapely.transform(shapes, lambda xy: xy + np.asarray(corner))


def _meets(shapes: NDArray[np.object_], size: tuple[int, int]) -> NDArray[np.bool_]:
    left, top, right, bottom = shapely.bounds(shapes).T
    return (left < size[0]) & (top < size[1]) & (right >= 0) & (bottom >= 0)


def _where_they_are(
    drawn: NDArray[np.object_],
    moved: NDArray[np.object_],
    outside: NDArray[np.bool_],
    slide: SlideRow,
    size: tuple[int, int],
    origin: Origin,
    where: str | Path,
) -> str:
    left, top, right, bottom = shapely.total_bounds(moved[outside])
    width, height = size
    x, y = corner_l0(slide, origin)
    other: Origin = "level0" if origin == "bounds" else "bounds"
    fits = _meets(_move(drawn, corner_l0(slide, other)), (width, height)).all()
    hint = (
        f"with --origin {other} all would lie on it"
        if fits
        else "is this the file of another slide? --slide says which it is of"
    )
    return (
        f"{where}: {int(outside.sum())} of {len(moved)} annotations lie outside of slide {slide.slide_id!r}: they "
        f"span x {left:.0f} to {right:.0f}, y {top:.0f} to {bottom:.0f}, the slide x 0 to {width}, y 0 to {height} "
        f"(level-0 pixels, with --origin {origin}: coordinates begin at {x}, {y}); {hint}"
    )
