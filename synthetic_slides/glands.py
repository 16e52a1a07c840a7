"""Structures with an outline: glands (epithelium around a lumen) and blood vessels (muscle around red cells)."""

from dataclasses import dataclass

import cv2
import numpy as np

from synthetic_slides.noise import grain_texture, sample_texture
from synthetic_slides.nuclei import stamp
from synthetic_slides.stain_mix import PLANE_DAB, PLANE_GROUND, PLANE_HAEMATOXYLIN

OUTLINE_POINTS = 96


def lumpy_outline(
    centre: np.ndarray, radii: np.ndarray, turn: float, lumps: float, rng: np.random.Generator
) -> np.ndarray:
    """A closed, wobbly ellipse.

    Args:
        centre: (x, y).
        radii: Half axes, along `turn` and across it.
        turn: Orientation, radians.
        lumps: Amplitude of the wobble, as a share of the radius.
        rng: Source of randomness.
    Returns:
        (n, 2) float64 in the unit of `centre`.
    """
    theta = np.linspace(0, 2 * np.pi, OUTLINE_POINTS, endpoint=False)
    wobble = 1 + sum(
        lumps * 1.6 / order * rng.normal() * np.cos(order * theta + rng.uniform(0, 2 * np.pi)) for order in range(2, 8)
    )
    x, y = radii[0] * np.cos(theta) * wobble, radii[1] * np.sin(theta) * wobble
    return np.stack(
        [centre[0] + x * np.cos(turn) - y * np.sin(turn), centre[1] + x * np.sin(turn) + y * np.cos(turn)], 1
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Outline:
    """The border of a gland or vessel.

    Attributes:
        points_um: (n, 2) float32, a closed line, µm from the slide's top-left corner.
        radius_um: Half its width, µm.
        seed: Its inside is drawn from it.
    """

    points_um: np.ndarray
    radius_um: float
    seed: int

    @classmethod
    def draw(cls, centre_um: np.ndarray, radii_um: np.ndarray, turn: float, seed: int) -> "Outline":
        """A bent, wobbly ellipse around a centre."""
        rng = np.random.default_rng([seed, 2])
        points = lumpy_outline(np.zeros(2), radii_um, 0.0, 0.035, rng)
        points[:, 1] += rng.normal(0, 0.1) * radii_um[1] * ((points[:, 0] / radii_um[0]) ** 2 - 0.5)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        points = points @ rotation.T + centre_um
        return cls(points_um=points.astype(np.float32), radius_um=float(radii_um[1]), seed=seed)

    def box_um(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom, µm."""
        low, high = self.points_um.min(0), self.points_um.max(0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


@dataclass(frozen=True, kw_only=True, eq=False)
class Patch:
    """A painted gland or vessel that is laid over the slide.

    Attributes:
        xy_px: Its top-left corner in level-0 pixels.
        planes: (planes, h, w) float32, amounts of stain.
        alpha: (h, w) float32, its opacity, 0 to 1.
    """

    xy_px: tuple[int, int]
    planes: np.ndarray
    alpha: np.ndarray

    def lay_over(self, planes: np.ndarray, xy_px: tuple[int, int]) -> None:
        """Blend into stain planes whose top-left corner is at `xy_px`, in place."""
        x, y = self.xy_px[0] - xy_px[0], self.xy_px[1] - xy_px[1]
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + self.alpha.shape[1], planes.shape[2]), min(y + self.alpha.shape[0], planes.shape[1])
        if left >= right or top >= bottom:
            return
        window = np.s_[top - y : bottom - y, left - x : right - x]
        target = planes[:, top:bottom, left:right]
        target += self.alpha[window] * (self.planes[:, *window] - target)


class _Body:
    """An outline on a canvas of its own: the depth below its border, and points and normals of the border."""

    def __init__(self, outline: Outline, mpp: float, planes: int, margin_um: float) -> None:
        self.mpp = mpp
        self.rng = np.random.default_rng([outline.seed, 3])
        left, top, right, bottom = outline.box_um()
        self.xy_px = (int((left - margin_um) / mpp), int((top - margin_um) / mpp))
        size = (int((bottom + margin_um) / mpp) - self.xy_px[1] + 1, int((right + margin_um) / mpp) - self.xy_px[0] + 1)
        self.points = outline.points_um / mpp - self.xy_px
        mask = np.zeros(size, np.uint8)
        cv2.fillPoly(mask, [np.round(self.points * 16).astype(np.int32)], 1, shift=4)
        self.depth_um = cv2.GaussianBlur(cv2.distanceTransform(mask, cv2.DIST_L2, 5), (0, 0), 0.8) * np.float32(mpp)
        self.alpha = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.7 / mpp * 0.5)
        self.planes = np.zeros((planes, *size), np.float32)
        x, y = np.meshgrid(np.arange(size[1], dtype=np.float32), np.arange(size[0], dtype=np.float32))
        shift = self.rng.uniform(0, 500, 2).astype(np.float32)
        self.x_um, self.y_um = x * np.float32(mpp) + shift[0], y * np.float32(mpp) + shift[1]

    def grain(self, scale: float) -> np.ndarray:
        """Grain texture, enlarged `scale` times."""
        return sample_texture(grain_texture(), self.x_um / np.float32(scale), self.y_um / np.float32(scale))

    def along_border(self, spacing_um: float) -> tuple[np.ndarray, np.ndarray]:
        """Points about every `spacing_um` along the border, (n, 2) px, and the inward direction there, radians."""
        closed = np.concatenate([self.points, self.points[:1]])
        length = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(closed, axis=0).T))])
        count = max(int(length[-1] * self.mpp / spacing_um), 3)
        position = (np.arange(count) + self.rng.uniform(-0.3, 0.3, count)) / count * length[-1]
        x, y = (np.interp(position, length, closed[:, axis], period=length[-1]) for axis in (0, 1))
        ahead = position + 2 / self.mpp
        dx, dy = (np.interp(ahead, length, closed[:, axis], period=length[-1]) - now for axis, now in ((0, x), (1, y)))
        # The outline runs clockwise on the screen: inwards is to its right.
        return np.stack([x, y], 1), np.arctan2(dx, -dy)

    def patch(self) -> Patch:
        return Patch(xy_px=self.xy_px, planes=self.planes, alpha=self.alpha)


def paint_gland(outline: Outline, mpp: float, planes: int) -> Patch:
    """Paint a gland: columnar cells with nuclei at their base, goblets of mucin, a lumen.

    Args:
        outline: Its border.
        mpp: Micrometres per pixel.
        planes: Number of stain planes of the slide.
    """
    body = _Body(outline, mpp, planes, margin_um=3)
    rng = body.rng
    cell_um = min(rng.uniform(21, 29), 0.8 * outline.radius_um)
    coarse, fine = body.grain(3.0), body.grain(0.8)
    height = cell_um + 1.6 * coarse
    lumen = np.clip(0.5 + (body.depth_um - height) / 1.2, 0, 1)
    brush = np.exp(-(((body.depth_um - height + 1.0) / 1.3) ** 2))
    base = np.exp(-((body.depth_um / 1.1) ** 2))
    secretion = (0.10 + 0.06 * fine) * (rng.random() < 0.45) * np.clip(0.4 + coarse, 0, 1)
    ground = body.planes[PLANE_GROUND]
    ground[:] = (0.33 + 0.05 * fine + 0.035 * coarse + 0.16 * brush + 0.22 * base) * (1 - lumen) + secretion * lumen
    nuclear = body.planes[PLANE_HAEMATOXYLIN]
    nuclear[:] = (0.19 + 0.03 * fine + 0.05 * brush) * (1 - lumen) + 0.25 * secretion * lumen

    mucin = np.zeros_like(nuclear)
    goblets = rng.uniform(0.25, 0.85)
    points, inwards = body.along_border(8.5)
    for (x, y), turn in zip(points, inwards, strict=True):
        if rng.random() < goblets:
            depth = (cell_um - rng.uniform(6.5, 9.5)) / mpp
            centre = (x + depth * np.cos(turn), y + depth * np.sin(turn))
            stamp(mucin, "goblet", int(rng.integers(8)), turn, centre, mpp)
    mucin *= 1 - lumen
    ground *= 1 - 0.82 * mucin
    nuclear += mucin * (0.07 + 0.03 * fine - nuclear)

    brown = body.planes[PLANE_DAB] if planes > PLANE_DAB else None
    dark = rng.uniform(0.85, 1.1)
    points, inwards = body.along_border(5.4)
    for (x, y), turn in zip(points, inwards, strict=True):
        depth = rng.normal(6.8, 1.2) / mpp
        plane = brown if brown is not None and rng.random() < 0.08 else nuclear
        tilt = turn + rng.normal(0, 0.14)
        centre = (x + depth * np.cos(turn), y + depth * np.sin(turn))
        stamp(plane, "columnar", int(rng.integers(20)), tilt, centre, mpp, dark)
    return body.patch()


def paint_vessel(outline: Outline, mpp: float, planes: int) -> Patch:
    """Paint a blood vessel: a wall of muscle with flat nuclei, and red cells or nothing inside.

    Args:
        outline: Its border.
        mpp: Micrometres per pixel.
        planes: Number of stain planes of the slide.
    """
    body = _Body(outline, mpp, planes, margin_um=3)
    rng = body.rng
    wall_um = np.clip(rng.uniform(0.15, 0.5) * outline.radius_um, 3.5, 24)
    coarse, fine = body.grain(2.5), body.grain(0.7)
    lumen = np.clip(0.5 + (body.depth_um - wall_um - 0.9 * coarse) / 1.2, 0, 1)
    layers = 0.08 * np.sin(body.depth_um * 1.6 + 1.5 * coarse)
    ground, nuclear = body.planes[PLANE_GROUND], body.planes[PLANE_HAEMATOXYLIN]
    ground[:] = (0.55 + layers + 0.06 * fine) * (1 - lumen) + 0.02 * lumen
    nuclear[:] = 0.06 * (1 - lumen)
    cells = np.zeros_like(ground)
    if rng.random() < 0.65:
        inside = np.argwhere(body.depth_um > wall_um + 3)
        if len(inside):
            fill = rng.uniform(0.3, 1.0)
            count = int(len(inside) * mpp**2 / 30 * fill)
            for row, col in inside[rng.integers(len(inside), size=count)]:
                stamp(cells, "red cell", int(rng.integers(8)), 0.0, (float(col), float(row)), mpp)
    ground += cells * 0.75 * lumen
    for depth_um in np.arange(2.0, wall_um + 2, 5.5):
        points, inwards = body.along_border(26)
        for (x, y), turn in zip(points, inwards, strict=True):
            depth = depth_um / mpp
            centre = (x + depth * np.cos(turn), y + depth * np.sin(turn))
            stamp(nuclear, "spindle", int(rng.integers(16)), turn + np.pi / 2, centre, mpp, 0.9)
    return body.patch()
