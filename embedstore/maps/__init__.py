"""The map of a collection: its tiles in two dimensions, computed once, kept in the store."""

from embedstore.maps.colours import MapColours, column_of, map_colours
from embedstore.maps.making import check_map, make_map
from embedstore.maps.picture import map_picture
from embedstore.maps.reading import COLUMNS, TileMap, read_map
from embedstore.maps.wire import colours_from_bytes, colours_to_bytes, map_from_bytes, map_to_bytes

__all__ = [
    "COLUMNS",
    "MapColours",
    "TileMap",
    "check_map",
    "colours_from_bytes",
    "colours_to_bytes",
    "column_of",
    "make_map",
    "map_colours",
    "map_from_bytes",
    "map_picture",
    "map_to_bytes",
    "read_map",
]
