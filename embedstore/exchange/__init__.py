"""What goes out of a store: pictures of tiles, alone and on sheets."""

from embedstore.exchange.pictures import contact_sheet
from embedstore.exchange.tile_pictures import tile_pictures

__all__ = ["contact_sheet", "tile_pictures"]
