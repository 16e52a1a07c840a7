"""What ingest would make of a slide, to be looked at before it is run."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedstore.config import ReadingConfig, TilingConfig, TissueConfig
from embedstore.slides.readers.opening import choose_slide, open_slide
from embedstore.slides.slide import Slide
from embedstore.slides.sources.source import SlideSource
from embedstore.slides.tiling.grid import lay_tiles
from embedstore.slides.tiling.resolution import check_fine_enough, resolve_mpp
from embedstore.slides.tissue.detection import slide_tissue
from embedstore.slides.tissue.mask import TissueMask
from embedstore.slides.tissue.mask_geojson import write_mask
from embedstore.slides.tissue.overlay import draw_overlay, write_png
from embedstore.slides.tissue.thumbnail import Thumbnail, read_thumbnail

PICTURE_PX = 1600  # longer side of the overlay


@dataclass(frozen=True, kw_only=True, eq=False)
class TissueReport:
    """Tissue and tiles of one slide, with a picture to draw them on.

    Attributes:
        slide_id: The slide.
        reader: Which reader was chosen.
        passed_over: {reader: why it was not chosen}.
        mpp: Level-0 resolution as used, µm/px.
        size_l0: (width, height) of level 0, pixels.
        thumbnail: The picture.
        tissue: The mask.
        xy_l0: (n, 2) int32 corners of the tiles, level-0 pixels.
        edge_l0: Edge of a tile, level-0 pixels.
        level: Level that tiles are read from.
        no_tile: Why there is no tile; None where there are some.
        warnings: What ingest would keep with the slide.
    """

    slide_id: str
    reader: str
    passed_over: dict[str, str]
    mpp: float
    size_l0: tuple[int, int]
    thumbnail: Thumbnail
    tissue: TissueMask
    xy_l0: NDArray[np.int32]
    edge_l0: int
    level: int
    no_tile: str | None
    warnings: tuple[str, ...]

    def write(self, folder: str | Path, *, tiles: bool = True) -> tuple[Path, Path]:
        """Write NAME.tissue.png and NAME.tissue.geojson, NAME being the last part of the slide's id, and say where."""
        stem = self.slide_id.rsplit("/", 1)[-1]
        picture, mask = Path(folder, f"{stem}.tissue.png"), Path(folder, f"{stem}.tissue.geojson")
        corners = self.xy_l0 if tiles else None
        write_png(draw_overlay(self.thumbnail, self.tissue, xy_l0=corners, edge_l0=self.edge_l0), picture)
        write_mask(self.tissue, mask)
        return picture, mask


def report_tissue(
    source: SlideSource, *, tiling: TilingConfig, tissue: TissueConfig, reading: ReadingConfig
) -> TissueReport:
    """Find tissue and lay tiles as `plan_slide` does, without an error where no tile is left; other errors as there."""
    slide, passed_over = _open(source.path, reading.reader)
    with slide:
        mpp, warnings = resolve_mpp(slide, source.slide_id, source.mpp)
        check_fine_enough(mpp, tiling.mpp, source.slide_id)
        found = slide_tissue(slide, source.tissue, tissue, mpp)
        layout = lay_tiles(slide, found, tiling, mpp)
        _, _, width, height = slide.bounds_l0
        picture_mpp = max(1.0, max(width, height) / PICTURE_PX) * mpp
        return TissueReport(
            slide_id=source.slide_id,
            reader=slide.reader,
            passed_over=passed_over,
            mpp=mpp,
            size_l0=slide.size_l0,
            thumbnail=read_thumbnail(slide, mpp_l0=mpp, mpp=picture_mpp),
            tissue=found,
            xy_l0=layout.xy_l0[layout.enough],
            edge_l0=layout.edge_l0,
            level=layout.level,
            no_tile=None if layout.enough.any() else layout.why_none(found, tiling),
            warnings=(*slide.warnings, *warnings, *found.warnings),
        )


def _open(path: str, reader: str) -> tuple[Slide, dict[str, str]]:
    if reader != "auto":
        return open_slide(path, reader=reader), {}
    choice = choose_slide(path)
    return choice.slide, choice.passed_over
