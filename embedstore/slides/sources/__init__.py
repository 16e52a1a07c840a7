"""Sources: slides as users name them, by folder, by list, or as a folder of ready-made tiles."""

from embedstore.slides.sources.find import FoundSlides, find_slides
from embedstore.slides.sources.folder import kind_of, nested_folders, real_paths
from embedstore.slides.sources.source import MetadataValue, SlideSource
from embedstore.slides.sources.source_summary import LeftOut, SourceSummary, TileFolderSummary
from embedstore.slides.sources.tile_folder import TileFolder, TileLabel, read_tile_folder

__all__ = [
    "FoundSlides",
    "LeftOut",
    "MetadataValue",
    "SlideSource",
    "SourceSummary",
    "TileFolder",
    "TileFolderSummary",
    "TileLabel",
    "find_slides",
    "kind_of",
    "nested_folders",
    "read_tile_folder",
    "real_paths",
]
