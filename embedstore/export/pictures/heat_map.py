"""Heat maps: values or classes of tiles, painted over a picture of their slide."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.labels.class_colours import Colour
from embedstore.slides import Pixels, Thumbnail

COLOUR_MAP = "viridis"  # perceptually uniform
COLOUR_FROM = 0.22  # viridis begins with a purple that looks like haematoxylin; from here on it is blue to yellow
ALPHA = 0.6  # opacity of the paint, so that the structure of the tissue shows through
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def draw_heat_map(
    thumbnail: Thumbnail,
    xy_l0: NDArray[np.integer],
    edge_l0: NDArray[np.integer] | int,
    values: NDArray[np.floating],
    *,
    colour_map: str = COLOUR_MAP,
    alpha: float = ALPHA,
) -> Pixels:
    """Paint the value of each tile over a picture of the slide, which is turned to grey so that colours stay true.

    Args:
        thumbnail: The picture, with its position on the slide.
        xy_l0: (n, 2) top-left corners of the tiles, level-0 pixels.
        edge_l0: Edge of each tile (n,), or one for all, level-0 pixels.
        values: (n,) 0 to 1, or NaN for tiles that are not painted; where tiles overlap, their mean is shown.
        colour_map: Name of a matplotlib colour map.
        alpha: Opacity of the paint, 0 to 1.
    Returns:
        (rows, cols, 3) uint8 RGB, of the thumbnail's size; pixels without a tile are unchanged.
    """
    painted = np.isfinite(values)
    boxes = tile_boxes(thumbnail, xy_l0[painted], np.broadcast_to(edge_l0, len(values))[painted])
    shape = thumbnail.pixels.shape[:2]
    tiles = box_sums(shape, boxes, np.ones(len(boxes)))
    total = box_sums(shape, boxes, values[painted].astype(np.float64))
    covered = tiles > 0.5
    paint = colour_table(colour_map)[_step(total[covered] / tiles[covered])]
    return _blend(thumbnail.pixels, covered, paint, alpha)


def draw_class_map(
    thumbnail: Thumbnail,
    xy_l0: NDArray[np.integer],
    edge_l0: NDArray[np.integer] | int,
    votes: NDArray[np.floating],
    colours: Sequence[Colour],
    *,
    alpha: float = ALPHA,
) -> Pixels:
    """Paint each tile in the colour of its class; arguments as in `draw_heat_map`.

    Args:
        votes: (n, classes), the weight of each class, such as the probability of the predicted class and 0 for others.
            Where tiles overlap, the class with the largest sum is shown. Tiles without a vote are not painted.
        colours: Of the classes.
    """
    voting = votes.max(axis=1, initial=0) > 0
    boxes = tile_boxes(thumbnail, xy_l0[voting], np.broadcast_to(edge_l0, len(votes))[voting])
    shape = thumbnail.pixels.shape[:2]
    covered = box_sums(shape, boxes, np.ones(len(boxes))) > 0.5
    largest, chosen = np.zeros(int(covered.sum())), np.zeros(int(covered.sum()), np.intp)
    for column in range(votes.shape[1]):
        total = box_sums(shape, boxes, votes[voting, column].astype(np.float64))[covered]
        larger = total > largest + 1e-9  # equal sums may differ by rounding
        largest[larger], chosen[larger] = total[larger], column
    return _blend(thumbnail.pixels, covered, np.asarray(colours, np.uint8)[chosen], alpha)


def tile_boxes(thumbnail: Thumbnail, xy_l0: NDArray[np.integer], edge_l0: NDArray[np.integer]) -> NDArray[np.int64]:
    """Boxes of tiles on a picture: (n, 4) left, top, right, bottom, pixels; right and bottom are exclusive.

    Corners are rounded to the nearest pixel border, so that neighbours meet without a gap. A tile smaller than a pixel
    gets one pixel.
    """
    scale = np.asarray(thumbnail.scale_l0)
    first = (xy_l0 - np.asarray(thumbnail.origin_l0)) / scale
    low = np.rint(first).astype(np.int64)
    high = np.maximum(np.rint(first + edge_l0[:, None] / scale).astype(np.int64), low + 1)
    rows, columns = thumbnail.pixels.shape[:2]
    limits = np.array([columns, rows, columns, rows])
    return np.clip(np.concatenate([low, high], axis=1), 0, limits)


def box_sums(shape: tuple[int, int], boxes: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """At every pixel, the sum of the values of the boxes that cover it, (rows, cols).

    Each box adds and subtracts its value at its corners, and cumulative sums along both axes fill it in: the time is
    linear in boxes and pixels.
    """
    left, top, right, bottom = boxes.T
    width = shape[1] + 1
    corners = np.concatenate([top * width + left, bottom * width + right, top * width + right, bottom * width + left])
    signed = np.concatenate([values, values, -values, -values])
    sums = np.bincount(corners, signed, minlength=(shape[0] + 1) * width).reshape(shape[0] + 1, width)
    return sums.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]


def colour_table(name: str = COLOUR_MAP) -> Pixels:
    """(256, 3) RGB of a matplotlib colour map; the default one without its purple end."""
    import matplotlib

    first = COLOUR_FROM if name == COLOUR_MAP else 0.0
    table: Any = matplotlib.colormaps[name](np.linspace(first, 1, 256), bytes=True)
    return table[:, :3]


def _step(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.int64)


def _blend(pixels: Pixels, covered: NDArray[np.bool_], paint: Pixels, alpha: float) -> Pixels:
    picture = pixels.copy()
    grey = pixels[covered].astype(np.float32) @ np.asarray(LUMA, np.float32)
    picture[covered] = np.rint((1 - alpha) * grey[:, None] + alpha * paint).astype(np.uint8)
    return picture
