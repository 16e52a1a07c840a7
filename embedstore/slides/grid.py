"""Lay square tiles over a slide, and weigh the tissue in each."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import TilingError


def tile_grid(
    origin_l0: tuple[int, int], size_l0: tuple[int, int], *, edge_l0: int, stride_l0: int
) -> NDArray[np.int32]:
    """Cover a rectangle of a slide with square tiles, row by row.

    Args:
        origin_l0: (x, y) of the rectangle, level-0 pixels; the first tile begins there.
        size_l0: (width, height) of the rectangle, level-0 pixels.
        edge_l0: Edge of a tile, level-0 pixels.
        stride_l0: Distance between neighbours, level-0 pixels; tiles do not overlap where it is `edge_l0` or more.
    Returns:
        Top-left corners, (n, 2) int32 as (x, y), level-0 pixels; a tile that crosses the edge is left out, and n is 0
        where none fits.
    Raises:
        TilingError: the edge or the stride is not positive.
    """
    if edge_l0 < 1 or stride_l0 < 1:
        raise TilingError(f"tiles of {edge_l0} px every {stride_l0} px; expected 1 or more level-0 pixels")
    xs, ys = (
        np.arange(start, start + length - edge_l0 + 1, stride_l0, dtype=np.int32)
        for start, length in zip(origin_l0, size_l0, strict=True)
    )
    x, y = np.meshgrid(xs, ys)
    return np.stack([x.ravel(), y.ravel()], axis=1)


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
        scale_l0: Level-0 pixels a pixel of the mask, along x and y.
    Returns:
        (n,) float32, 0 to 1; what a tile has beyond the mask counts as uncovered.
    """
    # The integral of a mask is bilinear between its corners: so it is exact anywhere.
    integral = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.float64)
    integral[1:, 1:] = mask.cumsum(0, dtype=np.int64).cumsum(1)
    left, top = ((xy_l0[:, axis] - origin_l0[axis]) / scale_l0[axis] for axis in (0, 1))
    right, bottom = left + edge_l0 / scale_l0[0], top + edge_l0 / scale_l0[1]
    covered = _at(integral, bottom, right) - _at(integral, top, right)
    covered += _at(integral, top, left) - _at(integral, bottom, left)
    area = edge_l0 * edge_l0 / (scale_l0[0] * scale_l0[1])
    return np.clip(covered / area, 0, 1).astype(np.float32)


def _at(integral: NDArray[np.float64], row: NDArray[Any], col: NDArray[Any]) -> NDArray[Any]:
    """The integral at fractional corners, (n,) each."""
    row, col = np.clip(row, 0, integral.shape[0] - 1), np.clip(col, 0, integral.shape[1] - 1)
    r, c = np.minimum(row.astype(int), integral.shape[0] - 2), np.minimum(col.astype(int), integral.shape[1] - 2)
    dr, dc = row - r, col - c
    upper = integral[r, c] * (1 - dc) + integral[r, c + 1] * dc
    lower = integral[r + 1, c] * (1 - dc) + integral[r + 1, c + 1] * dc
    return upper * (1 - dr) + lower * dr
