"""Filters: SQL conditions over everything that is known of a tile, its slide, its labels and its predictions."""

from embedstore.search.filters.selection import (
    Selection,
    filter_columns,
    filter_tiles,
    project_slides,
    select_slides,
    select_tiles,
    slides_where,
)
from embedstore.search.filters.tile_page import TilePage, tile_page

__all__ = [
    "Selection",
    "TilePage",
    "filter_columns",
    "filter_tiles",
    "project_slides",
    "select_slides",
    "select_tiles",
    "slides_where",
    "tile_page",
]
