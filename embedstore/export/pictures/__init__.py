"""Pictures: tiles read again from their slides, tiles in a grid, and values painted over a slide."""

from embedstore.export.pictures.contact_sheet import contact_sheet, tile_captions
from embedstore.export.pictures.heat_map import draw_class_map, draw_heat_map
from embedstore.export.pictures.tile_pictures import pictures_at_hand, tile_pictures

__all__ = ["contact_sheet", "draw_class_map", "draw_heat_map", "pictures_at_hand", "tile_captions", "tile_pictures"]
