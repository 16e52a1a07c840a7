"""The layout of a synthetic slide: pieces of tissue, their regions, glands, vessels and the pen mark."""

from collections import defaultdict
from dataclasses import dataclass, field

import cv2
import numpy as np

from synthetic_slides.glands import Outline, lumpy_outline
from synthetic_slides.noise import smooth_field
from synthetic_slides.pen_mark import PenColour, PenMark
from synthetic_slides.stain_mix import StainMix

MAP_CELLS = 1500  # most cells along the longer side of a map: each map of any slide stays below 10 MB
FINEST_CELL_PX = 8
SMALLEST_MARKED = 4  # times a pen's width: on a smaller slide the mark would cover nearly everything
LONGEST_MARK_UM = 6000.0


@dataclass(frozen=True, kw_only=True)
class SlideRecipe:
    """The content of a synthetic slide.

    Attributes:
        mix: Its stains.
        pieces: Number of pieces of tissue, side by side.
        glands: Share of the tissue that is mucosa with glands, 0 to 1.
        dense: Share of the tissue with nests of dense nuclei, 0 to 1.
        fat: Share of the tissue that is fat, 0 to 1.
        pen: Colour of the pen mark; None for a slide without one.
        pen_width_um: Width of the pen mark, µm; felt-tip pens draw 300 to 1000. A slide that is less than four times as
            high or wide gets no mark.
    """

    mix: StainMix = field(default_factory=StainMix)
    pieces: int = 1
    glands: float = 0.4
    dense: float = 0.2
    fat: float = 0.12
    pen: PenColour | None = "blue"
    pen_width_um: float = 300.0


@dataclass(frozen=True, kw_only=True, eq=False)
class FieldMap:
    """A quantity known on a coarse grid over the slide.

    Attributes:
        values: (rows, cols) float32, at the cells' centres.
        cell_um: Edge of a cell, µm.
    """

    values: np.ndarray
    cell_um: float

    def at(self, x_um: np.ndarray, y_um: np.ndarray) -> np.ndarray:
        """Its values at given places; the arrays are two-dimensional, with sides below 32,767."""
        scale = np.float32(1 / self.cell_um)
        return cv2.remap(
            self.values, x_um * scale - 0.5, y_um * scale - 0.5, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """Where everything lies on a slide, in micrometres from its top-left corner; pixels are painted from it.

    Attributes:
        size_px: (width, height) in level-0 pixels.
        mpp: Micrometres per level-0 pixel.
        seed: The seed that it was drawn from.
        recipe: The recipe that it was drawn by.
        tissue: Signed distance into the tissue, µm: positive inside.
        mucosa: Signed distance into the part with glands, µm.
        dense: Signed distance into the areas of dense nuclei, µm.
        fat: Signed distance into fat, µm.
        infiltrate: Share of places that hold a lymphocyte, 0 to 1.
        across: Coordinate across the fibres, µm.
        along: Coordinate along the fibres, µm.
        glands: Outlines of the glands.
        vessels: Outlines of the blood vessels.
        pen: The pen mark; None where there is none.
    """

    size_px: tuple[int, int]
    mpp: float
    seed: int
    recipe: SlideRecipe
    tissue: FieldMap
    mucosa: FieldMap
    dense: FieldMap
    fat: FieldMap
    infiltrate: FieldMap
    across: FieldMap
    along: FieldMap
    glands: tuple[Outline, ...]
    vessels: tuple[Outline, ...]
    pen: PenMark | None


def _signed_distance_um(mask: np.ndarray, cell_um: float) -> np.ndarray:
    """Distance to the border of the mask, µm: positive inside."""
    inside = np.pad(mask.astype(np.uint8), 1)  # beyond the slide is outside
    to_outside = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    to_inside = (
        cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5) if mask.any() else np.full(inside.shape, 1e4, np.float32)
    )
    return np.ascontiguousarray(((to_outside - to_inside)[1:-1, 1:-1] * cell_um).astype(np.float32))


def _blob(
    mask_shape: tuple[int, int], centre: np.ndarray, radii: np.ndarray, lumps: float, rng: np.random.Generator
) -> np.ndarray:
    points = lumpy_outline(centre, radii, rng.uniform(0, np.pi) if radii[0] == radii[1] else 0.0, lumps, rng)
    mask = np.zeros(mask_shape, np.uint8)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 1, shift=4)
    return mask.astype(bool)


