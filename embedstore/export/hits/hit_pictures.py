"""The pictures and words that show a hit or a query, for the montage and the page."""

from collections.abc import Sequence

import numpy as np

from embedstore.errors import RegionReadError
from embedstore.export.pictures.tile_pictures import pictures_at_hand
from embedstore.search.hits import Hit, Hits
from embedstore.slides import read_image
from embedstore.store import Store, TileLocation

#: (height, width, 3) uint8 RGB, or a few words on why there is no picture.
Picture = np.ndarray | str


def pictures_of(
    hits: Hits, tiles: Sequence[TileLocation]
) -> tuple[list[tuple[Picture, TileLocation | None]], list[Picture]]:
    """Pictures of the query, as of `_query_pictures`, and of tiles of the collection, as the extractor saw them.

    All tiles are read at once, so that each slide is opened once.
    """
    own = hits.query.tiles
    pictures = _tile_pictures(hits, [*own, *tiles])
    if not own:
        return _query_pictures(hits), pictures
    return list(zip(pictures[: len(own)], own, strict=True)), pictures[len(own) :]


def _tile_pictures(hits: Hits, tiles: Sequence[TileLocation]) -> list[Picture]:
    if not tiles:
        return []
    if isinstance(hits.store, Store):
        return pictures_at_hand(hits.store, hits.collection, tiles)
    return hits.store.pictures(tiles)


def _query_pictures(hits: Hits) -> list[tuple[Picture, TileLocation | None]]:
    """The picture of a query without tiles: of its image, or words where it has none."""
    query = hits.query
    if query.picture is None:
        return [("a vector, which has no picture", None)]
    try:
        return [(read_image(query.picture), None)]
    except RegionReadError:
        return [("image not at hand", None)]


def place_text(tile: TileLocation) -> str:
    """Where a tile is: its top left in level-0 pixels, or its file in a folder of ready-made tiles."""
    return tile.name if tile.name is not None else f"x {tile.x}, y {tile.y}"


def distance_text(hit: Hit) -> str:
    """1 - cosine to four digits; values below 0 by rounding are shown as 0."""
    return f"{max(hit.distance, 0.0):.4f}"


def summary_lines(hits: Hits) -> list[str]:
    """What applies to all hits: how many, of which collection, and how much a tile shows."""
    return [
        hits.summary() if len(hits) else "nothing found",
        f"collection {hits.collection}",
        *_scale(hits),
    ]


def _scale(hits: Hits) -> list[str]:
    """Such as 'tiles of 256 px at 0.5 µm/px, 128 µm wide'; nothing where no tile was cut from a slide."""
    if not any(hits.table["edge_l0"].to_pylist()):
        return []
    store = hits.store
    tiling = store.collection(hits.collection).tiling() if isinstance(store, Store) else store.tiling()
    width_um = tiling.tile_px * tiling.mpp
    return [f"tiles of {tiling.tile_px} px at {tiling.mpp:g} µm/px, {width_um:.4g} µm wide"]
