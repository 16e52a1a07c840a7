"""Squares of tiles and measurements, as QuPath's objects hold them."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

DIGITS = 5  # decimals of a probability or distance


def squares(rows: pa.Table, corner: tuple[int, int]) -> list[dict[str, Any]]:
    """The square of each tile as a closed ring, clockwise on the screen from the top-left corner.

    Args:
        rows: With the columns x, y and edge_l0, level-0 pixels.
        corner: Where (0, 0) of the file lies, level-0 pixels: see `corner_l0`.
    """
    x, y, edge = (rows[name].to_numpy().astype(np.int64) for name in ("x", "y", "edge_l0"))
    left, top = x - corner[0], y - corner[1]
    right, bottom = left + edge, top + edge
    rings = np.stack([left, top, right, top, right, bottom, left, bottom, left, top], axis=1).reshape(-1, 1, 5, 2)
    return [{"type": "Polygon", "coordinates": ring} for ring in rings.tolist()]


def rounded(values: NDArray[np.floating]) -> list[float]:
    """Measurements, rounded to DIGITS decimals."""
    return np.round(values.astype(np.float64), DIGITS).tolist()
