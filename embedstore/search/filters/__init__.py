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

__all__ = [
    "Selection",
    "filter_columns",
    "filter_tiles",
    "project_slides",
    "select_slides",
    "select_tiles",
    "slides_where",
]
