"""Pen marks: lines drawn on the cover glass with a felt-tip pen."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from synthetic_slides.noise import grain_texture, sample_texture

PenColour = Literal["blue", "green", "black"]

# Absorbance (natural logarithm) of R, G and B through an even layer of ink.
INK: dict[PenColour, tuple[float, float, float]] = {
    "blue": (1.9, 1.25, 0.32),
    "green": (1.7, 0.45, 1.25),
    "black": (2.2, 2.2, 2.1),
}
CELL_UM = 4.0  # of the map of ink: everything in it is smoother than that
# The ink lies on the cover glass, 0.17 mm above the focal plane: standard deviation of the blur, µm.
DEFOCUS_UM = 12.0


@dataclass(frozen=True, kw_only=True, eq=False)
class PenMark:
    """A line drawn with a felt-tip pen.

    Attributes:
        points_um: (n, 2) float32 along the middle of the line, µm from the slide's top-left corner.
        width_um: Width of the line, µm.
        colour: Colour of the ink.
    """

    points_um: np.ndarray
    width_um: float
    colour: PenColour


class Ink:
    """The ink of a pen mark: computed once, and laid over any part of the slide."""

    def __init__(self, mark: PenMark) -> None:
        self.absorbance = np.array(INK[mark.colour], np.float32)
        margin_um = mark.width_um + 4 * DEFOCUS_UM
        self.left_top_um = mark.points_um.min(0) - margin_um
        columns, rows = np.ceil((mark.points_um.max(0) + margin_um - self.left_top_um) / CELL_UM).astype(int)
        self.amount = _amount(mark, self.left_top_um, (int(rows), int(columns)))

    def lay_over(self, light: np.ndarray, xy_px: tuple[int, int], mpp: float) -> None:
        """Darken a part of the slide by the ink over it, in place.

        Args:
            light: (h, w, 3) float32 grey levels.
            xy_px: Its top-left corner, level-0 pixels.
            mpp: Micrometres per level-0 pixel.
        """
        height, width = light.shape[:2]
        left, top = (np.array(xy_px) * mpp - self.left_top_um) / CELL_UM
        step = mpp / CELL_UM
        rows, columns = self.amount.shape
        if left >= columns or top >= rows or left + width * step <= 0 or top + height * step <= 0:
            return
        x, y = np.meshgrid(
            (left + step * (np.arange(width) + 0.5) - 0.5).astype(np.float32),
            (top + step * (np.arange(height) + 0.5) - 0.5).astype(np.float32),
        )
        amount = cv2.remap(self.amount, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
        light *= np.exp(-amount[..., None] * self.absorbance)


def _amount(mark: PenMark, left_top_um: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Thickness of the ink on a grid, (rows, cols) float32: 1 is an even layer.

    The bristles of the tip leave streaks along the line, ink gathers at its rims, and more of it flows where the pen
    is put down and lifted.
    """
    points, along_um = _resample(mark.points_um, CELL_UM / 2)
    cells = np.floor((points - left_top_um) / CELL_UM).astype(int)
    line = np.ones(shape, np.uint8)
    line[cells[:, 1], cells[:, 0]] = 0
    _, labels = cv2.distanceTransformWithLabels(line, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    point_of_label = np.zeros(int(labels.max()) + 1, int)
    point_of_label[labels[cells[:, 1], cells[:, 0]]] = np.arange(len(points))
    nearest = point_of_label[labels]

    col, row = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    offset = np.stack([col, row], -1) * CELL_UM + left_top_um - points[nearest]
    tangent = np.gradient(points, axis=0)
    tangent /= np.maximum(np.hypot(*tangent.T), 1e-6)[:, None]
    across_um = offset[..., 1] * tangent[nearest, 0] - offset[..., 0] * tangent[nearest, 1]
    along = along_um[nearest].astype(np.float32)

    wobble = sample_texture(grain_texture(), along / 15, np.zeros_like(along))
    depth_um = (0.5 + 0.02 * wobble) * mark.width_um - np.hypot(offset[..., 0], offset[..., 1])
    streaks = sample_texture(grain_texture(), along / 60, across_um.astype(np.float32) / 5)
    rim = np.exp(-(((depth_um - 15) / 15) ** 2))
    ends = np.exp(-((np.minimum(along, along_um[-1] - along) / (0.35 * mark.width_um)) ** 2))
    amount = (depth_um > 0) * np.clip(0.85 + 0.14 * streaks + 0.3 * rim + 0.25 * ends, 0.45, 1.5)
    return cv2.GaussianBlur(amount.astype(np.float32), (0, 0), DEFOCUS_UM / CELL_UM)


def _resample(points: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Points every `step` along a line, (n, 2), and the length of the line up to each, (n,)."""
    length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    along = np.arange(0, length[-1], step)
    return np.stack([np.interp(along, length, points[:, axis]) for axis in (0, 1)], 1), along
