"""A mask of the tissue of a slide, with its position on the slide."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class TissueMask:
    """A mask of tissue over the bounds of a slide.

    Attributes:
        mask: (rows, cols) bool.
        origin_l0: (x, y) of its top-left corner, level-0 pixels.
        scale_l0: Level-0 pixels per mask pixel, along x and y.
        mpp: Micrometres per mask pixel.
        warnings: What a user should know about how it was made.
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
    """A mask in which the whole slide is tissue: one pixel over its bounds (x, y, width, height)."""
    x, y, width, height = bounds_l0
    return TissueMask(
        mask=np.ones((1, 1), bool),
        origin_l0=(x, y),
        scale_l0=(width, height),
        mpp=mpp_l0 * (width * height) ** 0.5,
    )


def mask_shares(
    mask: NDArray[np.bool_],
    xy_l0: NDArray[np.int32],
    *,
    edge_l0: int,
    origin_l0: tuple[float, float],
    scale_l0: tuple[float, float],
) -> NDArray[np.float32]:
    """Share of each tile's area that a mask covers, exact for tiles that cut through the mask's pixels.

    Args:
        mask: (rows, cols).
        xy_l0: (n, 2) top-left corners, level-0 pixels.
        edge_l0: Edge of a tile, level-0 pixels.
        origin_l0: (x, y) of the mask's top-left corner, level-0 pixels.
        scale_l0: Level-0 pixels per mask pixel, along x and y.
    Returns:
        (n,) float32, 0 to 1; the part of a tile outside the mask counts as uncovered.
    """
    # The integral of a mask is bilinear between the corners of its pixels, so it is exact everywhere.
    integral = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.float64)
    integral[1:, 1:] = mask.cumsum(0, dtype=np.int64).cumsum(1)
    left, top = ((xy_l0[:, axis] - origin_l0[axis]) / scale_l0[axis] for axis in (0, 1))
    right, bottom = left + edge_l0 / scale_l0[0], top + edge_l0 / scale_l0[1]
    covered = _interpolate(integral, bottom, right) - _interpolate(integral, top, right)
    covered += _interpolate(integral, top, left) - _interpolate(integral, bottom, left)
    area = edge_l0 * edge_l0 / (scale_l0[0] * scale_l0[1])
    return np.clip(covered / area, 0, 1).astype(np.float32)


def _interpolate(
    integral: NDArray[np.float64], row: NDArray[np.floating], col: NDArray[np.floating]
) -> NDArray[np.floating]:
    """The integral at fractional corners, (n,) each."""
    row, col = np.clip(row, 0, integral.shape[0] - 1), np.clip(col, 0, integral.shape[1] - 1)
    r, c = np.minimum(row.astype(int), integral.shape[0] - 2), np.minimum(col.astype(int), integral.shape[1] - 2)
    dr, dc = row - r, col - c
    upper = integral[r, c] * (1 - dc) + integral[r, c + 1] * dc
    lower = integral[r + 1, c] * (1 - dc) + integral[r + 1, c + 1] * dc
    return upper * (1 - dr) + lower * dr
