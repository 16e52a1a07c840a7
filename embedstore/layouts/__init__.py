"""Vectors of tiles in the files of other tools: recognised and read."""

from embedstore.feature_config import FeatureConfig
from embedstore.layouts.layout import Entry, FeatureFacts, Features, Layout, SlideFacts
from embedstore.layouts.placing import PlacedTiles, TileFacts, place_tiles, tile_facts
from embedstore.layouts.process import look_apart, open_apart
from embedstore.layouts.registry import LAYOUTS, layout_named, layout_of

__all__ = [
    "Entry",
    "FeatureFacts",
    "Features",
    "FeatureConfig",
    "LAYOUTS",
    "Layout",
    "PlacedTiles",
    "SlideFacts",
    "TileFacts",
    "layout_named",
    "layout_of",
    "look_apart",
    "open_apart",
    "place_tiles",
    "tile_facts",
]
