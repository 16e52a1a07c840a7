"""A query by an image file, embedded as the tiles of the collection were."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedstore.config import TilingConfig, require
from embedstore.errors import (
    CollectionMismatchError,
    ExtractorError,
    QueryError,
    ResolutionError,
    UnknownExtractorError,
    WeightsError,
)
from embedstore.search.queries.image_file import read_image
from embedstore.search.queries.query import Query, mean_direction, unit_rows
from embedstore.slides import COARSER_TOLERANCE, Pixels, edge_and_stride, fit_square
from embedstore.store import Collection, Store

if TYPE_CHECKING:
    from embedstore.extractors import Extractor


def image_query(
    store: Store,
    collection: Collection,
    path: str | Path,
    *,
    mpp: float | None = None,
    device: str = "auto",
    trust_extractor: bool = False,
) -> Query:
    """An image, embedded with the collection's own extractor and preprocessing.

    It is cut and scaled as ingest cuts and scales a slide: squares that are a tile wide at the image's resolution,
    each brought to the extractor's size by area filtering. An image larger than a tile is covered with such squares
    without overlap, the same margin left out on either side, and the mean of their unit vectors is what is looked for.
    A collection of ready-made tiles alone took whole files for tiles, of whatever size: there an image without an mpp
    is one, too.

    The extractor is loaded as the collection's record says. Where that is a function of somebody's own, it is called
    only with `trust_extractor`: a store from elsewhere could name any function, and loading one runs its code.

    Args:
        path: PNG, JPEG, TIFF or what else Pillow decodes.
        mpp: Resolution of the image, µm/px; None where it is the collection's own.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        trust_extractor: Run the function that the collection names, if its extractor is one.
    Raises:
        QueryError: it is no image, or smaller than a tile.
        ExtractorError: the extractor is a function that was not trusted.
        ResolutionError: it is more than 10 % coarser than the collection.
        ConfigError: mpp is no resolution.
        CollectionMismatchError: the extractor is not what it was when the collection was made.
        WeightsError, UnknownExtractorError, DeviceError: the extractor cannot be loaded here.
        VectorError: the image has no direction.
    """
    path = Path(path)
    record = collection.record()
    tiling = TilingConfig(**record["tiling"])
    pixels = read_image(path)
    if mpp is None and _ready_made(collection):
        tiles = fit_square(pixels, tiling.tile_px)[None]
    else:
        tiles = cover(pixels, _edge_px(path, mpp, tiling), tiling, name=str(path))
    extractor = load_own_extractor(collection.name, record, device=device, trusted=trust_extractor)
    title = f"image {path.name}" + (f" (mean of {len(tiles)} tiles)" if len(tiles) > 1 else "")
    vectors = unit_rows(_embed(extractor, tiles))
    vector = mean_direction(vectors.sum(axis=0, dtype=np.float64), len(vectors), what=title)
    return Query(vector=vector, title=title, picture=path)


def _ready_made(collection: Collection) -> bool:
    """Whether no tile was cut from a slide."""
    return not len(collection.tiles(where="edge_l0 > 0", columns=["tile_id"], limit=1))


def _edge_px(path: Path, mpp: float | None, tiling: TilingConfig) -> int:
    """How wide a tile is on the image, pixels."""
    if mpp is None:
        return tiling.tile_px
    require(math.isfinite(mpp) and mpp > 0, f"mpp of image {path} is {mpp}; expected a positive number of µm/px")
    if mpp > tiling.mpp * (1 + COARSER_TOLERANCE):
        raise ResolutionError(
            f"image {path} has {mpp:g} µm/px, coarser than the collection's {tiling.mpp:g}; what its tiles show is not "
            f"in it: export it at {tiling.mpp:g} µm/px or finer"
        )
    return edge_and_stride(tiling, mpp, 1.0)[0]


def cover(pixels: Pixels, edge_px: int, tiling: TilingConfig, *, name: str = "image") -> Pixels:
    """Cut an image into squares without overlap, the same margin left out on either side.

    Args:
        pixels: (height, width, 3).
        edge_px: Edge of a square on the image, pixels.
        name: Of the image, for errors.
    Returns:
        (n, tile_px, tile_px, 3), row by row.
    Raises:
        QueryError: not one fits.
    """
    height, width = pixels.shape[:2]
    columns, rows = width // edge_px, height // edge_px
    if not columns or not rows:
        raise QueryError(
            f"{name} has {width}×{height} px; expected {edge_px}×{edge_px} or more, a tile of {tiling.tile_px} px at "
            f"{tiling.mpp:g} µm/px; export a larger part, or say with --mpp what its own resolution is, if it is finer"
        )
    left, top = (width - columns * edge_px) // 2, (height - rows * edge_px) // 2
    tiles = np.empty((rows * columns, tiling.tile_px, tiling.tile_px, 3), np.uint8)
    for i in range(len(tiles)):
        y, x = top + i // columns * edge_px, left + i % columns * edge_px
        fit_square(pixels[y : y + edge_px, x : x + edge_px], tiling.tile_px, out=tiles[i])
    return tiles


def load_own_extractor(
    name: str, record: dict[str, Any], *, device: str = "auto", trusted: bool = False
) -> "Extractor":
    """The extractor that made a collection.

    Args:
        name: Of the collection.
        record: As the collection keeps it.
        device: Where to load it.
        trusted: A function of somebody's own may be run.
    Raises:
        ExtractorError: it is such a function, and not trusted; nothing of it was imported.
        CollectionMismatchError: the record does not say how it was loaded, or what loads now has another digest.
        WeightsError, UnknownExtractorError, DeviceError, ConfigError: it cannot be loaded here.
    """
    from embedstore.extractors import ExtractorConfig, load_extractor  # loads torch when it builds a network

    made, asked = record["extractor"], (record.get("request") or {}).get("extractor")
    if asked is None:
        raise CollectionMismatchError(
            f"collection {name!r} does not say how its extractor {made['name']!r} was loaded, so no image can be "
            "embedded for it; search by tile or vector, or ingest its slides anew into another collection"
        )
    if not trusted and (code := _code_of(asked)):
        raise ExtractorError(
            f"to search collection {name!r} by image, {code}, which the store names as its extractor: a store of a "
            "stranger could name anything; pass --trust-extractor (image_query with trust_extractor=True in Python) "
            "if you know it, or search by tile, which runs nothing"
        )
    try:
        extractor = load_extractor(ExtractorConfig(**asked), device=device)
    except (WeightsError, UnknownExtractorError) as error:
        raise type(error)(
            f"to search collection {name!r} by image, its extractor {made['name']!r} must embed the image, and it "
            f"cannot be loaded: {error}; searching by tile needs no extractor"
        ) from error
    if extractor.digest != made["digest"]:
        raise CollectionMismatchError(
            f"collection {name!r} was made by extractor {made['name']!r} with digest {made['digest']}; what loads as "
            f"{asked['ref']!r}{_weights(asked)} now has {extractor.digest}: other weights or preprocessing, whose "
            "vectors mean something else; bring the old weights back, or ingest into a new collection with the new ones"
        )
    return extractor


def _code_of(asked: dict[str, Any]) -> str | None:
    """What of an extractor is code of somebody's own; None where all that runs is embedstore's and timm's."""
    from embedstore.extractors.custom import is_custom

    if is_custom(asked["ref"]):
        return f"the function {asked['ref']!r} must be run"
    checkpoint = (asked.get("arch_args") or {}).get("checkpoint_path")
    # timm reads it by itself, in some versions with pickle; weights that are given beside it are read as tensors alone
    return None if checkpoint is None else f"the checkpoint {checkpoint!r} must be unpickled"


def _weights(asked: dict[str, Any]) -> str:
    return f" with weights {asked['weights']}" if asked.get("weights") else ""


def _embed(extractor: "Extractor", tiles: Pixels) -> NDArray[np.float16]:
    size = extractor.batch_tiles
    return np.concatenate([extractor.embed(tiles[start : start + size]) for start in range(0, len(tiles), size)])
