"""Views: augmented copies of tiles, drawn from the tile's id, so that a tile always gets the same ones."""

from embedstore.views.apply import apply_view, with_views
from embedstore.views.parameters import PARAMETERS, draw_parameters, unchanged

__all__ = ["PARAMETERS", "apply_view", "draw_parameters", "unchanged", "with_views"]
