"""Tiling: which tiles of a slide are read, at which resolution, and reading them."""

from embedstore.slides.tiling.resolution import COARSER_TOLERANCE, best_level, check_fine_enough, resolve_mpp
from embedstore.slides.tiling.slide_grid import edge_and_stride, tile_grid
from embedstore.slides.tiling.slide_plan import SlidePlan, fingerprint, fingerprint_of, plan_slide
from embedstore.slides.tiling.tile_reader import TileReader, read_tile
from embedstore.slides.tiling.tissue_report import TissueReport, report_tissue

__all__ = [
    "COARSER_TOLERANCE",
    "SlidePlan",
    "TileReader",
    "TissueReport",
    "best_level",
    "check_fine_enough",
    "edge_and_stride",
    "fingerprint",
    "fingerprint_of",
    "plan_slide",
    "read_tile",
    "report_tissue",
    "resolve_mpp",
    "tile_grid",
]
