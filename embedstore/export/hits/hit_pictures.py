"""What there is to see of tiles that were found, and of what was looked for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from embedstore.config import TilingConfig
from embedstore.errors import QueryError
from embedstore.export.pictures.tile_pictures import pictures_at_hand
from embedstore.search.hits import Hits
from embedstore.search.queries.image_file import read_image

#: (height, width, 3) uint8 RGB, or a few words on why there is no picture.
Picture = np.ndarray | str


def found_pictures(hits: Hits, rows: Sequence[Mapping[str, Any]]) -> list[Picture]:
    """Pictures of rows of the hits, as the extractor saw them."""
    return pictures_at_hand(hits.store, hits.collection, rows) if rows else []


def query_pictures(hits: Hits) -> list[tuple[Picture, Mapping[str, Any] | None]]:
    """What shows the query, one or more: tiles with their rows, its image, or words where it has no picture."""
    query = hits.query
    if query.tiles:
        return list(zip(found_pictures(hits, query.tiles), query.tiles, strict=True))
    if query.picture is None:
        return [("a vector, which has no picture", None)]
    try:
        return [(read_image(query.picture), None)]
    except QueryError:
        return [("image not at hand", None)]


def place_text(row: Mapping[str, Any]) -> str:
    """Where a tile is: its top left in level-0 pixels, or its file in a folder of ready-made tiles."""
    return row["name"] if row["name"] is not None else f"x {row['x']}, y {row['y']}"


def distance_text(row: Mapping[str, Any]) -> str:
    """1 - cosine to four digits; what rounding takes below 0 is 0."""
    return f"{max(row['distance'], 0.0):.4f}"


def facts(hits: Hits) -> list[str]:
    """What a reader should know of all the tiles: how many, of which collection, and how much a tile shows."""
    return [
        hits.summary() if len(hits) else "nothing found",
        f"collection {hits.collection}",
        *_scale(hits),
    ]


def _scale(hits: Hits) -> list[str]:
    """Such as 'tiles of 256 px at 0.5 µm/px, 128 µm wide'; nothing where none was cut from a slide."""
    if not any(hits.table["edge_l0"].to_pylist()):
        return []
    tiling = TilingConfig(**hits.store.collection(hits.collection).record()["tiling"])
    width_um = tiling.tile_px * tiling.mpp
    return [f"tiles of {tiling.tile_px} px at {tiling.mpp:g} µm/px, {width_um:.4g} µm wide"]
