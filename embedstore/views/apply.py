"""Make a view of a tile, with changes as between scanners and laboratories. Every step takes and returns bytes."""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from embedstore.views.parameters import PARAMETERS
from embedstore.views.stain_vectors import stain_vectors

Pixels = NDArray[np.uint8]

# Amounts of a stain (optical density) up to which a shift is not applied, and from which it is applied in full;
# in between in proportion. Tellez et al. 2018 apply it everywhere, which tints the background (0.05 is a grey of 240)
# and leaves pale tissue with a negative amount of eosin, which is yellow.
_UNSTAINED, _STAINED = 0.05, 0.25
# Stains are changed in strips of so many bytes of float32, which stay in the cache: 0.4 ms for a tile of 256 px. A
# float copy of the whole tile takes 1.5 ms, nearly all of it for pages that the system allocates and frees each time.
_STRIP_BYTES = 1 << 16
_TURNS = (None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)


def apply_view(tile: Pixels, parameters: NDArray[np.float32]) -> Pixels:
    """Make the view of a tile that the parameters describe; all 0 gives the tile's own bytes.

    Args:
        tile: (px, px, 3) RGB.
        parameters: (parameters,), in the order of `PARAMETERS`, which is the order of the steps.
    Returns:
        (px, px, 3), always a new array.
    """
    value = dict(zip(PARAMETERS, parameters.tolist(), strict=True))
    view = _crop(tile, value["crop"], value["crop_x"], value["crop_y"]) if value["crop"] else tile
    view = _turn(view, mirror=value["mirror"] != 0, turns=int(value["turns"]))
    gains, shifts = ([value[f"{stain}_{kind}"] for stain in ("haematoxylin", "eosin")] for kind in ("gain", "shift"))
    if any(gains) or any(shifts):
        view = _restain(view, gains, shifts)
    if value["blur"]:
        view = np.asarray(cv2.GaussianBlur(view, (0, 0), value["blur"], borderType=cv2.BORDER_REFLECT_101), np.uint8)
    if value["contrast"] or value["brightness"]:
        view = _relight(view, value["contrast"], value["brightness"])
    if value["jpeg"]:
        view = _compress(view, quality=100 - round(value["jpeg"]))
    return view.copy() if view is tile else view


def with_views(pixels: Pixels, parameters: NDArray[np.float32]) -> Pixels:
    """Stack tiles with their views.

    Args:
        pixels: (n, px, px, 3) RGB.
        parameters: (n, count, parameters).
    Returns:
        (n, 1 + count, px, px, 3): each tile itself, then its views.
    """
    count = parameters.shape[1]
    copies = np.empty((len(pixels), 1 + count, *pixels.shape[1:]), np.uint8)
    copies[:, 0] = pixels
    for tile, of_tile, views in zip(pixels, parameters, copies[:, 1:], strict=True):
        for i in range(count):
            views[i] = apply_view(tile, of_tile[i])
    return copies


def _crop(tile: Pixels, share: float, x: float, y: float) -> Pixels:
    """Enlarge a square of the tile, of area 1 - share, to the tile's size; its place is exact to parts of a pixel."""
    px = tile.shape[0]
    scale = (1 - share) ** 0.5
    free = px * (1 - scale)
    # Pixel i of the view has its centre at i + 0.5.
    left, top = (free * place + 0.5 * scale - 0.5 for place in (x, y))
    matrix = np.array([[scale, 0, left], [0, scale, top]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(tile, matrix, (px, px), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _turn(tile: Pixels, *, mirror: bool, turns: int) -> Pixels:
    """Mirror left and right, then rotate by quarter turns counter-clockwise."""
    if mirror:
        tile = np.asarray(cv2.flip(tile, 1), np.uint8)
    turn = _TURNS[turns % 4]
    return tile if turn is None else np.asarray(cv2.rotate(tile, turn), np.uint8)


def _restain(tile: Pixels, gains: Sequence[float], shifts: Sequence[float]) -> Pixels:
    """Change the amounts of haematoxylin and eosin; the residual stays."""
    vectors = stain_vectors()
    separate = np.linalg.inv(vectors).T.astype(np.float32)
    mix = -np.log(10) * vectors.T
    gain, shift = ((mix * [*change, zero]).astype(np.float32) for change, zero in ((np.add(1, gains), 1), (shifts, 0)))
    view = np.empty_like(tile)
    rows = max(1, _STRIP_BYTES // (tile.shape[1] * 3 * 4))
    for row in range(0, len(tile), rows):
        amounts = cv2.LUT(tile[row : row + rows], _densities())
        amounts = cv2.transform(amounts, separate, dst=amounts)
        shares = amounts - np.float32(_UNSTAINED)  # of the shift that is applied
        shares *= np.float32(1 / (_STAINED - _UNSTAINED))
        np.clip(shares, 0, 1, out=shares)
        amounts = cv2.transform(amounts, gain, dst=amounts)
        light = cv2.exp(cv2.add(amounts, cv2.transform(shares, shift, dst=shares), dst=amounts), dst=amounts)
        view[row : row + rows] = cv2.convertScaleAbs(light, alpha=256, beta=-1)
    return view


@cache
def _densities() -> NDArray[np.float32]:
    """(256,): optical density of each byte."""
    # +1 keeps black finite, as in the extractors' separation of stains.
    return -np.log10((np.arange(256, dtype=np.float32) + 1) / 256)


def _relight(tile: Pixels, contrast: float, brightness: float) -> Pixels:
    """Scale the contrast about the mean of all the tile's bytes, then add a share of white."""
    mean = np.mean(cv2.mean(tile)[:3])
    level = mean + (1 + contrast) * (np.arange(256) - mean) + 255 * brightness
    return np.asarray(cv2.LUT(tile, np.rint(np.clip(level, 0, 255)).astype(np.uint8)), np.uint8)


def _compress(tile: Pixels, *, quality: int) -> Pixels:
    """Compress as JPEG with colour at half the resolution, as scanners do, and decode."""
    half_colour = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)
    options = (cv2.IMWRITE_JPEG_QUALITY, quality, *half_colour)
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(tile, cv2.COLOR_RGB2BGR), options)
    decoded = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert decoded is not None, "OpenCV cannot decode a JPEG that it encoded"
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
