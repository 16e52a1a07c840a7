"""Sources: slides as users name them, by folder, by list, or as a folder of ready-made tiles."""

from embedstore.slides.sources.find import find_slides
from embedstore.slides.sources.source import MetadataValue, SlideSource
from embedstore.slides.sources.tile_folder import TileLabel, list_tiles

__all__ = ["MetadataValue", "SlideSource", "TileLabel", "find_slides", "list_tiles"]
