"""Conversion of coordinates from the frame of a program to level-0 pixels, on slides of a store."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from embedstore.annotations import Origin, SlideFrame
from embedstore.errors import LabelError
from embedstore.store import SlideRow


def slide_frame(slide: SlideRow, *, stated: bool = False) -> SlideFrame:
    """Where a slide of a store lies in files about it; `stated`: the file itself says where it begins."""
    x, y = slide.corner_l0
    width, height = slide.width_l0 or 0, slide.height_l0 or 0
    image = slide.bounds_width or max(width - x, 0), slide.bounds_height or max(height - y, 0)
    return SlideFrame(size_l0=(width, height), image_l0=(x, y, *image), option=None if stated else "--origin")


def corner_l0(slide: SlideRow, origin: Origin) -> tuple[int, int]:
    """Where (0, 0) of a file about a slide lies, level-0 pixels: see `SlideFrame.corner_l0`."""
    return slide_frame(slide).corner_l0(origin)


def level_0(
    shapes: Sequence[shapely.Geometry], slide: SlideRow, *, origin: Origin, where: str | Path, stated: bool = False
) -> NDArray[np.object_]:
    """Shift shapes from the frame of a file to level-0 pixels.

    Args:
        shapes: Shapes in the frame of the file.
        slide: The slide's row in the ledger.
        origin: Where the file's coordinates begin.
        where: The file, for errors.
        stated: The file itself says where its coordinates begin.
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
    frame = slide_frame(slide, stated=stated)
    shifted = frame.level_0(shapes, origin)
    off = frame.off_the_slide(shifted)
    if off.any():
        raise LabelError(
            f"{where}: {int(off.sum())} of {len(shifted)} annotations lie outside slide {slide.slide_id!r}: "
            f"{frame.describe(shapes, off, origin)}; --slide says which slide a file is of"
        )
    return shifted
