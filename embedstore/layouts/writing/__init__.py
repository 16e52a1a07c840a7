"""Vectors of tiles in the files of other tools: written, a slide at a time."""

from embedstore.layouts.writing.mark import is_done, make_mark
from embedstore.layouts.writing.registry import WRITTEN_LAYOUTS, WrittenLayout
from embedstore.layouts.writing.slide_names import renamed, slide_names
from embedstore.layouts.writing.slide_tiles import COLUMNS, SlideTiles

__all__ = [
    "COLUMNS",
    "SlideTiles",
    "WRITTEN_LAYOUTS",
    "WrittenLayout",
    "is_done",
    "make_mark",
    "renamed",
    "slide_names",
]
