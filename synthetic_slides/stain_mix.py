"""Stains: their colours, mixed as absorbances (Beer–Lambert law)."""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

# Absorbance of R, G and B by one unit of stain. Haematoxylin and DAB: Ruifrok & Johnston 2001; eosin: QuPath's default,
# since that of Ruifrok & Johnston is a magenta that few laboratories would recognise.
HAEMATOXYLIN = (0.650, 0.704, 0.286)
EOSIN = (0.216, 0.801, 0.558)
DAB = (0.268, 0.570, 0.776)
IHC_GROUND = (0.50, 0.60, 0.55)  # without eosin, tissue is a faint grey

Stain = Literal["H&E", "IHC"]

PLANE_HAEMATOXYLIN, PLANE_GROUND, PLANE_DAB = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class StainMix:
    """Strength and hue of a slide's stains.

    Attributes:
        stain: `H&E`, or `IHC` (haematoxylin and DAB).
        haematoxylin: Strength of haematoxylin; 1 is usual.
        eosin: Strength of eosin; 1 is usual.
        hue: Shift of the hues from blue (-1) to red (1).
    """

    stain: Stain = "H&E"
    haematoxylin: float = 1.0
    eosin: float = 1.0
    hue: float = 0.0

    @property
    def planes(self) -> int:
        """Number of stain planes of the painter; the third is DAB."""
        return 3 if self.stain == "IHC" else 2

    def matrix(self) -> np.ndarray:
        """(3, planes) float32: absorbance of R, G and B by one unit of each plane."""
        haematoxylin = np.array(HAEMATOXYLIN) + self.hue * np.array([-0.06, 0.02, 0.05])
        eosin = np.array(EOSIN) + self.hue * np.array([-0.05, 0.0, 0.04])
        if self.stain == "IHC":
            columns = [haematoxylin * 0.72 * self.haematoxylin, np.array(IHC_GROUND) * 0.36, np.array(DAB)]
        else:
            columns = [haematoxylin * self.haematoxylin, eosin * self.eosin]
        return np.stack(columns, 1).astype(np.float32)

    def transmit(self, planes: np.ndarray) -> np.ndarray:
        """The share of light that passes the stains.

        Args:
            planes: (planes, h, w) float32, amounts of stain.
        Returns:
            (h, w, 3) float32, 0 to 1, RGB.
        """
        matrix = self.matrix()
        channels = []
        for weights in matrix:
            density = planes[0] * -weights[0]
            for plane, weight in zip(planes[1:], weights[1:], strict=True):
                density -= plane * weight
            channels.append(cv2.exp(density))
        return cv2.merge(channels)
