"""Slides: open one, find its tissue, lay the grid, read tiles."""

from embedstore.slides.find import find_slides
from embedstore.slides.geojson import read_mask, to_geojson, write_mask
from embedstore.slides.grid import mask_shares, tile_grid
from embedstore.slides.open import READERS, choose_slide, open_slide
from embedstore.slides.overlay import draw_overlay, write_png
from embedstore.slides.plan import SlidePlan, edge_and_stride, fingerprint, plan_slide, slide_tissue
from embedstore.slides.resolution import best_level, check_fine_enough, resolve_mpp
from embedstore.slides.slide import Slide
from embedstore.slides.source import MetadataValue, SlideSource
from embedstore.slides.threads import single_thread
from embedstore.slides.thumbnail import Thumbnail, read_thumbnail
from embedstore.slides.tile_folder import TileLabel, list_tiles, read_tile
from embedstore.slides.tiles import TileReader, read_square
from embedstore.slides.tissue import find_tissue, tissue_of
from embedstore.slides.tissue_mask import TissueMask, whole_slide
from embedstore.slides.tissue_report import TissueReport, report_tissue

__all__ = [
    "MetadataValue",
    "READERS",
    "Slide",
    "SlidePlan",
    "SlideSource",
    "Thumbnail",
    "TileLabel",
    "TileReader",
    "TissueMask",
    "TissueReport",
    "best_level",
    "check_fine_enough",
    "choose_slide",
    "draw_overlay",
    "edge_and_stride",
    "find_slides",
    "find_tissue",
    "fingerprint",
    "list_tiles",
    "mask_shares",
    "open_slide",
    "plan_slide",
    "read_mask",
    "read_square",
    "read_thumbnail",
    "read_tile",
    "report_tissue",
    "resolve_mpp",
    "single_thread",
    "slide_tissue",
    "tile_grid",
    "tissue_of",
    "to_geojson",
    "whole_slide",
    "write_mask",
    "write_png",
]
