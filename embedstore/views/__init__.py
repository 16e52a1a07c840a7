"""Views: augmented copies of tiles, drawn from the tile's id, so that a tile always gets the same ones.

The pixels of views are in `embedstore.views.apply`, which loads OpenCV (15 ms); the store needs only the parameters.
"""

from embedstore.views.parameters import PARAMETERS, draw_parameters, unchanged

__all__ = ["PARAMETERS", "draw_parameters", "unchanged"]
