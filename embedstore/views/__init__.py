"""Views: augmented copies of tiles, drawn from a tile's id, so that the same tile gets the same ones again."""

from embedstore.views.apply import apply_view, with_views
from embedstore.views.parameters import PARAMETERS, draw_parameters, unchanged

__all__ = ["PARAMETERS", "apply_view", "draw_parameters", "unchanged", "with_views"]
