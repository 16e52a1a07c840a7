"""Paint the pixels of a slide from its layout."""

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from synthetic_slides.glands import Outline, Patch, paint_gland, paint_vessel
from synthetic_slides.layout import Layout
from synthetic_slides.pen_mark import Ink
from synthetic_slides.pyramid import TILE_PX
from synthetic_slides.stain_mix import PLANE_DAB, PLANE_GROUND, PLANE_HAEMATOXYLIN
from synthetic_slides.stroma import Ground

PAD_PX = 6  # painted beyond the border of a part, so that the blur of the lens leaves no seam
PART_TILES = 4  # tiles painted at once: parts 1024 px wide fit the CPU's cache, wider ones were 15 % slower
GLASS = (243.0, 242.5, 244.0)
LENS_UM = 0.32  # standard deviation of the blur of the lens, µm


class _Patches:
    """The glands or vessels of a slide; each is painted for its first band and dropped after its last."""

    def __init__(
        self, outlines: tuple[Outline, ...], paint: Callable[[Outline, float, int], Patch], layout: Layout
    ) -> None:
        self.outlines, self.paint, self.layout = outlines, paint, layout
        self.boxes = np.array([outline.box_um() for outline in outlines], np.float64).reshape(-1, 4) / layout.mpp
        self.painted: dict[int, Patch] = {}

    def lay_over(self, planes: np.ndarray, xy_px: tuple[int, int]) -> None:
        height, width = planes.shape[1:]
        margin = 4 / self.layout.mpp
        left, top, right, bottom = self.boxes.T
        across = (left - margin < xy_px[0] + width) & (right + margin > xy_px[0])
        near = across & (top - margin < xy_px[1] + height) & (bottom + margin > xy_px[1])
        for index in np.flatnonzero(near).tolist():
            if index not in self.painted:
                self.painted[index] = self.paint(self.outlines[index], self.layout.mpp, len(planes))
            self.painted[index].lay_over(planes, xy_px)

    def forget_above(self, y_px: int) -> None:
        for index in [index for index in self.painted if self.boxes[index, 3] + 8 / self.layout.mpp < y_px]:
            del self.painted[index]


class Painter:
    """Paints a slide from the top, band by band."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.ground = Ground(layout)
        self.glands = _Patches(layout.glands, paint_gland, layout)
        self.vessels = _Patches(layout.vessels, paint_vessel, layout)
        self.ink = None if layout.pen is None else Ink(layout.pen)
        self.rng = np.random.default_rng([layout.seed, 6])
        self.light_tilt = self.rng.uniform(-3.0, 3.0, 2)  # grey levels from edge to edge
        self.noise = self.rng.normal(0, 1.1, (2 * TILE_PX, 2 * TILE_PX)).astype(np.float32)

    def bands(self) -> Iterator[np.ndarray]:
        """The slide in bands from the top: uint8 (`TILE_PX` rows or fewer, width, 3) RGB."""
        height = self.layout.size_px[1]
        for top in range(0, height, TILE_PX):
            band_height = min(TILE_PX, height - top)
            yield np.concatenate(
                [self.part(x, top, width, band_height, tissue) for x, width, tissue in self._parts(top, band_height)],
                axis=1,
            )
            self.glands.forget_above(top + band_height - PAD_PX)
            self.vessels.forget_above(top + band_height - PAD_PX)

    def _parts(self, top: int, height: int) -> Iterator[tuple[int, int, bool]]:
        """Parts of a band: x and width, level-0 pixels, and whether there may be tissue."""
        tissue = [self._may_hold_tissue(x, top, height) for x in range(0, self.layout.size_px[0], TILE_PX)]
        start = 0
        while start < len(tissue):
            stop = start + 1
            while stop < len(tissue) and tissue[stop] == tissue[start] and stop - start < PART_TILES:
                stop += 1
            x = start * TILE_PX
            yield x, min(stop * TILE_PX, self.layout.size_px[0]) - x, tissue[start]
            start = stop

    def _may_hold_tissue(self, x: int, y: int, height: int) -> bool:
        mpp = self.layout.mpp
        probe_x, probe_y = np.meshgrid(x + np.linspace(0, TILE_PX, 9), y + np.linspace(0, height, 9))
        depth = self.layout.tissue.at((probe_x * mpp).astype(np.float32), (probe_y * mpp).astype(np.float32))
        return bool(depth.max() > -(TILE_PX / 8) * mpp - 12)

    def part(self, x: int, y: int, width: int, height: int, tissue: bool = True) -> np.ndarray:
        """Paint a part of the slide.

        Args:
            x: Left, level-0 pixels.
            y: Top, level-0 pixels.
            width: Level-0 pixels.
            height: Level-0 pixels.
            tissue: There may be tissue; bare glass takes less time.
        Returns:
            uint8 (height, width, 3), RGB.
        """
        light = self._light(x, y, width, height)
        if tissue:
            light *= self._tissue(x, y, width, height)
        if self.ink is not None:
            self.ink.lay_over(light, (x, y), self.layout.mpp)
        period = self.noise.shape[0]
        rows, cols = (y + np.arange(height)) % period, (x + np.arange(width)) % period
        light += self.noise[rows[:, None], cols][..., None]
        return cv2.convertScaleAbs(light.reshape(height, -1)).reshape(height, width, 3)

    def _light(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Grey levels of bare glass: the lamp is a little brighter on one side."""
        full_width, full_height = self.layout.size_px
        across = (x + np.arange(width, dtype=np.float32)) / full_width - 0.5
        down = (y + np.arange(height, dtype=np.float32)) / full_height - 0.5
        tilt = across[None, :] * np.float32(self.light_tilt[0]) + down[:, None] * np.float32(self.light_tilt[1])
        return cv2.merge([tilt + np.float32(grey) for grey in GLASS])

    def _tissue(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Share of light that passes the tissue, (height, width, 3) float32."""
        mpp = self.layout.mpp
        corner = (x - PAD_PX, y - PAD_PX)
        x_um, y_um = np.meshgrid(
            ((corner[0] + np.arange(width + 2 * PAD_PX) + 0.5) * mpp).astype(np.float32),
            ((corner[1] + np.arange(height + 2 * PAD_PX) + 0.5) * mpp).astype(np.float32),
        )
        planes, tissue = self.ground.paint(x_um, y_um)
        self.ground.add_nuclei(planes, corner)
        self.vessels.lay_over(planes, corner)
        self.glands.lay_over(planes, corner)
        dark = planes[PLANE_HAEMATOXYLIN] + (planes[PLANE_DAB] if len(planes) > PLANE_DAB else 0)
        planes[PLANE_GROUND] *= 1 - 0.45 * np.minimum(dark, 1.0)  # nuclei take up little eosin
        planes *= tissue
        through = self.layout.recipe.mix.transmit(planes)
        through = cv2.GaussianBlur(through, (0, 0), LENS_UM / mpp) if LENS_UM / mpp > 0.3 else through
        return through[PAD_PX:-PAD_PX, PAD_PX:-PAD_PX]
