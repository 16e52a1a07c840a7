"""A preview of the tissue and tiles that ingest would take from a slide."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from embedstore.config import ReadingConfig, TilingConfig, TissueConfig
from embedstore.output_files import atomic_write, file_name, require_folder
from embedstore.quantities import rounded
from embedstore.slides.remote import open_slide
from embedstore.slides.slide import Pixels
from embedstore.slides.sources.source import SlideSource
from embedstore.slides.tiling.resolution import check_fine_enough, resolve_mpp
from embedstore.slides.tiling.slide_grid import lay_grid
from embedstore.slides.tissue.detection import slide_tissue
from embedstore.slides.tissue.mask import TissueMask
from embedstore.slides.tissue.mask_geojson import write_mask
from embedstore.slides.tissue.overlay import draw_overlay, png_bytes
from embedstore.slides.tissue.thumbnail import Thumbnail, read_thumbnail

PICTURE_PX = 1600  # longer side of the overlay


@dataclass(frozen=True, kw_only=True, eq=False)
class TissueReport:
    """Tissue and tiles of one slide, and a picture to draw them on.

    Attributes:
        slide_id: The slide.
        reader: Name of the reader that opened it.
        passed_over: {reader: why it was not chosen}.
        mpp: Level-0 resolution that is used, µm/px.
        size_l0: (width, height) of level 0, pixels.
        thumbnail: The picture.
        tissue: The mask.
        xy_l0: (n, 2) int32 top-left corners of the tiles, level-0 pixels.
        edge_l0: Edge of a tile, level-0 pixels.
        level: Level that tiles are read from.
        no_tile: Why there is no tile; None where there are tiles.
        warnings: What a user should know; ingest stores them with the slide.
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

    def __repr__(self) -> str:
        width, height = self.size_l0
        tiles = self.no_tile or f"{len(self.xy_l0):,} tiles of {self.edge_l0} level-0 px"
        return (
            f"<TissueReport {self.slide_id!r}: {width}×{height} px at {self.mpp:g} µm/px, "
            f"tissue {rounded(self.tissue.area_mm2, 3)} mm², {tiles}>"
        )

    def _repr_png_(self) -> bytes:
        """The overlay, as a notebook shows it."""
        return png_bytes(self.overlay())

    def write(
        self, folder: str | Path, *, tiles: bool = True, origin: Literal["bounds", "level0"] = "bounds"
    ) -> tuple[Path, Path]:
        """Write NAME.tissue.png and NAME.tissue.geojson, where NAME is the last part of the slide's id.

        Args:
            folder: Where the files go; made if it is not there.
            tiles: Draw the tiles on the picture.
            origin: Where coordinates of the mask begin: `bounds`, the corner of the slide's image as QuPath shows it,
                or `level0`. The file records it, and reading it again is right either way.
        Returns:
            The paths of the two files.
        Raises:
            ExportError: nothing can be written there.
        """
        require_folder(folder)
        stem = self.slide_id.rsplit("/", 1)[-1]
        picture, mask = (Path(folder, file_name(stem, f".tissue.{form}")) for form in ("png", "geojson"))
        with atomic_write(picture) as part:
            part.write_bytes(png_bytes(self.overlay(tiles=tiles)))
        with atomic_write(mask) as part:
            write_mask(self.tissue, part, slide_id=self.slide_id, origin=origin)
        return picture, mask

    def overlay(self, *, tiles: bool = True) -> Pixels:
        """The slide with the outline of its tissue and, if `tiles`, its tiles: (height, width, 3) uint8 RGB."""
        corners = self.xy_l0 if tiles else None
        return draw_overlay(self.thumbnail, self.tissue, xy_l0=corners, edge_l0=self.edge_l0)


def report_tissue(
    source: SlideSource, *, tiling: TilingConfig, tissue: TissueConfig, reading: ReadingConfig
) -> TissueReport:
    """Find tissue and lay the grid as `plan_slide` does, with its errors; but a slide without tiles is not an error."""
    with open_slide(source.path, reader=reading.reader) as slide:
        mpp, warnings = resolve_mpp(slide, source.slide_id, source.mpp)
        check_fine_enough(mpp, tiling.mpp, source.slide_id)
        mask = slide_tissue(slide, source.tissue, tissue, mpp)
        grid = lay_grid(slide, mask, tiling, mpp)
        _, _, width, height = slide.bounds_l0
        picture_mpp = max(1.0, max(width, height) / PICTURE_PX) * mpp
        return TissueReport(
            slide_id=source.slide_id,
            reader=slide.reader,
            passed_over=slide.passed_over,
            mpp=mpp,
            size_l0=slide.size_l0,
            thumbnail=read_thumbnail(slide, mpp_l0=mpp, mpp=picture_mpp),
            tissue=mask,
            xy_l0=grid.xy_l0[grid.enough],
            edge_l0=grid.edge_l0,
            level=grid.level,
            no_tile=None if grid.enough.any() else grid.why_none(mask, tiling),
            warnings=(*slide.warnings, *warnings, *mask.warnings),
        )