class _Planner:
    """Draws a layout; all its steps share a grid and a source of randomness."""

    def __init__(self, size_px: tuple[int, int], mpp: float, seed: int, recipe: SlideRecipe) -> None:
        cell_px = max(FINEST_CELL_PX, -(-max(size_px) // MAP_CELLS))
        self.cell_um = cell_px * mpp
        self.shape = (-(-size_px[1] // cell_px), -(-size_px[0] // cell_px))
        self.size_um = np.array(size_px) * mpp
        self.rng = np.random.default_rng([seed, 1])
        self.recipe = recipe

    def smooth(self, wavelength_um: float) -> np.ndarray:
        return smooth_field(self.shape, wavelength_um / self.cell_um, self.rng)

    def tissue_mask(self) -> tuple[np.ndarray, np.ndarray]:
        """Pieces side by side, and the height of each place within its piece (-1 to 1, with noise)."""
        rows, cols = self.shape
        mask = np.zeros(self.shape, bool)
        height = np.zeros(self.shape, np.float32)
        y, x = np.mgrid[:rows, :cols].astype(np.float32)
        for piece in range(self.recipe.pieces):
            room = np.array([cols / self.recipe.pieces, rows])
            centre = room * (0.5 + self.rng.uniform(-0.03, 0.03, 2)) + [piece * room[0], 0]
            radii = room * self.rng.uniform(0.37, 0.41, 2)
            blob = _blob(self.shape, centre, radii, 0.11, self.rng)
            turn = self.rng.uniform(0, 2 * np.pi)
            rise = ((x - centre[0]) * np.cos(turn) / radii[0] + (y - centre[1]) * np.sin(turn) / radii[1]).astype(
                np.float32
            )
            height[blob] = rise[blob]
            mask |= blob
        extent_um = float(self.size_um.min())
        return mask, height + 0.22 * self.smooth(extent_um / 2.2) + 0.1 * self.smooth(extent_um / 6)

    def highest(self, height: np.ndarray, mask: np.ndarray, share: float) -> np.ndarray:
        """The highest part of the tissue, a given share of its area."""
        if share <= 0 or not mask.any():
            return np.zeros(self.shape, bool)
        return mask & (height > np.quantile(height[mask], 1 - share))

    def dense_mask(self, mask: np.ndarray, free: np.ndarray) -> np.ndarray:
        """Blobs in the free part of the tissue, until the recipe's share of dense nuclei is reached."""
        dense = np.zeros(self.shape, bool)
        area = self.recipe.dense * mask.sum()
        choices = np.argwhere(free)
        if not len(choices):
            return dense
        blobs = 1 + int(np.sqrt(self.recipe.dense * mask.sum()) * self.cell_um / 900)
        radius = np.sqrt(area / blobs / np.pi)
        for _ in range(12 * blobs):
            if dense.sum() >= 0.9 * area:
                break
            centre = choices[self.rng.integers(len(choices))][::-1].astype(np.float64)
            radii = radius * self.rng.uniform(0.75, 1.25, 2)
            dense |= _blob(self.shape, centre, radii, 0.2, self.rng) & free
        return dense

    def flow(self) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates across and along the fibres: a plane bent by swirls."""
        rows, cols = self.shape
        y, x = ((np.mgrid[:rows, :cols] + 0.5) * self.cell_um).astype(np.float32)
        turn = self.rng.uniform(0, np.pi)
        swirl = 150 * self.smooth(1100) + 45 * self.smooth(420)
        across = -x * np.sin(turn) + y * np.cos(turn) + swirl + 9 * self.smooth(130)
        along = x * np.cos(turn) + y * np.sin(turn) + 120 * self.smooth(900)
        return across.astype(np.float32), along.astype(np.float32)

    def field_map(self, values: np.ndarray) -> FieldMap:
        return FieldMap(values=np.ascontiguousarray(values, np.float32), cell_um=self.cell_um)

    def place(
        self, room: FieldMap, *, radius_um: tuple[float, float], longest: float, count: int, gap_um: float
    ) -> tuple[Outline, ...]:
        """Place outlines at random in a region; those that would touch another one or the border are left out."""
        inside = np.argwhere(room.values > radius_um[0])
        if not len(inside) or count < 1:
            return ()
        picks = inside[self.rng.integers(len(inside), size=count)][:, ::-1]
        centres = (picks + self.rng.uniform(0, 1, (count, 2))) * self.cell_um
        radii = np.sort(self.rng.uniform(*radius_um, count))[::-1]  # large ones first; small ones fill the gaps
        stretch = 1 + (longest - 1) * self.rng.uniform(0, 1, count) ** 2.5
        turns = self.rng.uniform(0, np.pi, count)
        reach = 2 * (radius_um[1] + gap_um)
        taken: dict[tuple[int, int], list[tuple[float, float, float]]] = defaultdict(list)
        placed = []
        for centre, radius, long, turn, seed in zip(
            centres, radii, stretch, turns, self.rng.integers(1 << 31, size=count), strict=True
        ):
            # A long outline is a chain of discs.
            steps = np.linspace(-1, 1, int(np.ceil(2 * long)) - 1) * radius * (long - 1) if long > 1.25 else np.zeros(1)
            discs = centre + steps[:, None] * [np.cos(turn), np.sin(turn)]
            depth = room.at(discs[:, :1].astype(np.float32), discs[:, 1:].astype(np.float32))
            if depth.min() < radius * 1.05:
                continue
            cells = [(int(x // reach), int(y // reach)) for x, y in discs]
            near = [
                disc
                for i, j in set(cells)
                for u in (-1, 0, 1)
                for v in (-1, 0, 1)
                for disc in taken.get((i + u, j + v), ())
            ]
            if any(np.hypot(x - u, y - v) < radius * 1.08 + r + gap_um for x, y in discs for u, v, r in near):
                continue
            for cell, (x, y) in zip(cells, discs, strict=True):
                taken[cell].append((x, y, radius * 1.08))
            placed.append(Outline.draw(centre, np.array([radius * long, radius]), turn, int(seed)))
        return tuple(placed)

    def pen_mark(self, tissue: np.ndarray) -> PenMark | None:
        """An arc over the border of the tissue, as drawn to mark a place of interest."""
        extent_um, width_um = float(self.size_um.min()), self.recipe.pen_width_um
        if self.recipe.pen is None or extent_um < SMALLEST_MARKED * width_um or not (tissue > 0).any():
            return None
        border = np.argwhere(np.abs(tissue) < 1.5 * self.cell_um)
        t = np.linspace(-1, 1, 60)[:, None]
        wobble = np.cumsum(self.rng.normal(0, 0.004, (60, 2)), axis=0)
        half_length_um = np.clip(0.16 * extent_um, 1.2 * width_um, LONGEST_MARK_UM / 2)
        best, best_share = np.empty((0, 2)), -1.0
        # Of 24 places, the one where most of the arc lies on the slide.
        for pick in self.rng.integers(len(border), size=24):
            start = (border[pick][::-1] + 0.5) * self.cell_um
            inward = self.size_um / 2 - start
            inward /= max(float(np.hypot(*inward)), 1e-6)
            side = np.array([-inward[1], inward[0]])
            points = start - 0.5 * half_length_um * inward
            points = points + half_length_um * (t * side + 0.5 * t**2 * inward + wobble)
            share = float(((points > 0.5 * width_um) & (points < self.size_um - 0.5 * width_um)).all(1).mean())
            if share > best_share:
                best, best_share = points, share
        return PenMark(points_um=best.astype(np.float32), width_um=width_um, colour=self.recipe.pen)

    def infiltrate(self, mucosa: np.ndarray, dense: np.ndarray) -> np.ndarray:
        """Density of lymphocytes: between glands, around tumours, and in scattered clusters."""
        clusters = np.clip(self.smooth(420) - 1.35, 0, 1)
        around = np.exp(-(((dense + 35) / 45) ** 2)) * np.clip(0.5 + self.smooth(350), 0, 1)
        between = np.clip(mucosa / 60, 0, 1) * np.clip(0.42 + 0.18 * self.smooth(180), 0.06, 0.7)
        return np.clip(0.9 * clusters + 0.35 * around + between, 0, 0.85)


def draw_layout(size_px: tuple[int, int], mpp: float, seed: int, recipe: SlideRecipe) -> Layout:
    """Draw the layout of a slide; the same arguments give the same layout."""
    planner = _Planner(size_px, mpp, seed, recipe)
    mask, height = planner.tissue_mask()
    tissue = _signed_distance_um(mask, planner.cell_um) + 12 * planner.smooth(260) + 4 * planner.smooth(70)
    extent_um = float(planner.size_um.min())
    margin_um = min(60.0, 0.02 * extent_um)
    fat_mask = planner.highest(-height, mask & (tissue > 0.5 * margin_um), recipe.fat)
    dense_mask = planner.dense_mask(mask, mask & ~fat_mask)
    mucosa_mask = planner.highest(height, mask & ~fat_mask, recipe.glands) & ~dense_mask
    dense, fat = (_signed_distance_um(part, planner.cell_um) for part in (dense_mask, fat_mask))
    dense += 14 * planner.smooth(170)  # the border of a tumour is irregular
    mucosa = _signed_distance_um(mucosa_mask, planner.cell_um)
    across, along = planner.flow()

    room = planner.field_map(np.minimum(mucosa, tissue - 6))
    mucosa_um2 = float(mucosa_mask.sum()) * planner.cell_um**2
    glands = planner.place(room, radius_um=(25, 48), longest=3.2, count=int(mucosa_um2 / 400), gap_um=4)
    stroma = np.minimum.reduce([tissue, -mucosa, -dense, -fat])
    stroma_um2 = float((stroma > 0).sum()) * planner.cell_um**2
    vessels = planner.place(
        planner.field_map(stroma), radius_um=(14, 60), longest=2.2, count=int(stroma_um2 / 90_000), gap_um=25
    )
    return Layout(
        size_px=size_px,
        mpp=mpp,
        seed=seed,
        recipe=recipe,
        tissue=planner.field_map(tissue),
        mucosa=planner.field_map(mucosa),
        dense=planner.field_map(dense),
        fat=planner.field_map(fat),
        infiltrate=planner.field_map(planner.infiltrate(mucosa, dense)),
        across=planner.field_map(across),
        along=planner.field_map(along),
        glands=glands,
        vessels=vessels,
        pen=planner.pen_mark(tissue),
    )
