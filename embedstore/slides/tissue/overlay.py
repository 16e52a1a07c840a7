"""A picture of a slide with the outline of its tissue and its tiles."""

import cv2
import numpy as np
from numpy.typing import NDArray

from embedstore.errors import TissueError
from embedstore.slides.slide import Pixels
from embedstore.slides.tissue.mask import TissueMask
from embedstore.slides.tissue.thumbnail import Thumbnail

OUTLINE = (0, 150, 60)  # RGB; no usual stain is green
TILES = (30, 60, 220)
BACKGROUND_DIMMED = 0.82  # everything but tissue is shown darker


def draw_overlay(
    thumbnail: Thumbnail, tissue: TissueMask, *, xy_l0: NDArray[np.int32] | None = None, edge_l0: int = 0
) -> Pixels:
    """Draw the outline of the tissue on a thumbnail.

    Args:
        thumbnail: The picture of the slide.
        tissue: The mask.
        xy_l0: (n, 2) top-left corners of tiles to draw, level-0 pixels; none where it is None.
        edge_l0: Edge of a tile, level-0 pixels.
    Returns:
        (rows, cols, 3) uint8 RGB.
    """
    picture = thumbnail.pixels.copy()
    rows, columns = picture.shape[:2]
    mask = cv2.resize(tissue.mask.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_NEAREST)
    outside = mask == 0
    picture[outside] = (picture[outside] * BACKGROUND_DIMMED).astype(np.uint8)
    width = max(1, round(max(rows, columns) / 1000))
    if xy_l0 is not None:
        corners = (xy_l0 - np.asarray(thumbnail.origin_l0)) / thumbnail.scale_l0
        edge = edge_l0 / np.asarray(thumbnail.scale_l0)
        for low, high in zip(np.rint(corners).astype(int), np.rint(corners + edge).astype(int), strict=True):
            cv2.rectangle(picture, tuple(map(int, low)), tuple(map(int, high)), TILES, 1)
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, OUTLINE, 2 * width)
    return picture


def png_bytes(picture: Pixels) -> bytes:
    """A picture, (rows, cols, 3) RGB, as PNG.

    Raises:
        TissueError: the picture cannot be encoded.
    """
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise TissueError(f"a picture of {picture.shape} cannot be encoded as PNG")
    return data.tobytes()
