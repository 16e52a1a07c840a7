"""Where a slide lies in the coordinates of a file of annotations."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from embedstore.annotations.annotation import Origin

# An outline drawn by hand may cross the edge of the image a little; level-0 pixels.
OVER_THE_EDGE_PX = 64


@dataclass(frozen=True, kw_only=True)
class SlideFrame:
    """A slide's image on its level 0, and where files about it begin to count.

    Attributes:
        image_l0: (x, y, width, height) of the part that holds an image, level-0 pixels; width and height are 0 where
            they are not known.
        size_l0: (width, height) of level 0, pixels; 0 where it is not known.
        option: The option that sets the origin, for messages; None where the file states it.
    """

    image_l0: tuple[int, int, int, int]
    size_l0: tuple[int, int] = (0, 0)
    option: str | None = "--origin"

    def corner_l0(self, origin: Origin) -> tuple[int, int]:
        """Where (0, 0) of a file lies, level-0 pixels.

        `bounds`: the corner of the part of the slide that holds an image according to OpenSlide (`openslide.bounds-x`
        and `-y`), as in QuPath. `level0`: the corner of level 0, as in ASAP and OpenSlide.
        """
        return (0, 0) if origin == "level0" else self.image_l0[:2]

    def level_0(self, shapes: Sequence[shapely.Geometry], origin: Origin) -> NDArray[np.object_]:
        """Shapes of a file, shifted to level-0 pixels."""
        array = np.array(shapes, object)
        corner = self.corner_l0(origin)
        if corner == (0, 0) or not len(array):
            return array
        return shapely.transform(array, lambda xy: xy + np.asarray(corner))

    def off_the_slide(self, shapes_l0: NDArray[np.object_]) -> NDArray[np.bool_]:
        """Which shapes, in level-0 pixels, lie wholly outside of level 0; none where its size is not known."""
        if not all(self.size_l0) or not len(shapes_l0):
            return np.zeros(len(shapes_l0), bool)
        left, top, right, bottom = shapely.bounds(shapes_l0).T
        return (left >= self.size_l0[0]) | (top >= self.size_l0[1]) | (right < 0) | (bottom < 0)

    def over_the_edge(self, shapes_l0: NDArray[np.object_]) -> NDArray[np.bool_]:
        """Which shapes, in level-0 pixels, lie partly or wholly outside of the image; none where it is not known."""
        x, y, width, height = self.image_l0
        if not (width and height) or not len(shapes_l0):
            return np.zeros(len(shapes_l0), bool)
        left, top, right, bottom = shapely.bounds(shapes_l0).T
        over = OVER_THE_EDGE_PX
        return (left < x - over) | (top < y - over) | (right > x + width + over) | (bottom > y + height + over)

    def note(self, shapes: Sequence[shapely.Geometry], origin: Origin, file: Path) -> str | None:
        """What to tell the user of a file's shapes that lie partly outside of the image; None where all lie on it."""
        outside = self.over_the_edge(self.level_0(shapes, origin))
        if not outside.any():
            return None
        return (
            f"{file.name}: {int(outside.sum())} of {len(shapes)} annotations lie partly outside of the slide's image: "
            f"{self.describe(shapes, outside, origin)}"
        )

    def describe(self, shapes: Sequence[shapely.Geometry], outside: NDArray[np.bool_], origin: Origin) -> str:
        """The box of the shapes of a file that lie outside, that of the image, and which origin would fit."""
        left, top, right, bottom = shapely.total_bounds(self.level_0(shapes, origin)[outside])
        x, y, width, height = self.image_l0
        other: Origin = "level0" if origin == "bounds" else "bounds"
        hint = "it may be the file of another slide"
        if not self.over_the_edge(self.level_0(shapes, other)).any():
            hint = f"{self._named(other)} all would lie on it"
        corner = self.corner_l0(origin)
        return (
            f"they span x {left:.0f} to {right:.0f}, y {top:.0f} to {bottom:.0f}, the image x {x} to {x + width}, "
            f"y {y} to {y + height} (level-0 pixels, {self._named(origin)}: coordinates begin at {corner[0]}, "
            f"{corner[1]}); {hint}"
        )

    def _named(self, origin: Origin) -> str:
        return f"with {self.option} {origin}" if self.option else f"with the origin {origin} in the file"
