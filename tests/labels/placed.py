"""Tiles and labels made by hand, as the store would give them to the join."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely

from embedstore.store import Label, TileLocations


def places(
    slides: dict[str, Sequence[tuple[int, int, int]]], *, names: Sequence[str | None] | None = None
) -> TileLocations:
    """Where tiles lie: {slide: (x, y, edge) of each tile, level-0 pixels}."""
    tiles = [tile for theirs in slides.values() for tile in theirs]
    n = len(tiles)
    corners = np.array(tiles, np.int32).reshape(n, 3)
    return TileLocations(
        version=1,
        row=np.arange(n),
        tile_id=np.arange(n) + 1000,
        slide=np.repeat(np.arange(len(slides)), [len(theirs) for theirs in slides.values()]).astype(np.int32),
        slides=tuple(slides),
        xy_l0=corners[:, :2],
        edge_l0=corners[:, 2],
        names=None if names is None else np.array(names, object),
        collection="toy",
    )


def row(width: int = 4, edge: int = 100, *, y: int = 0) -> list[tuple[int, int, int]]:
    """Tiles in a row, from x = 0 on."""
    return [(i * edge, y, edge) for i in range(width)]


def said(label: str, slide_id: str | None = "a", **values: Any) -> dict[str, Any]:
    """A row of the table of labels, of task t."""
    return Label(**{"task": "t", "label": label, "slide_id": slide_id, "author": "ann", **values}).row()


def area(label: str, polygon: shapely.Geometry, slide_id: str = "a", *, kind: str = "area", **values: Any) -> dict:
    return said(label, slide_id, kind=kind, geometry=shapely.to_wkb(polygon), **values)
