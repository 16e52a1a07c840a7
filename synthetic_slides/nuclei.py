"""Small bodies (nuclei of four kinds, goblets, red cells), painted once and stamped many times."""

from dataclasses import dataclass
from functools import cache, lru_cache

import cv2
import numpy as np

ANGLES = 24  # orientations of a sprite over half a turn: 7.5° apart, too little to see


@dataclass(frozen=True, kw_only=True)
class BodyKind:
    """Shape and stain of a kind of body.

    Attributes:
        length_um: Longest axis: mean and deviation, µm.
        width_um: Shortest axis: mean and deviation, µm.
        density: Amount of stain: mean and deviation.
        rim: Extra stain of the membrane, as a share of that inside.
        grain: Contrast of the chromatin.
        grain_um: Size of its clumps, µm.
        nucleoli: Largest number of nucleoli.
        lumpiness: Deviation of the outline from an ellipse.
        variants: Number of individuals that are drawn.
    """

    length_um: tuple[float, float]
    width_um: tuple[float, float]
    density: tuple[float, float]
    rim: float
    grain: float
    grain_um: float
    nucleoli: int
    lumpiness: float
    variants: int


KINDS = {
    "lymphocyte": BodyKind(
        length_um=(7.2, 0.6),
        width_um=(6.6, 0.5),
        density=(1.75, 0.2),
        rim=0.15,
        grain=0.28,
        grain_um=1.6,
        nucleoli=0,
        lumpiness=0.05,
        variants=24,
    ),
    "spindle": BodyKind(
        length_um=(16.0, 3.5),
        width_um=(3.0, 0.6),
        density=(1.35, 0.2),
        rim=0.1,
        grain=0.15,
        grain_um=1.6,
        nucleoli=0,
        lumpiness=0.08,
        variants=16,
    ),
    "columnar": BodyKind(
        length_um=(11.5, 1.4),
        width_um=(5.6, 0.6),
        density=(1.3, 0.18),
        rim=0.25,
        grain=0.25,
        grain_um=1.8,
        nucleoli=1,
        lumpiness=0.05,
        variants=20,
    ),
    "tumour": BodyKind(
        length_um=(13.0, 2.6),
        width_um=(9.6, 1.7),
        density=(1.15, 0.28),
        rim=0.45,
        grain=0.34,
        grain_um=2.2,
        nucleoli=3,
        lumpiness=0.1,
        variants=48,
    ),
    "goblet": BodyKind(
        length_um=(14.0, 2.5),
        width_um=(8.0, 1.2),
        density=(1.0, 0.0),
        rim=0.0,
        grain=0.0,
        grain_um=2.0,
        nucleoli=0,
        lumpiness=0.06,
        variants=8,
    ),
    "red cell": BodyKind(
        length_um=(6.8, 0.5),
        width_um=(6.2, 0.6),
        density=(1.0, 0.1),
        rim=0.5,
        grain=0.05,
        grain_um=2.0,
        nucleoli=0,
        lumpiness=0.05,
        variants=8,
    ),
}


@cache
def _individual(kind: str, variant: int, mpp: float) -> np.ndarray:
    """One body lying along x: (side, side) float32, side odd, amount of stain."""
    shape = KINDS[kind]
    rng = np.random.default_rng([sum(kind.encode()), variant])
    length = max(rng.normal(*shape.length_um), 0.5 * shape.length_um[0]) / 2
    width = min(max(rng.normal(*shape.width_um), 0.5 * shape.width_um[0]) / 2, length)
    half_px = int(np.ceil(length * 1.25 / mpp)) + 1
    across, along = np.mgrid[-half_px : half_px + 1, -half_px : half_px + 1].astype(np.float32) * np.float32(mpp)
    if kind == "spindle":  # spindle nuclei are bent
        across = across - np.float32(rng.normal(0, 0.014)) * along**2
    theta = np.arctan2(across / width, along / length)
    outline = np.ones_like(theta)
    for order in (2, 3, 4, 5):
        outline += shape.lumpiness / order * rng.normal() * np.cos(order * theta + rng.uniform(0, 2 * np.pi))
    edge_um = (1 - np.hypot(along / length, across / width) / outline) * width  # depth below the membrane, roughly
    inside = np.clip(0.5 + edge_um / 0.7, 0, 1)
    stain = 1 - shape.rim * np.clip(edge_um / 1.4 - 0.6, 0, 1)
    grain_px = max(shape.grain_um / 2.4 / mpp, 0.3)
    grain = cv2.GaussianBlur(rng.standard_normal(along.shape).astype(np.float32), (0, 0), grain_px)
    stain = stain * (1 + shape.grain * grain / max(float(grain.std()), 1e-6))
    for _ in range(rng.integers(0, shape.nucleoli + 1)):
        centre = rng.uniform(-0.5, 0.5, 2) * (length, width)
        distance_um = np.hypot(along - centre[0], across - centre[1])
        stain += 0.7 * np.exp(-((distance_um / rng.uniform(0.7, 1.2)) ** 2))
    density = max(rng.normal(*shape.density), 0.5 * shape.density[0])
    if kind == "tumour" and rng.random() < 0.12:  # a hyperchromatic one
        density *= 1.5
    return np.ascontiguousarray(np.clip(inside * stain, 0, None) * density, np.float32)


@lru_cache(maxsize=8192)
def body_sprite(kind: str, variant: int, angle: int, mpp: float) -> np.ndarray:
    """One body on an empty ground.

    Args:
        kind: A key of `KINDS`.
        variant: Index of the individual, 0 to `variants` - 1.
        angle: Orientation of the long axis, in steps of 180° / `ANGLES`.
        mpp: Micrometres per pixel.
    Returns:
        (side, side) float32, amount of stain; the body's centre is in the middle.
    """
    # Drawn once at twice the resolution, then rotated: 0.03 ms a sprite instead of 0.7.
    unrotated = _individual(kind, variant, mpp / 2)
    middle = unrotated.shape[0] // 2
    half = middle // 2 + 1
    turn = np.pi * angle / ANGLES
    cosine, sine = 2 * np.cos(turn), 2 * np.sin(turn)
    to_unrotated = np.array(
        [[cosine, sine, middle - half * (cosine + sine)], [-sine, cosine, middle - half * (cosine - sine)]]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(unrotated, to_unrotated, (2 * half + 1, 2 * half + 1), flags=flags)


def stamp(
    plane: np.ndarray,
    kind: str,
    variant: int,
    angle_rad: float,
    xy_px: tuple[float, float],
    mpp: float,
    gain: float = 1.0,
) -> None:
    """Put a body onto a stain plane, in place; where two bodies overlap, the darker one shows.

    Args:
        plane: (h, w) float32.
        kind: A key of `KINDS`.
        variant: Index of the individual.
        angle_rad: Orientation of the long axis, radians, x towards y.
        xy_px: Its centre, pixels of the plane; it may lie outside the plane.
        mpp: Micrometres per pixel.
        gain: Factor for its amount of stain.
    """
    angle = round(angle_rad / np.pi * ANGLES) % ANGLES
    sprite = body_sprite(kind, variant % KINDS[kind].variants, angle, mpp)
    side = sprite.shape[0]
    x, y = round(xy_px[0]) - side // 2, round(xy_px[1]) - side // 2
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + side, plane.shape[1]), min(y + side, plane.shape[0])
    if left >= right or top >= bottom:
        return
    part = sprite[top - y : bottom - y, left - x : right - x]
    target = plane[top:bottom, left:right]
    np.maximum(target, part if gain == 1.0 else part * np.float32(gain), out=target)
