"""Heat maps: what is known of tiles, painted over a picture of their slide, pixel by pixel."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.labels.class_colours import Colour
from embedstore.slides import Pixels, Thumbnail

COLOUR_MAP = "viridis"  # perceptually uniform
COLOUR_FROM = 0.22  # viridis begins with a purple that looks like haematoxylin; from here on it is blue to yellow
ALPHA = 0.6  # what is painted counts so much, the tissue's structure below it the rest
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
    """Paint a value a tile over a picture of the slide; the tissue below is shown in grey, so that colours are true.

    Args:
        thumbnail: The picture, which knows where it lies on the slide.
        xy_l0: (n, 2) top-left corners of the tiles, level-0 pixels.
        edge_l0: Edge of each tile (n,), or of all, level-0 pixels.
        values: (n,) 0 to 1; where tiles overlap, their mean is shown. A tile of value NaN is not painted.
        colour_map: One of matplotlib's.
        alpha: How much of the picture is paint, 0 to 1.
    Returns:
        (rows, cols, 3) uint8 RGB, the thumbnail's size; what no tile covers is the thumbnail's pixel.
    """
    known = np.isfinite(values)
    boxes = tile_boxes(thumbnail, xy_l0[known], np.broadcast_to(edge_l0, len(values))[known])
    shape = thumbnail.pixels.shape[:2]
    covered = box_sums(shape, boxes, np.ones(len(boxes)))
    total = box_sums(shape, boxes, values[known].astype(np.float64))
    where = covered > 0.5
    paint = colour_table(colour_map)[_step(total[where] / covered[where])]
    return _blend(thumbnail.pixels, where, paint, alpha)


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
        votes: (n, classes), how much each tile speaks for each class, such as the probability of the class decided on
            and 0 for others; where tiles overlap, the class with the most is shown. A tile without a vote is left bare.
        colours: One a class.
    """
    voting = votes.max(axis=1, initial=0) > 0
    boxes = tile_boxes(thumbnail, xy_l0[voting], np.broadcast_to(edge_l0, len(votes))[voting])
    shape = thumbnail.pixels.shape[:2]
    where = box_sums(shape, boxes, np.ones(len(boxes))) > 0.5
    best, chosen = np.zeros(int(where.sum())), np.zeros(int(where.sum()), np.intp)
    for number in range(votes.shape[1]):
        total = box_sums(shape, boxes, votes[voting, number].astype(np.float64))[where]
        more = total > best + 1e-9  # of sums that come by different ways
        best[more], chosen[more] = total[more], number
    return _blend(thumbnail.pixels, where, np.asarray(colours, np.uint8)[chosen], alpha)


def tile_boxes(thumbnail: Thumbnail, xy_l0: NDArray[np.integer], edge_l0: NDArray[np.integer]) -> NDArray[np.int64]:
    """Where tiles lie on a picture: (n, 4) left, top, right, bottom, pixels; right and bottom are outside.

    Corners go to the nearest border of a pixel, so that neighbours meet without a gap; a tile smaller than a pixel
    takes one.
    """
    scale = np.asarray(thumbnail.scale_l0)
    first = (xy_l0 - np.asarray(thumbnail.origin_l0)) / scale
    low = np.rint(first).astype(np.int64)
    high = np.maximum(np.rint(first + edge_l0[:, None] / scale).astype(np.int64), low + 1)
    rows, columns = thumbnail.pixels.shape[:2]
    limits = np.array([columns, rows, columns, rows])
    return np.clip(np.concatenate([low, high], axis=1), 0, limits)


def box_sums(shape: tuple[int, int], boxes: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum at every pixel of the values of the boxes that hold it, (rows, cols); in time linear in boxes and pixels.

    Each box adds and takes away its value at its corners; sums along both axes fill it.
    """
    left, top, right, bottom = boxes.T
    width = shape[1] + 1
    corners = np.concatenate([top * width + left, bottom * width + right, top * width + right, bottom * width + left])
    signed = np.concatenate([values, values, -values, -values])
    sums = np.bincount(corners, signed, minlength=(shape[0] + 1) * width).reshape(shape[0] + 1, width)
    return sums.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]


def colour_table(name: str = COLOUR_MAP) -> Pixels:
    """(256, 3) RGB of a colour map of matplotlib's; of the usual one without its purple end."""
    import matplotlib

    first = COLOUR_FROM if name == COLOUR_MAP else 0.0
    table: Any = matplotlib.colormaps[name](np.linspace(first, 1, 256), bytes=True)
    return table[:, :3]


def _step(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.int64)


def _blend(pixels: Pixels, where: NDArray[np.bool_], paint: Pixels, alpha: float) -> Pixels:
    picture = pixels.copy()
    grey = pixels[where].astype(np.float32) @ np.asarray(LUMA, np.float32)
    picture[where] = np.rint((1 - alpha) * grey[:, None] + alpha * paint).astype(np.uint8)
    return picture
