"""Tissue: a thumbnail of a slide, the tissue on it without pen marks, and masks as GeoJSON and as pictures."""

from embedstore.slides.tissue.detection import PEN_WARNING, find_tissue, slide_tissue, tissue_of
from embedstore.slides.tissue.mask import TissueMask, mask_shares, whole_slide
from embedstore.slides.tissue.mask_geojson import read_mask, write_mask
from embedstore.slides.tissue.overlay import draw_overlay, png_bytes
from embedstore.slides.tissue.thumbnail import Thumbnail, read_thumbnail

__all__ = [
    "PEN_WARNING",
    "Thumbnail",
    "TissueMask",
    "draw_overlay",
    "find_tissue",
    "mask_shares",
    "read_mask",
    "read_thumbnail",
    "slide_tissue",
    "tissue_of",
    "whole_slide",
    "write_mask",
    "png_bytes",
]
