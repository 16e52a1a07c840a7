"""The pictures that the service shows: deep-zoom tiles, thumbnails and tiles, encoded, cached and made once."""

import hashlib
import math
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from embedstore.config import TilingConfig
from embedstore.errors import PictureNotFoundError, SlideError
from embedstore.service.pictures.byte_cache import ByteCache
from embedstore.service.pictures.deep_zoom import MOST_OVERVIEW_READ_PX, OVERLAP_PX, TILE_PX, DeepZoom
from embedstore.service.pictures.open_slides import OpenSlides
from embedstore.service.pictures.slide_file import SlideFile
from embedstore.slides import Pixels, best_level, fit_square, read_image_apart, read_thumbnail
from embedstore.store import TileLocation
from embedstore.uris import tile_path

MEDIA_TYPE = "image/jpeg"
#: Of deep-zoom tiles and thumbnails, and of the tiles that the extractor saw, which are looked at closely.
JPEG_QUALITY, TILE_JPEG_QUALITY = 85, 92
#: Longest edge of a thumbnail, pixels.
MOST_THUMBNAIL_PX = 2048
#: Part of every tag; a new number where the same request gives other bytes than in an older version.
VERSION = 1
#: Magnifications that objectives have.
MAGNIFICATIONS = (0.5, 200.0)


