"""Twelve colour statistics: the cheapest extractor, and the floor that every other one must beat."""

import hashlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from embedstore.extractors.extractor import Extractor

VERSION = 1  # of the computation; in the digest


class ColourStatistics(Extractor):
    """Mean and standard deviation of R, G, B, |R−G|, |R−B| and |G−B|, each on 0..1.

    The differences add what the channels alone lack: how channels vary together. It needs no weights and no torch, and
    is so cheap (0.1 ms for a tile of 256 px) that benchmarks use it as an extractor that costs nothing.
    """

    dim = 12
    batch_tiles = 64

    def __init__(self, *, name: str = "colour-12", tile_px: int = 256, mpp: float | None = None) -> None:
        self.name, self.tile_px, self.mpp = name, tile_px, mpp
        self.digest = f"sha256:{hashlib.sha256(f'colour-12 {VERSION} {tile_px}'.encode()).hexdigest()}"

    def record(self) -> dict[str, Any]:
        return {
            **super().record(),
            "source": "builtin",
            "arch": "colour-12",
            "version": VERSION,
            "licence": "Apache-2.0",
        }

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
        self.check_pixels(pixels)
        rows = np.empty((len(pixels), self.dim), np.float16)
        for row, tile in zip(rows, pixels, strict=True):
            row[:] = _statistics(tile)
        return rows


def _statistics(tile: NDArray[np.uint8]) -> list[float]:
    red, green, blue = cv2.split(tile)
    planes = (red, green, blue, cv2.absdiff(red, green), cv2.absdiff(red, blue), cv2.absdiff(green, blue))
    # One plane at a time: 6 µs each, where meanStdDev of an interleaved image takes 95.
    moments = [cv2.meanStdDev(plane) for plane in planes]
    return [float(value[0, 0]) / 255.0 for moment in moments for value in moment]
