"""The pixels of stored tiles, read again from their slides."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from embedstore.errors import RegionReadError, SlideError, SlideNotFoundError
from embedstore.slides import SlidePlan, SlideSource, TileReader
from embedstore.store import SlideRow, Store, TileLocation
from embedstore.uris import exists_or_remote

#: A tile by its location, or by a row of a collection with at least slide_id, x, y, edge_l0 and name.
Tile = TileLocation | Mapping[str, Any]


def tile_pictures(store: Store, collection: str, tiles: Sequence[Tile]) -> list[np.ndarray]:
    """Read tiles as the extractor saw them.

    Args:
        tiles: Tiles of the collection.
    Returns:
        (tile_px, tile_px, 3) uint8 RGB for each tile.
    Raises:
        SlideNotFoundError: a slide is no longer where it was ingested from.
        RegionReadError: a tile can no longer be read.
    """
    pictures: list[np.ndarray] = []
    for picture in _pictures(store, collection, tiles):
        if isinstance(picture, SlideError):
            raise picture
        pictures.append(picture)
    return pictures


def pictures_at_hand(store: Store, collection: str, tiles: Sequence[Tile]) -> list[np.ndarray | str]:
    """Read tiles as the extractor saw them; a slide that cannot be read costs its own tiles only.

    Args:
        tiles: Tiles of the collection.
    Returns:
        For each tile (tile_px, tile_px, 3) uint8 RGB, or why there is none, such as 'slide not at hand'.
    """
    reasons = {SlideNotFoundError: "slide not at hand", RegionReadError: "tile cannot be read"}
    return [
        reasons.get(type(picture), "slide cannot be read") if isinstance(picture, SlideError) else picture
        for picture in _pictures(store, collection, tiles)
    ]


def _pictures(store: Store, collection: str, tiles: Sequence[Tile]) -> list[np.ndarray | SlideError]:
    """The pixels of each tile, or the error of reading it or opening its slide."""
    locations = [tile if isinstance(tile, TileLocation) else _location(tile) for tile in tiles]
    tiling = store.collection(collection).tiling()
    slides = {slide.slide_id: slide for slide in store.ledger.slides()}
    readers = {outcome.slide_id: outcome.reader for outcome in store.ledger.outcomes(collection=collection)}
    pictures: dict[int, np.ndarray | SlideError] = {}
    for slide_id in dict.fromkeys(tile.slide_id for tile in locations):
        positions = [i for i, tile in enumerate(locations) if tile.slide_id == slide_id]
        try:
            plan = _plan(slides.get(slide_id), readers.get(slide_id), [locations[i] for i in positions])
            with TileReader(plan, tiling) as reader:
                pixels, readable = reader.read(0, len(positions))
        except SlideError as error:
            pictures.update(dict.fromkeys(positions, error))
            continue
        lost = RegionReadError(
            f"slide {slide_id!r}: a tile that was readable at ingest is not now: {reader.first_error}"
        )
        pictures.update((i, pixels[at] if readable[at] else lost) for at, i in enumerate(positions))
    return [pictures[i] for i in range(len(locations))]


def _location(row: Mapping[str, Any]) -> TileLocation:
    return TileLocation.from_row({"tile_id": 0, **row})  # the id is not needed


def _plan(slide: SlideRow | None, reader: str | None, tiles: Sequence[TileLocation]) -> SlidePlan:
    slide_id = tiles[0].slide_id
    if slide is not None and not slide.path:
        raise SlideNotFoundError(
            f"slide {slide_id!r} was imported without its file, so its tiles cannot be shown; run the same `embedstore "
            "import` with --slides, which says where it is"
        )
    if slide is None or not exists_or_remote(slide.path):
        path = slide.path if slide is not None and slide.path else "a known path"
        raise SlideNotFoundError(
            f"slide {slide_id!r} is not at {path} any more, so its tiles cannot be shown; "
            "bring it back there, or ingest it again from where it is with --force"
        )
    return SlidePlan(
        slide_id=slide_id,
        source=SlideSource(slide_id=slide_id, path=slide.path, kind=slide.kind),
        reader=reader or "auto",
        xy_l0=np.array([(tile.x, tile.y) for tile in tiles], np.int32),
        names=tuple(tile.name or "" for tile in tiles) if slide.is_ready_made else None,
        tissue=np.ones(len(tiles), np.float32),
        edge_l0=tiles[0].edge_l0,
        level=None,
        size_l0=(slide.width_l0 or 0, slide.height_l0 or 0),
        mpp=slide.slide_mpp,
        vendor=slide.vendor or "",
        tissue_mm2=slide.tissue_mm2 or 0.0,
        warnings=(),
        fingerprint=slide.fingerprint or "",
    )
