"""Lay square tiles over a slide, and measure the tissue in each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedstore.config import TilingConfig
from embedstore.errors import TilingError
from embedstore.quantities import rounded
from embedstore.slides.slide import Slide
from embedstore.slides.tiling.resolution import best_level
from embedstore.slides.tissue.detection import PEN_WARNING
from embedstore.slides.tissue.mask import TissueMask

SAME_MPP = 0.005  # of the resolution: no scanner's own mpp is more exact


def tile_grid(
    origin_l0: tuple[int, int], size_l0: tuple[int, int], *, edge_l0: int, stride_l0: int
) -> NDArray[np.int32]:
    """Cover a rectangle of a slide with square tiles, row by row.

    Args:
        origin_l0: (x, y) of the rectangle, level-0 pixels; the first tile starts there.
        size_l0: (width, height) of the rectangle, level-0 pixels.
        edge_l0: Edge of a tile, level-0 pixels.
        stride_l0: Distance between neighbouring tiles, level-0 pixels; they overlap where it is less than `edge_l0`.
    Returns:
        Top-left corners, (n, 2) int32 as (x, y), level-0 pixels. Tiles that would cross the edge are left out; n is 0
        where no tile fits.
    Raises:
        TilingError: the edge or the stride is not positive.
    """
    if edge_l0 < 1 or stride_l0 < 1:
        raise TilingError(f"tiles of {edge_l0} px every {stride_l0} px; expected 1 or more level-0 pixels")
    xs, ys = (
        np.arange(start, start + length - edge_l0 + 1, stride_l0, dtype=np.int32)
        for start, length in zip(origin_l0, size_l0, strict=True)
    )
    x, y = np.meshgrid(xs, ys)
    return np.stack([x.ravel(), y.ravel()], axis=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class TileGrid:
    """The grid over a slide, before tiles with too little tissue are removed.

    Attributes:
        xy_l0: (n, 2) int32 top-left corners, level-0 pixels, row by row.
        shares: (n,) float32 share of tissue in each tile.
        enough: (n,) bool: the share is above zero and at least `TilingConfig.min_tissue`.
        edge_l0: Edge of a tile, level-0 pixels.
        level: Level to read from.
        size_l0: (width, height) of the area that the grid covers, level-0 pixels.
    """

    xy_l0: NDArray[np.int32]
    shares: NDArray[np.float32]
    enough: NDArray[np.bool_]
    edge_l0: int
    level: int
    size_l0: tuple[int, int]

    def why_none(self, tissue: TissueMask, tiling: TilingConfig) -> str:
        """Why no tile has enough tissue, for the user."""
        width, height = self.size_l0
        if len(self.xy_l0) == 0:
            return (
                f"it has {width}×{height} px at level 0, and a tile of {tiling.tile_px} px at {tiling.mpp:g} µm/px "
                f"takes {self.edge_l0}×{self.edge_l0}"
            )
        pen = [line for line in tissue.warnings if line.startswith(PEN_WARNING)]
        hint = f"; {pen[0]}: exclude_pen = false keeps areas with the colour of ink" if pen else ""
        return (
            f"0 of {rounded(tissue.area_mm2, 2)} mm² tissue above min fraction {tiling.min_tissue:g}; the best of "
            f"{len(self.xy_l0)} places has {float(self.shares.max()):.2g}{hint}; lower --min-tissue, or give a mask "
            "(column tissue of a slide list)"
        )


def lay_grid(slide: Slide, tissue: TissueMask, tiling: TilingConfig, mpp: float) -> TileGrid:
    """Lay the grid over the scanned part of a slide; `mpp` is the level-0 resolution, µm/px."""
    level = best_level(slide.level_downsamples, mpp=mpp, target_mpp=tiling.mpp)
    edge_l0, stride_l0 = edge_and_stride(tiling, mpp, slide.level_downsamples[level])
    x, y, width, height = slide.bounds_l0
    xy_l0 = tile_grid((x, y), (width, height), edge_l0=edge_l0, stride_l0=stride_l0)
    shares = tissue.shares(xy_l0, edge_l0)
    return TileGrid(
        xy_l0=xy_l0,
        shares=shares,
        enough=(shares >= tiling.min_tissue) & (shares > 0),
        edge_l0=edge_l0,
        level=level,
        size_l0=(width, height),
    )


def edge_and_stride(tiling: TilingConfig, mpp: float, downsample: float) -> tuple[int, int]:
    """Edge of a tile and distance between neighbouring tiles, level-0 pixels.

    Where the level's resolution is within half a percent of the target (0.499 µm/px for 0.5), the level's pixels are
    taken as they are, since resampling would blur every tile.

    Args:
        tiling: Edge and distance in pixels, and the target resolution.
        mpp: Level-0 resolution of the slide, µm/px.
        downsample: Level-0 pixels per pixel of the level that tiles are read from.
    """
    scale = tiling.mpp / mpp
    if abs(scale / downsample - 1) <= SAME_MPP:
        scale = downsample
    stride_px = tiling.stride_px or tiling.tile_px
    return max(1, round(tiling.tile_px * scale)), max(1, round(stride_px * scale))
