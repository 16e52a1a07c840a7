"""Queries by tiles of the collection: a tile by its id or its place, or the tiles of a region."""

import math
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from embedstore.config import require
from embedstore.errors import SlideNotInStoreError, TileNotFoundError
from embedstore.query_vector import unit_vector
from embedstore.search.queries.query import SHOWN_TILES, Query, mean_direction, unit_rows
from embedstore.store import Collection, Store, StoredTile, TileLocation
from embedstore.store.collection import LARGEST_TILE_ID
from embedstore.store.sql import sql_string
from embedstore.store.vectors import matrix

READ_TILES = 4096  # tiles of a region in memory at once: 13 MB of vectors at 768 dimensions, as float32


def tile_query(
    store: Store,
    collection: Collection,
    tile_id: int,
    *,
    tile_of: Callable[[int], StoredTile | None] | None = None,
) -> Query:
    """A query by a tile.

    Args:
        tile_of: Knows tiles without a look into the store; it is asked first.
    Raises:
        TileNotFoundError: the collection does not have it; the message says which one does.
        VectorError: its vector is zero, or not finite.
    """
    if abs(tile_id) >= LARGEST_TILE_ID:
        raise TileNotFoundError(
            f"no tile {tile_id} in collection {collection.name!r}: ids are signed 64-bit integers, as "
            "`embedstore ls --tiles` shows them"
        )
    if tile_of is not None and (known := tile_of(tile_id)) is not None:
        return _of_tile(collection, known)
    try:
        tile = store.tile(tile_id, collection=collection.name)
    except TileNotFoundError as error:
        elsewhere = _collections_with(store, collection, tile_id)
        if not elsewhere:
            raise
        raise TileNotFoundError(
            f"no tile {tile_id} in collection {collection.name!r}, but in {', '.join(elsewhere)}; search there with "
            "--collection, or search by the place instead: tiles of another tiling have other ids"
        ) from error
    return _of_tile(collection, tile)


def _collections_with(store: Store, collection: Collection, tile_id: int) -> list[str]:
    others = [name for name in store.collection_names() if name != collection.name]
    where = f"tile_id = {int(tile_id)}"
    return [name for name in others if len(store.collection(name).tiles(where=where, columns=["tile_id"], limit=1))]


def place_query(store: Store, collection: Collection, slide_id: str, xy_l0: tuple[int, int]) -> Query:
    """A query by the tile that holds a level-0 pixel; where tiles overlap, the one with the nearest centre.

    Raises:
        TileNotFoundError: the slide has no tile there; the message says where its tiles are.
        SlideNotInStoreError: the store has no such slide.
        VectorError: its vector is zero, or not finite.
    """
    x, y = (math.floor(value) for value in xy_l0)
    tile = collection.tile_at(slide_id, (x, y))
    if tile is None:
        raise _nothing_at(store, collection, slide_id, f"at {x}, {y}", (x, y))
    return _of_tile(collection, tile)


def _of_tile(collection: Collection, tile: StoredTile) -> Query:
    location, title = tile.location, tile_title(tile.location)
    vector = np.array(tile.vector, np.float16)
    return Query(
        vector=unit_vector(vector, collection.dim, where=f"{title} of collection {collection.name!r}"),
        title=title,
        slides=(location.slide_id,),
        tile_ids=np.array([location.tile_id], np.int64),
        tiles=(location,),
    )


def tile_title(tile: TileLocation) -> str:
    """A tile for people: "tile 42 of slide a.svs at 512, 1024", or "tile 42 of slide folder, tumour/1.png"."""
    place = f", {tile.name}" if tile.name is not None else f" at {tile.x}, {tile.y}"
    return f"tile {tile.tile_id} of slide {tile.slide_id}{place}"