@dataclass(frozen=True, kw_only=True)
class SlideInfo:
    """What a viewer needs to know of a slide. Coordinates are level-0 pixels from the corner of level 0.

    Attributes:
        size_l0: (width, height) of level 0, pixels.
        bounds_l0: (x, y, width, height) of the scanned part; a viewer shows this at first.
        mpp: Micrometres per level-0 pixel; None if unknown.
        magnification: Of the objective, as the file says; None if it does not.
        vendor: OpenSlide's name of the format.
        levels: [width, height, downsample] of the levels of the file, finest first.
        tile_px, overlap_px: Edge of a deep-zoom tile, and how far tiles overlap, pixels.
        min_level, max_level: The coarsest and the finest deep-zoom level that has tiles; the finest is level 0.
    """

    size_l0: tuple[int, int]
    bounds_l0: tuple[int, int, int, int]
    mpp: float | None
    magnification: float | None
    vendor: str
    levels: tuple[tuple[int, int, float], ...]
    tile_px: int
    overlap_px: int
    min_level: int
    max_level: int


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture that can be made.

    Attributes:
        path: The slide's file.
        tag: Its ETag, which changes with the slide's file and with what is asked for.
        at_hand: Gives it as JPEG if the cache has it; else None.
        make: Gives it as JPEG, made if need be. Raises errors of slides: RegionReadError, SlideFormatError.
    """

    path: str
    tag: str
    at_hand: Callable[[], bytes | None]
    make: Callable[[], bytes]


class Pictures:
    """Pictures of slides, from any number of threads.

    Every method takes a slide that whoever asks may see: what is cached is not checked again. They raise
    SlideNotFoundError where the file is gone.
    """

    def __init__(self, *, open_slides: OpenSlides | None = None, cache_bytes: int = 256 << 20):
        self.open_slides = OpenSlides() if open_slides is None else open_slides
        self.cache = ByteCache(cache_bytes)

    def info(self, file: SlideFile) -> SlideInfo:
        """Size, resolution and deep-zoom levels of a slide.

        Raises:
            PictureNotFoundError: it is a folder of ready-made tiles.
        """
        with self.open_slides.use(_pyramid(file), file.stamp()) as deep_zoom:
            slide = deep_zoom.slide
            return SlideInfo(
                size_l0=slide.size_l0,
                bounds_l0=slide.bounds_l0,
                mpp=file.mpp or slide.mpp,
                magnification=_magnification(slide.properties.get("openslide.objective-power")),
                vendor=slide.vendor,
                levels=tuple((*size, d) for size, d in zip(slide.level_sizes, slide.level_downsamples, strict=True)),
                tile_px=TILE_PX,
                overlap_px=OVERLAP_PX,
                min_level=deep_zoom.min_level,
                max_level=deep_zoom.grid.max_level,
            )

    def deep_zoom_tile(self, file: SlideFile, level: int, column: int, row: int) -> Picture:
        """A deep-zoom tile; making it raises PictureNotFoundError where there is no such tile.

        Raises:
            PictureNotFoundError: the slide is a folder of ready-made tiles.
        """
        return self._picture(
            _pyramid(file),
            ("deep zoom", level, column, row),
            lambda deep_zoom: jpeg(deep_zoom.pixels(level, column, row), JPEG_QUALITY),
        )

    def thumbnail(self, file: SlideFile, edge_px: int) -> Picture:
        """The scanned part of a slide; made from its pyramid, and never from images of its label.

        Args:
            edge_px: Longest edge, 1 to MOST_THUMBNAIL_PX pixels; less where the slide has less.
        Raises:
            PictureNotFoundError: the slide is a folder of ready-made tiles, or the edge is out of range.
        """
        if not 1 <= edge_px <= MOST_THUMBNAIL_PX:
            raise PictureNotFoundError(
                f"a thumbnail of {edge_px} px was asked for; expected 1 to {MOST_THUMBNAIL_PX} px"
            )

        def make(deep_zoom: DeepZoom) -> bytes:
            slide = deep_zoom.slide
            shrink = max(1.0, max(slide.bounds_l0[2:]) / edge_px)
            made = read_thumbnail(slide, mpp_l0=1.0, mpp=shrink, most_read_px=MOST_OVERVIEW_READ_PX)
            return jpeg(made.pixels, JPEG_QUALITY)

        return self._picture(_pyramid(file), ("thumbnail", edge_px), make)

    def tile(self, file: SlideFile, tile: TileLocation, tiling: TilingConfig) -> Picture:
        """A tile of a collection as its extractor saw it."""
        what = ("tile", tile.x, tile.y, tile.edge_l0, tile.name, tiling.tile_px, tiling.mpp, tiling.downsample)
        if file.kind == "tiles":
            return self._cached(file, file.stamp(), what, lambda: _ready_made(file, tile, tiling))

        def make(deep_zoom: DeepZoom) -> bytes:
            slide = deep_zoom.slide
            mpp = file.mpp or slide.mpp
            level = best_level(slide.level_downsamples, mpp=mpp, target_mpp=tiling.mpp) if mpp else 0
            pixels = np.empty((tiling.tile_px, tiling.tile_px, 3), np.uint8)
            corner = tile.x, tile.y
            slide.read_square(corner, level, edge_l0=tile.edge_l0, out=pixels, downsample=tiling.downsample)
            return jpeg(pixels, TILE_JPEG_QUALITY)

        return self._picture(file, what, make)

    def forget_others(self, paths: Container[str]) -> None:
        """Drop every picture of slides that are not at one of some paths, and close these slides."""
        self.cache.drop(lambda key: key[0] not in paths)  # type: ignore[index]
        self.open_slides.close_others(paths)

    def close(self) -> None:
        """Close all slides."""
        self.open_slides.close()

    def _picture(self, file: SlideFile, what: tuple[Any, ...], make: Callable[[DeepZoom], bytes]) -> Picture:
        stamp = file.stamp()

        def open_and_make() -> bytes:
            with self.open_slides.use(file, stamp) as deep_zoom:
                return make(deep_zoom)

        return self._cached(file, stamp, what, open_and_make)

    def _cached(self, file: SlideFile, stamp: str, what: tuple[Any, ...], make: Callable[[], bytes]) -> Picture:
        key = (file.path, stamp, *what)
        text = "\0".join(map(str, (VERSION, *key)))
        return Picture(
            path=file.path,
            tag=f'"{hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]}"',
            at_hand=lambda: self.cache.get(key),
            make=lambda: self.cache.get_or_make(key, make),
        )


def jpeg(pixels: Pixels, quality: int) -> bytes:
    """Encode (height, width, 3) RGB as JPEG with 4:2:0 colours."""
    # OpenCV's and imagecodecs' are libjpeg-turbo: 0.5 ms for 512² px; Pillow's takes 0.6.
    encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return encoded.tobytes()


def _pyramid(file: SlideFile) -> SlideFile:
    if file.kind == "tiles":
        raise PictureNotFoundError(
            f"slide {file.name!r} is a folder of ready-made tiles, which has no picture of the whole; its tiles have"
        )
    return file


def _ready_made(file: SlideFile, tile: TileLocation, tiling: TilingConfig) -> bytes:
    try:
        pixels = read_image_apart(tile_path(file.path, tile.name or ""))
    except SlideError as error:
        raise type(error)(file.in_own_words(error)) from error
    return jpeg(fit_square(pixels, tiling.tile_px), TILE_JPEG_QUALITY)


def _magnification(stated: str | None) -> float | None:
    try:
        value = float(stated or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and MAGNIFICATIONS[0] <= value <= MAGNIFICATIONS[1] else None
