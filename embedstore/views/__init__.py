"""Views: augmented copies of tiles, drawn from a tile's id, so that the same tile gets the same ones again."""

from embedstore.views.parameters import PARAMETERS, draw_parameters, unchanged

__all__ = ["PARAMETERS", "draw_parameters", "unchanged"]