def region_query(
    store: Store, collection: Collection, slide_id: str, box_l0: tuple[float, float, float, float]
) -> Query:
    """A query by a region: the mean of the unit vectors of the tiles whose centre lies in it.

    Args:
        box_l0: (x, y, width, height), level-0 pixels; the right and bottom edges are outside.
    Raises:
        ConfigError: the box is empty.
        TileNotFoundError: no tile has its centre in it; the message says where the slide's tiles are.
        SlideNotInStoreError: the store has no such slide.
        VectorError: a vector is not finite, or they cancel out.
    """
    x, y, width, height = (float(value) for value in box_l0)
    box = f"{x:g}, {y:g}, {width:g}, {height:g}"
    require(
        bool(np.isfinite([x, y, width, height]).all()) and width > 0 and height > 0,
        f"the region {box} of slide {slide_id!r} is empty; expected x, y, width and height in level-0 pixels",
    )
    where = f"{_on(slide_id)} AND edge_l0 > 0"
    for axis, low, size in (("x", x, width), ("y", y, height)):
        centre = f"({axis} + edge_l0 / 2.0)"
        where += f" AND {centre} >= {low!r} AND {centre} < {low + size!r}"
    rows = collection.tiles(where=where, columns=[*TileLocation._fields, "vector"])
    if not len(rows):
        raise _nothing_at(store, collection, slide_id, f"with its centre in {box}", (x + width / 2, y + height / 2))
    title = f"{len(rows)} tiles of slide {slide_id} in {box}"
    if len(rows) == 1:
        title = tile_title(TileLocation.from_table(rows)[0])
    return _of_rows(collection, rows, title)


def _of_rows(collection: Collection, rows: pa.Table, title: str) -> Query:
    blocks = [matrix(batch.column("vector"), collection.dim) for batch in rows.to_batches(max_chunksize=READ_TILES)]
    total = sum((unit_rows(block).sum(axis=0, dtype=np.float64) for block in blocks), np.zeros(collection.dim))
    mean = mean_direction(total, len(rows), what=f"{title} of collection {collection.name!r}")
    similarity = np.concatenate([unit_rows(block) @ mean for block in blocks])
    return Query(
        vector=mean,
        title=title,
        slides=tuple(pc.unique(rows.column("slide_id")).to_pylist()),
        tile_ids=rows.column("tile_id").to_numpy(),
        tiles=tuple(TileLocation.from_table(rows.take(most_similar(similarity)))),
    )


def most_similar(similarity: NDArray[np.floating]) -> NDArray[np.int64]:
    """Positions of the SHOWN_TILES largest, largest first; of equal ones the first."""
    return np.argsort(-similarity, kind="stable")[:SHOWN_TILES]


# -- errors where no tile is ----------------------------------------------------------------


def _on(slide_id: str) -> str:
    return f"slide_id = {sql_string(slide_id)}"


def _nothing_at(
    store: Store, collection: Collection, slide_id: str, place: str, xy_l0: tuple[float, float]
) -> Exception:
    """The error for a place without a tile; it says where the slide's tiles are, and which is nearest."""
    tiles = collection.tiles(where=_on(slide_id), columns=["x", "y", "edge_l0", "name"])
    if not len(tiles):
        try:
            store.ledger.resolve_slides(slides=[slide_id])
        except SlideNotInStoreError as error:
            return error
        return TileNotFoundError(
            f"slide {slide_id!r} has no tile in collection {collection.name!r}; `embedstore status` shows its state"
        )
    what = f"slide {slide_id!r} has no tile {place} in collection {collection.name!r}"
    if pc.max(tiles.column("edge_l0")).as_py() == 0:
        return TileNotFoundError(
            f"{what}: it is a folder of {len(tiles)} ready-made tiles, such as {tiles.column('name')[0].as_py()!r}, "
            f"without locations; search by tile id (`embedstore ls --tiles {min(len(tiles), 20)} --slide {slide_id}`)"
        )
    low = [pc.min(tiles.column(axis)).as_py() for axis in ("x", "y")]
    high = [pc.max(pc.add(tiles.column(axis), tiles.column("edge_l0"))).as_py() for axis in ("x", "y")]
    return TileNotFoundError(
        f"{what}; its {len(tiles)} tiles lie in x {low[0]} to {high[0]}, y {low[1]} to {high[1]} (level-0 pixels), on "
        f"tissue only; the nearest has its centre at {_nearest_centre(tiles, xy_l0)}"
    )


def _nearest_centre(tiles: pa.Table, xy_l0: tuple[float, float]) -> str:
    half = tiles.column("edge_l0").to_numpy() // 2
    centres = np.stack([tiles.column(axis).to_numpy() + half for axis in ("x", "y")], axis=1)
    x, y = centres[((centres - np.array(xy_l0, np.float64)) ** 2).sum(axis=1).argmin()].tolist()
    return f"{x}, {y}"
