"""Where a slide holds tissue, as a mask with its place on the slide."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embedstore.slides.grid import mask_shares


@dataclass(frozen=True, kw_only=True, eq=False)
class TissueMask:
    """A mask of tissue over the bounds of a slide.

    Attributes:
        mask: (rows, cols) bool.
        origin_l0: (x, y) of its top-left corner, level-0 pixels.
        scale_l0: Level-0 pixels a pixel of it, along x and y.
        mpp: Micrometres a pixel of it.
        warnings: What a user should know about how it was found.
    """

    mask: NDArray[np.bool_]
    origin_l0: tuple[float, float]
    scale_l0: tuple[float, float]
    mpp: float
    warnings: list[str] = field(default_factory=list)

    @property
    def area_mm2(self) -> float:
        """Area of the tissue, mm²."""
        return float(self.mask.sum()) * (self.mpp / 1000) ** 2

    def shares(self, xy_l0: NDArray[np.int32], edge_l0: int) -> NDArray[np.float32]:
        """Share of tissue in each tile, (n,) float32; `xy_l0` is (n, 2), level-0 pixels."""
        return mask_shares(self.mask, xy_l0, edge_l0=edge_l0, origin_l0=self.origin_l0, scale_l0=self.scale_l0)


def whole_slide(bounds_l0: tuple[int, int, int, int], mpp_l0: float) -> TissueMask:
    """All of a slide as tissue: one mask pixel over its bounds (x, y, width, height)."""
    x, y, width, height = bounds_l0
    return TissueMask(
        mask=np.ones((1, 1), bool),
        origin_l0=(x, y),
        scale_l0=(width, height),
        mpp=mpp_l0 * (width * height) ** 0.5,
    )
