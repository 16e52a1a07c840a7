"""The vectors of a slide placed on it: size and resolution of the tiles, and whether they lie on the slide."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import FeatureFileError, NoTileError
from embedstore.feature_config import FeatureConfig
from embedstore.layouts.layout import Features, SlideFacts

#: A tile's real resolution may differ by so much from the collection's before it is told: scanners of one nominal
#: magnification differ by up to 9 %.
MPP_TOLERANCE = 0.10


@dataclass(frozen=True, kw_only=True)
class TileFacts:
    """What all vectors of a collection share.

    Attributes:
        extractor: Name of the extractor.
        dim: Length of a vector.
        tile_px: Edge of a tile, pixels.
        mpp: Its resolution, micrometres per pixel.
    """

    extractor: str
    dim: int
    tile_px: int
    mpp: float


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedTiles:
    """The tiles of a slide.

    Attributes:
        xy_l0: (n, 2) int32, top-left corners, level-0 pixels; zeros where there are no places.
        edge_l0: Edge, level-0 pixels, of the first tile; 0 where there are no places.
        edges_l0: (n,) int32, edge of each tile where they differ; else None.
        names: Name of every tile, where there are no places.
        warnings: What a user should know.
    """

    xy_l0: NDArray[np.int32]
    edge_l0: int
    edges_l0: NDArray[np.int32] | None = None
    names: tuple[str, ...] | None = None
    warnings: tuple[str, ...] = ()


def tile_facts(slide: str, features: Features, config: FeatureConfig, known: SlideFacts) -> TileFacts:
    """What the vectors of a slide, and the user, say of all vectors of a collection.

    Raises:
        FeatureFileError: something is not said by either; the message names the flag.
    """
    facts, tile_px = features.facts, config.tile_px or features.facts.tile_px
    lacking = []
    extractor = config.extractor or facts.extractor
    if extractor is None:
        lacking.append(
            "which extractor made the vectors: give --extractor NAME, of `embedstore extractors` or any other"
        )
    if tile_px is None:
        lacking.append("the edge of a tile: give --tile-px, in pixels as the tool cut it")
    mpp = config.mpp or facts.mpp
    if mpp is None and tile_px is not None and known.mpp is not None and _first_edge(features, config):
        # Two digits, as scanners of one nominal resolution differ in the third, and the first slide may be any.
        mpp = float(f"{known.mpp * _first_edge(features, config) / tile_px:.2g}")
    if mpp is None:
        lacking.append("the resolution of the tiles: give --mpp in µm/px, or the slides with --slides")
    if features.xy_l0 is not None and not _first_edge(features, config) and known.mpp is None:
        lacking.append(
            "how large a tile is in level-0 pixels: give the slides with --slides, or --slide-mpp, or --edge-l0"
        )
    if lacking or extractor is None or tile_px is None or mpp is None:
        raise FeatureFileError(f"the files of slide {slide!r} do not say {'; nor '.join(lacking)}")
    return TileFacts(extractor=extractor, dim=facts.dim, tile_px=tile_px, mpp=mpp)


def place_tiles(
    slide: str, features: Features, config: FeatureConfig, known: SlideFacts, wanted: TileFacts
) -> PlacedTiles:
    """The tiles of a slide, checked against the collection and the slide.

    Args:
        known: What is known of the slide besides.
        wanted: What the collection holds.
    Raises:
        NoTileError: the slide has no tile.
        FeatureFileError: the vectors or tiles are others than the collection's, or do not lie on the slide.
    """
    facts = features.facts
    if facts.dim != wanted.dim and facts.tiles:
        raise FeatureFileError(
            f"slide {slide!r} has vectors of {facts.dim} dimensions, and the collection of {wanted.dim}: of another "
            "extractor; import them into a collection of their own"
        )
    if not facts.tiles:
        raise NoTileError(f"slide {slide!r} has no tile: the tool wrote a file without vectors, as it found no tissue")
    tile_px = config.tile_px or facts.tile_px
    if tile_px is not None and tile_px != wanted.tile_px:
        raise FeatureFileError(
            f"slide {slide!r} has tiles of {tile_px} px, and the collection of {wanted.tile_px}; import them into a "
            "collection of their own"
        )
    if config.mpp is None and facts.mpp is not None and abs(facts.mpp - wanted.mpp) > 0.01 * wanted.mpp:
        raise FeatureFileError(
            f"slide {slide!r} has tiles of {facts.mpp:g} µm/px, and the collection of {wanted.mpp:g}; import them into "
            "a collection of their own"
        )
    if features.xy_l0 is None:
        names = features.names or tuple(map(str, range(facts.tiles)))
        return PlacedTiles(xy_l0=np.zeros((facts.tiles, 2), np.int32), edge_l0=0, names=names, warnings=facts.warnings)
    edges = _edges(slide, features, config, known, wanted)
    xy = _corners(slide, features, edges, known, wanted)
    _check_on_slide(slide, features, xy, edges, known)
    if len(np.unique(xy, axis=0)) < len(xy):
        doubles = len(xy) - len(np.unique(xy, axis=0))
        raise FeatureFileError(
            f"slide {slide!r}: {doubles:,} of its {len(xy):,} tiles lie where another one does; expected each place "
            "once; two runs may have written the same file: extract the slide again"
        )
    return PlacedTiles(
        xy_l0=xy.astype(np.int32),
        edge_l0=int(edges[0]),
        edges_l0=edges.astype(np.int32) if len(np.unique(edges)) > 1 else None,
        warnings=(*facts.warnings, *_off_resolution(int(edges[0]), known, wanted)),
    )


def _first_edge(features: Features, config: FeatureConfig) -> int:
    """Edge of the first tile, level-0 pixels; 0 where nothing says it."""
    edges = features.edge_l0 if config.edge_l0 is None else config.edge_l0
    if edges is None or not np.size(edges):
        return 0
    return int(np.ravel(edges)[0])


def _edges(
    slide: str, features: Features, config: FeatureConfig, known: SlideFacts, wanted: TileFacts
) -> NDArray[np.int64]:
    edges = features.edge_l0 if config.edge_l0 is None else config.edge_l0
    if edges is None and known.mpp is not None:
        edges = max(1, round(wanted.tile_px * wanted.mpp / known.mpp))
    if edges is None:
        raise FeatureFileError(
            f"slide {slide!r}: its files do not say how large a tile is in level-0 pixels; give the slides with "
            "--slides, or --slide-mpp, or --edge-l0"
        )
    each = np.broadcast_to(np.asarray(edges, np.int64), features.facts.tiles)
    if each.min() < 1 or each.max() > 1 << 20:
        raise FeatureFileError(
            f"slide {slide!r} has tiles of {each.min():,} to {each.max():,} level-0 pixels; expected 1 to 1,048,576"
        )
    return each


def _corners(
    slide: str, features: Features, edges: NDArray[np.int64], known: SlideFacts, wanted: TileFacts
) -> NDArray[np.int64]:
    """Top-left corners, (n, 2), level-0 pixels."""
    xy = np.asarray(features.xy_l0, np.int64)
    if features.in_tile_px:
        if known.mpp is None:
            raise FeatureFileError(
                f"slide {slide!r}: its places are in pixels of the tiles' resolution; give the slides with --slides, "
                "or --slide-mpp, so that they can be placed on level 0"
            )
        xy = np.rint(xy * (wanted.mpp / known.mpp)).astype(np.int64)
    return xy - edges[:, None] // 2 if features.centred else xy


def _check_on_slide(
    slide: str, features: Features, xy: NDArray[np.int64], edges: NDArray[np.int64], known: SlideFacts
) -> None:
    stated, of_file = features.facts.size_l0, known.size_l0
    if stated is not None and of_file is not None and stated != of_file:
        raise FeatureFileError(
            f"slide {slide!r}: its features are of a slide of {stated[0]:,}×{stated[1]:,} pixels, and the file given "
            f"with --slides has {of_file[0]:,}×{of_file[1]:,}: another slide of that name; give the right one"
        )
    size = of_file or stated
    low, high = xy + edges[:, None] <= 0, np.zeros(xy.shape, bool) if size is None else xy >= np.asarray(size)
    outside = np.flatnonzero((low | high).any(axis=1))
    if len(outside):
        x, y = xy[outside[0]].tolist()
        extent = "" if size is None else f" of {size[0]:,}×{size[1]:,} level-0 pixels"
        raise FeatureFileError(
            f"slide {slide!r}: {len(outside):,} of its {len(xy):,} tiles lie outside of the slide{extent}, the first "
            f"at ({x:,}, {y:,}): the places are of another slide, or in other units than level-0 pixels; look at what "
            "the tool was given, or give the right --layout"
        )


def _off_resolution(edge_l0: int, known: SlideFacts, wanted: TileFacts) -> list[str]:
    if known.mpp is None:
        return []
    mpp = known.mpp * edge_l0 / wanted.tile_px
    if abs(mpp - wanted.mpp) <= MPP_TOLERANCE * wanted.mpp:
        return []
    return [f"its tiles have {mpp:.3g} µm/px, the collection {wanted.mpp:g}: the tool took them for the same"]
