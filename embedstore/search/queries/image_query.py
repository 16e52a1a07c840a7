"""A query by an image, embedded as the tiles of the collection were."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from embedstore.config import TilingConfig, require
from embedstore.errors import (
    CollectionMismatchError,
    ExtractorError,
    QueryError,
    RegionReadError,
    ResolutionError,
    UnknownExtractorError,
    WeightsError,
)
from embedstore.search.queries.query import Query, mean_direction, unit_rows
from embedstore.store import Collection, CollectionRecord, Store
from embedstore.uris import shown_path

if TYPE_CHECKING:
    from embedstore.extractors import Extractor, ExtractorConfig
    from embedstore.slides import Pixels  # imports OpenCV, which other searches need not wait for


def image_query(
    store: Store,
    collection: Collection,
    image: "str | Path | Pixels",
    *,
    mpp: float | None = None,
    device: str = "auto",
    trust_extractor: bool = False,
    extractor: "Extractor | None" = None,
    most_tiles: int | None = None,
) -> Query:
    """A query by an image, embedded with the collection's own extractor and preprocessing.

    The image is cut and scaled as ingest does with a slide: squares that are a tile wide at the image's resolution,
    each resized to the extractor's input by area filtering. An image larger than a tile is covered with squares without
    overlap, with equal margins left out on both sides, and the query is the mean of their unit vectors. A collection
    with only ready-made tiles took whole files of any size as tiles: there, an image without an mpp is one tile, too.

    The extractor is loaded as the collection's record says. Where it is a user's function, it is called only with
    `trust_extractor`: a store from elsewhere could name any function, and loading it runs its code.

    Args:
        image: A file (PNG, JPEG, TIFF or another format that Pillow decodes), or (height, width, 3) uint8 RGB.
        mpp: Resolution of the image, µm/px; the collection's when None.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        trust_extractor: Run the function that the collection names, if its extractor is one.
        extractor: The collection's own, from `load_own_extractor`; loaded here when None.
        most_tiles: Most tiles of an image that are embedded; all of them when None.
    Raises:
        QueryError: the file is no image, or the image is smaller than a tile, or larger than `most_tiles`.
        ExtractorError: the extractor is a function that was not trusted.
        ResolutionError: the image is more than 10 % coarser than the collection.
        ConfigError: mpp is no resolution.
        CollectionMismatchError: the extractor has changed since the collection was made.
        WeightsError, UnknownExtractorError, DeviceError: the extractor cannot be loaded here.
        VectorError: the image has no direction.
    """
    from embedstore.slides import fit_square

    path = Path(image) if isinstance(image, str | Path) else None
    name = "the image" if path is None else shown_path(path)
    record = collection.record()
    tiling = record.tiling
    pixels = _read(path) if path is not None else _rgb_pixels(image)
    if mpp is None and _ready_made(collection):
        tiles = fit_square(pixels, tiling.tile_px)[None]
    else:
        tiles = cover(pixels, _edge_px(name, mpp, tiling), tiling, name=name, most_tiles=most_tiles)
    extractor = extractor or load_own_extractor(collection.name, record, device=device, trusted=trust_extractor)
    title = "an image" if path is None else f"image {path.name}"
    title += f" (mean of {len(tiles)} tiles)" if len(tiles) > 1 else ""
    vectors = unit_rows(_embed(extractor, tiles))
    vector = mean_direction(vectors.sum(axis=0, dtype=np.float64), len(vectors), what=title)
    return Query(vector=vector, title=title, picture=path)


def _rgb_pixels(image: Any) -> "Pixels":
    """An array that is given as an image.

    Raises:
        QueryError: it is not (height, width, 3) uint8.
    """
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise QueryError(f"the image is {pixels.dtype} {pixels.shape}; expected uint8 (height, width, 3)")
    return pixels


def _read(path: Path) -> "Pixels":
    from embedstore.slides import read_image_apart

    try:
        return read_image_apart(path)  # a file from elsewhere costs its query, and no more memory and time than a slide
    except RegionReadError as error:
        raise QueryError(str(error)) from error


def _ready_made(collection: Collection) -> bool:
    """Whether the collection has only ready-made tiles, and none cut from a slide."""
    return not len(collection.tiles(where="edge_l0 > 0", columns=["tile_id"], limit=1))


def _edge_px(name: str, mpp: float | None, tiling: TilingConfig) -> int:
    """Edge of a tile on the image, pixels."""
    from embedstore.slides import COARSER_TOLERANCE, edge_and_stride

    if mpp is None:
        return tiling.tile_px
    require(math.isfinite(mpp) and mpp > 0, f"mpp of {name} is {mpp}; expected a positive number of µm/px")
    if mpp > tiling.mpp * (1 + COARSER_TOLERANCE):
        raise ResolutionError(
            f"{name} has {mpp:g} µm/px, coarser than the collection's {tiling.mpp:g}; it lacks the detail of "
            f"the collection's tiles: export it at {tiling.mpp:g} µm/px or finer"
        )
    return edge_and_stride(tiling, mpp, 1.0)[0]


def cover(
    pixels: "Pixels", edge_px: int, tiling: TilingConfig, *, name: str = "image", most_tiles: int | None = None
) -> "Pixels":
    """Cut an image into squares without overlap, with equal margins left out on both sides.

    Args:
        pixels: (height, width, 3).
        edge_px: Edge of a square on the image, pixels.
        name: Name of the image, for errors.
        most_tiles: Most squares; any number when None.
    Returns:
        (n, tile_px, tile_px, 3), row by row.
    Raises:
        QueryError: no square fits, or more than `most_tiles` do.
    """
    from embedstore.slides import fit_square

    height, width = pixels.shape[:2]
    columns, rows = width // edge_px, height // edge_px
    if not columns or not rows:
        raise QueryError(
            f"{name} has {width}×{height} px; expected {edge_px}×{edge_px} or more, a tile of {tiling.tile_px} px at "
            f"{tiling.mpp:g} µm/px; export a larger part, or give its own resolution with --mpp if it is finer"
        )
    if most_tiles is not None and rows * columns > most_tiles:
        raise QueryError(
            f"{name} covers {rows * columns:,} tiles of {edge_px}×{edge_px} px; expected at most {most_tiles}; crop it"
        )
    left, top = (width - columns * edge_px) // 2, (height - rows * edge_px) // 2
    tiles = np.empty((rows * columns, tiling.tile_px, tiling.tile_px, 3), np.uint8)
    for i in range(len(tiles)):
        y, x = top + i // columns * edge_px, left + i % columns * edge_px
        fit_square(pixels[y : y + edge_px, x : x + edge_px], tiling.tile_px, out=tiles[i])
    return tiles


@dataclass(frozen=True, kw_only=True)
class _StoredExtractor:
    """What a collection's record says of its extractor.

    Attributes:
        config: How it was loaded; None where the record does not say.
    """

    name: str
    digest: str
    config: "ExtractorConfig | None"

    @classmethod
    def from_record(cls, record: CollectionRecord) -> "_StoredExtractor":
        from embedstore.extractors.config import ExtractorConfig, with_precision_of

        extractor, config = record.extractor.ref, (record.request or {}).get("extractor")
        details = record.extractor.details
        return cls(
            name=extractor.name,
            digest=extractor.digest,
            config=None if config is None else with_precision_of(ExtractorConfig(**config), details),
        )


def load_own_extractor(
    name: str,
    record: CollectionRecord,
    *,
    by: Literal["image", "words"] = "image",
    device: str = "auto",
    trusted: bool = False,
) -> "Extractor":
    """Load the extractor that made a collection.

    Args:
        name: Name of the collection.
        record: Record of the collection.
        by: What is searched by, for errors.
        device: Device to load it on.
        trusted: A user's function may be run.
    Raises:
        ExtractorError: the extractor is a user's function that is not trusted; nothing of it was imported.
        CollectionMismatchError: the record does not say how it was loaded, or it has another digest now.
        WeightsError, UnknownExtractorError, DeviceError, ConfigError: it cannot be loaded here.
    """
    from embedstore.extractors import load_extractor  # loads torch when it builds a network

    stored = _StoredExtractor.from_record(record)
    if not record.extractor.ref.is_known:
        raise CollectionMismatchError(
            f"collection {name!r} has imported vectors of {stored.name!r}, and which weights made them is not known, "
            f"so no {by} can be embedded for it; search by tile, place or vector, or import the folder into a new "
            "collection with --weights"
        )
    if stored.config is None:
        raise CollectionMismatchError(
            f"collection {name!r} does not say how its extractor {stored.name!r} was loaded, so no {by} can be "
            "embedded for it; search by tile or vector, or ingest its slides again into another collection"
        )
    if not trusted and (code := _foreign_code(stored.config)):
        raise ExtractorError(
            f"to search collection {name!r} by {by}, {code}, which the store names as its extractor: a store of a "
            "stranger could name anything; pass --trust-extractor if you know "
            "it, or search by tile, which runs nothing"
        )
    try:
        extractor = load_extractor(stored.config, device=device)
    except (WeightsError, UnknownExtractorError) as error:
        raise type(error)(
            f"to search collection {name!r} by {by}, its extractor {stored.name!r} must embed the {by}, and it "
            f"cannot be loaded: {error}; searching by tile needs no extractor"
        ) from error
    if extractor.digest != stored.digest:
        weights = f" with weights {stored.config.weights}" if stored.config.weights else ""
        raise CollectionMismatchError(
            f"collection {name!r} was made by extractor {stored.name!r} with digest {stored.digest}; what loads as "
            f"{stored.config.ref!r}{weights} now has {extractor.digest}: other weights or preprocessing, whose "
            "vectors mean something else; bring the old weights back, or ingest into a new collection with the new ones"
        )
    return extractor


def _foreign_code(config: "ExtractorConfig") -> str | None:
    """The part of an extractor that is neither embedstore's nor timm's code; None where there is none."""
    from embedstore.extractors.custom import is_custom

    if is_custom(config.ref):
        return f"the function {config.ref!r} must be run"
    checkpoint = config.arch_args.get("checkpoint_path")
    # timm reads it itself, in some versions with pickle; weights that are given separately are read as tensors only
    return None if checkpoint is None else f"the checkpoint {checkpoint!r} must be unpickled"


def _embed(extractor: "Extractor", tiles: "Pixels") -> NDArray[np.float16]:
    size = extractor.batch_tiles
    return np.concatenate([extractor.embed(tiles[start : start + size]) for start in range(0, len(tiles), size)])
