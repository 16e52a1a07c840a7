"""Tissue between glands and vessels: fibres, fat, nests of dense nuclei, and loose nuclei everywhere."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from synthetic_slides.layout import Layout
from synthetic_slides.noise import cell_texture, fibre_texture, grain_texture, sample_texture
from synthetic_slides.nuclei import KINDS, stamp
from synthetic_slides.stain_mix import PLANE_DAB, PLANE_GROUND, PLANE_HAEMATOXYLIN

BLOCK_UM = 128.0  # nuclei are drawn block by block, so that any part of a slide can be painted on its own
REACH_UM = 12.0  # no nucleus reaches further from its centre


@dataclass(frozen=True, kw_only=True, eq=False)
class Nuclei:
    """The nuclei of a block.

    Attributes:
        kind: A key of `nuclei.KINDS`.
        xy_um: (n, 2) float32 centres.
        turn: (n,) float32 orientations, radians.
        variant: (n,) int64.
        brown: (n,) bool: stained by DAB where the slide has it.
    """

    kind: str
    xy_um: np.ndarray
    turn: np.ndarray
    variant: np.ndarray
    brown: np.ndarray


def _ramp(value: np.ndarray, width: float) -> np.ndarray:
    """A smooth step from 0 to 1 where a signed distance crosses 0."""
    return np.clip(0.5 + value / np.float32(width), 0, 1)


class Ground:
    """Paints everything but glands and vessels."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        rng = np.random.default_rng([layout.seed, 4])
        self.shift_um = rng.uniform(0, 500, (4, 2)).astype(np.float32)
        blocks_across = int(layout.size_px[0] * layout.mpp / BLOCK_UM) + 3
        self.block = lru_cache(maxsize=4 * blocks_across)(self._block)

    def _texture(
        self, texture: np.ndarray, x_um: np.ndarray, y_um: np.ndarray, shift: int, scale: float = 1.0
    ) -> np.ndarray:
        return sample_texture(
            texture,
            x_um / np.float32(scale) + self.shift_um[shift, 0],
            y_um / np.float32(scale) + self.shift_um[shift, 1],
        )

    def septa(self, x_um: np.ndarray, y_um: np.ndarray) -> np.ndarray:
        """Distance to the bands of stroma between nests of dense nuclei, roughly µm: negative in a band."""
        noise = self._texture(grain_texture(), x_um, y_um, 3, scale=14.0)
        return (np.abs(noise) - 0.24) * 30

    def paint(self, x_um: np.ndarray, y_um: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Amounts of stain of the ground, without nuclei.

        Args:
            x_um: (h, w) float32 places, µm.
            y_um: (h, w) float32 places, µm.
        Returns:
            (planes, h, w) float32 amounts, and (h, w) float32 share of tissue, 0 to 1.
        """
        layout = self.layout
        coarse = self._texture(grain_texture(), x_um, y_um, 0, scale=3.5)
        fine = self._texture(grain_texture(), x_um, y_um, 1, scale=0.7)
        depth_um = layout.tissue.at(x_um, y_um) + 2.6 * coarse + 0.5 * fine
        tissue = _ramp(depth_um, 2.0)
        if not tissue.any():
            return np.zeros((layout.recipe.mix.planes, *x_um.shape), np.float32), tissue

        across = layout.across.at(x_um, y_um) + 1.6 * coarse
        fibre = self._texture(fibre_texture(), layout.along.at(x_um, y_um), across, 2)
        loose = _ramp(layout.mucosa.at(x_um, y_um), 40.0)  # lamina propria is paler and looser
        body = np.clip(0.55 + 0.42 * fibre, 0, 1.25)
        ground = 0.14 + 0.52 * body - loose * (0.05 + 0.22 * body) + 0.035 * fine + 0.03 * coarse
        cleft = np.clip((-1.35 - fibre - 0.35 * coarse) * 2.2, 0, 1) * (1 - 0.5 * loose)
        ground *= 1 - 0.93 * cleft
        nuclear = np.clip(0.05 + 0.02 * coarse + 0.05 * loose, 0, None) * (1 - cleft)

        nests = _ramp(layout.dense.at(x_um, y_um) + 3.0 * coarse, 3.0) * _ramp(self.septa(x_um, y_um), 2.5)
        if nests.any():
            ground += nests * (0.36 + 0.07 * fine + 0.05 * coarse - ground)
            nuclear += nests * (0.24 + 0.05 * fine - nuclear)
        fat = _ramp(layout.fat.at(x_um, y_um) + 6.0 * coarse, 4.0)
        if fat.any():
            wall_um = self._texture(cell_texture(), x_um + 2.5 * coarse, y_um - 2.5 * coarse, 0)
            wall = np.exp(-((wall_um / (1.1 + 0.25 * coarse)) ** 2))
            ground += fat * (0.42 * wall + 0.004 - ground)
            nuclear += fat * (0.05 * wall - nuclear)
        border = np.exp(-np.maximum(depth_um, 0) / 5)  # stain gathers at a cut edge
        ground *= 1 + 0.3 * border
        planes = np.zeros((layout.recipe.mix.planes, *x_um.shape), np.float32)
        planes[PLANE_GROUND] = np.clip(ground, 0, None)
        planes[PLANE_HAEMATOXYLIN] = np.clip(nuclear, 0, None)
        return planes, tissue

    def _scatter(
        self, corner_um: np.ndarray, pitch_um: float, jitter: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Points of a jittered grid over a block, as columns of x and y."""
        count = round(BLOCK_UM / pitch_um)
        rows, cols = np.mgrid[:count, :count]
        cols = cols + 0.5 * (rows % 2)  # rows are staggered, since squares would be visible
        places = np.stack([cols.ravel(), rows.ravel()], 1) + 0.5 + rng.uniform(-jitter, jitter, (count * count, 2))
        places = (corner_um + places * (BLOCK_UM / count)).astype(np.float32)
        return np.ascontiguousarray(places[:, :1]), np.ascontiguousarray(places[:, 1:])

    def _block(self, col: int, row: int) -> tuple[Nuclei, ...]:
        layout = self.layout
        rng = np.random.default_rng([layout.seed, 5, col, row])
        corner = np.array([col, row]) * BLOCK_UM
        around = np.array([[0.0, 0.5, 1.0]], np.float32) * BLOCK_UM
        depth = layout.tissue.at(
            (corner[0] + around).repeat(3, 0).astype(np.float32), (corner[1] + around.T).repeat(3, 1).astype(np.float32)
        )
        if depth.max() < -BLOCK_UM:
            return ()

        def nuclei(
            kind: str, x: np.ndarray, y: np.ndarray, keep: np.ndarray, turn: np.ndarray | None, brown: float
        ) -> Nuclei:
            xy = np.concatenate([x, y], 1)[keep]
            turns = rng.uniform(0, np.pi, len(xy)) if turn is None else turn[keep] + rng.normal(0, 0.18, len(xy))
            variants = rng.integers(KINDS[kind].variants, size=len(xy))
            return Nuclei(kind=kind, xy_um=xy, turn=turns, variant=variants, brown=rng.random(len(xy)) < brown)

        x, y = self._scatter(corner, 11.5, 0.42, rng)
        nest = np.minimum(layout.dense.at(x, y) - 3, self.septa(x, y))
        tumour = nuclei("tumour", x, y, ((nest > 0) & (rng.random(nest.shape) < 0.94)).ravel(), None, 0.55)

        x, y = self._scatter(corner, 24.0, 0.5, rng)
        free = np.minimum.reduce(
            [
                layout.tissue.at(x, y) - 6,
                -layout.fat.at(x, y) - 4,
                np.maximum(-layout.dense.at(x, y), -self.septa(x, y)),
            ]
        )
        step = np.float32(4.0)
        across = layout.across
        slope = (across.at(x + step, y) - across.at(x - step, y), across.at(x, y + step) - across.at(x, y - step))
        turn = np.arctan2(slope[0], -slope[1]).ravel()  # fibres run where `across` stays the same
        spindle = nuclei("spindle", x, y, ((free > 0) & (rng.random(free.shape) < 0.6)).ravel(), turn, 0.02)

        x, y = self._scatter(corner, 8.6, 0.45, rng)
        free = np.minimum.reduce(
            [
                layout.tissue.at(x, y) - 5,
                -layout.fat.at(x, y) - 3,
                np.maximum(-layout.dense.at(x, y) - 2, -self.septa(x, y)),
            ]
        )
        lymphocyte = nuclei(
            "lymphocyte", x, y, ((free > 0) & (rng.random(free.shape) < layout.infiltrate.at(x, y))).ravel(), None, 0.03
        )
        return spindle, lymphocyte, tumour

    def add_nuclei(self, planes: np.ndarray, xy_px: tuple[int, int]) -> None:
        """Stamp all loose nuclei that reach into a part of the slide.

        Args:
            planes: (planes, h, w) float32, changed in place.
            xy_px: Its top-left corner in level-0 pixels.
        """
        mpp = self.layout.mpp
        height, width = planes.shape[1:]
        left, top = xy_px[0] * mpp - REACH_UM, xy_px[1] * mpp - REACH_UM
        right, bottom = (xy_px[0] + width) * mpp + REACH_UM, (xy_px[1] + height) * mpp + REACH_UM
        for row in range(int(top // BLOCK_UM), int(bottom // BLOCK_UM) + 1):
            for col in range(int(left // BLOCK_UM), int(right // BLOCK_UM) + 1):
                if row < 0 or col < 0:
                    continue
                for group in self.block(col, row):
                    x, y = group.xy_um.T
                    for i in np.flatnonzero((x > left) & (x < right) & (y > top) & (y < bottom)):
                        plane = PLANE_DAB if group.brown[i] and len(planes) > PLANE_DAB else PLANE_HAEMATOXYLIN
                        place = (x[i] / mpp - xy_px[0], y[i] / mpp - xy_px[1])
                        stamp(planes[plane], group.kind, int(group.variant[i]), float(group.turn[i]), place, mpp)
