"""Tiled TIFF read directly: tifffile finds the tiles, imagecodecs decodes them, and the pixels equal OpenSlide's.

A 512² level-0 region of a 40x JPEG slide costs 2.5–3.5 CPU-ms in YCbCr and 1.8 in RGB, against 11–14 with OpenSlide. Of
a JPEG 2000 slide it costs 10 against 12.6.
"""

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from embedstore.errors import RegionReadError, SlideFormatError
from embedstore.slides.readers.jpeg2000 import decode_jpeg2000, decode_jpeg2000_reduced
from embedstore.slides.readers.jpeg_colours import Colourspace
from embedstore.slides.readers.jpeg_reduced import decode_reduced, reductions_of
from embedstore.slides.readers.openslide_reader import open_handle, read_header
from embedstore.slides.readers.tiff_images import TiffImage, largest_image, tiff_images
from embedstore.slides.readers.tiled import LevelLayout, TiledSlide
from embedstore.slides.slide import Pixels, SlideHeader

if TYPE_CHECKING:
    from tifffile import TiffPage

# Formats whose levels are plain grids. Ventana's and Trestle's tiles overlap; Leica and Zeiss put several images into
# one file.
VENDORS = ("aperio", "generic-tiff", "philips")

JPEG, LZW, DEFLATE, OLD_DEFLATE, UNCOMPRESSED = 7, 5, 8, 32946, 1
JPEG_2000_YCBCR, JPEG_2000_RGB = 33003, 33005  # Aperio's codes, which decide the colours whatever the photometric tag
JPEG_2000 = (JPEG_2000_YCBCR, JPEG_2000_RGB)
COLOURSPACES: dict[int, Colourspace] = {2: "RGB", 6: "YCBCR"}  # by the photometric tag, which OpenSlide trusts, too
HORIZONTAL_DIFFERENCE = 2


@dataclass(frozen=True, kw_only=True)
class TiffLevel:
    """Where the tiles of one level are, and how they are encoded.

    Attributes:
        layout: Size and number of the tiles.
        offsets: (columns * rows,) int64, first byte of each tile, row by row.
        byte_counts: (columns * rows,) int64, bytes of each tile; 0 where the file stores none.
        compression: TIFF's code.
        predictor: TIFF's code.
        colourspace: Of JPEG data.
        jpeg_tables: JPEG tables that all tiles share.
    """

    layout: LevelLayout
    offsets: NDArray[np.int64]
    byte_counts: NDArray[np.int64]
    compression: int
    predictor: int
    colourspace: Colourspace
    jpeg_tables: bytes | None


def _level(page: "TiffPage", path: str) -> TiffLevel:
    what = f"slide {path!r}, TIFF directory {page.index}"
    compression, photometric = int(page.compression), int(page.photometric)
    if compression not in (JPEG, *JPEG_2000, LZW, DEFLATE, OLD_DEFLATE, UNCOMPRESSED):
        raise SlideFormatError(f"{what}: compression {compression}; expected JPEG, JPEG 2000, LZW, deflate or none")
    colourspaces: dict[int, Colourspace] = COLOURSPACES if compression in (JPEG, *JPEG_2000) else {2: "RGB"}
    if photometric not in colourspaces:
        raise SlideFormatError(f"{what}: photometric {photometric}; expected one of {sorted(colourspaces)}")
    if page.samplesperpixel != 3 or page.dtype != np.uint8 or page.planarconfig != 1 or page.imagedepth != 1:
        raise SlideFormatError(
            f"{what}: {page.samplesperpixel} samples of {page.dtype}, planar configuration {page.planarconfig}; "
            "expected interleaved RGB of uint8"
        )
    if page.predictor not in (1, HORIZONTAL_DIFFERENCE):
        raise SlideFormatError(f"{what}: predictor {page.predictor}; expected none or horizontal difference")
    layout = LevelLayout(
        tile_w=page.tilewidth,
        tile_h=page.tilelength,
        columns=-(-page.imagewidth // page.tilewidth),
        rows=-(-page.imagelength // page.tilelength),
    )
    offsets, byte_counts = np.asarray(page.dataoffsets, np.int64), np.asarray(page.databytecounts, np.int64)
    if not len(offsets) == len(byte_counts) == layout.columns * layout.rows:
        raise SlideFormatError(f"{what}: {len(offsets)} tiles; expected {layout.columns}×{layout.rows}")
    return TiffLevel(
        layout=layout,
        offsets=offsets,
        byte_counts=byte_counts,
        compression=compression,
        predictor=int(page.predictor),
        colourspace=colourspaces[photometric],
        jpeg_tables=page.jpegtables,
    )


def read_levels(path: str, header: SlideHeader) -> tuple[SlideHeader, list[TiffLevel]]:
    """Find the directories of a TIFF that are the levels of the slide.

    These are OpenSlide's levels, except in a generic TIFF whose largest image is not the first.

    Args:
        path: The file.
        header: What OpenSlide reports.
    Returns:
        What is true of the image that is read, and its levels.
    Raises:
        SlideFormatError: the directories are not OpenSlide's levels, or this reader does not support their encoding.
    """
    import tifffile  # here: 0.06 s, which workers without such slides would pay

    try:
        with tifffile.TiffFile(path, _multifile=False) as tiff:
            if header.vendor != "generic-tiff":
                pages = [page for page in tiff.pages if isinstance(page, tifffile.TiffPage) and page.is_tiled]
            else:
                largest = largest_image(tiff_images(tiff))
                if largest.number > 0:
                    return _read_image(path, header, largest)
                pages = [largest.page, *largest.reduced]
            pages.sort(key=lambda page: -page.imagewidth)
            sizes = [(page.imagewidth, page.imagelength) for page in pages]
            # Philips pads its levels to whole tiles; OpenSlide shows what is inside the slide.
            slack = (pages[0].tilewidth, pages[0].tilelength) if pages and header.vendor == "philips" else (1, 1)
            fits = len(sizes) == len(header.level_sizes) and all(
                0 <= w - level_w < slack[0] and 0 <= h - level_h < slack[1]
                for (w, h), (level_w, level_h) in zip(sizes, header.level_sizes, strict=True)
            )
            if not fits:
                raise SlideFormatError(
                    f"slide {path!r}: tiled directories of {sizes} px; OpenSlide's are {header.level_sizes}"
                )
            return header, [_level(page, path) for page in pages]
    except SlideFormatError:
        raise
    except Exception as error:  # tifffile raises many kinds of errors for broken directories
        raise SlideFormatError(f"slide {path!r}: tifffile cannot index it: {error}") from error


def _read_image(path: str, header: SlideHeader, image: TiffImage) -> tuple[SlideHeader, list[TiffLevel]]:
    """Header and levels of an image that OpenSlide does not read."""
    pages = image.levels()
    if pages[:1] != [image.page]:
        raise SlideFormatError(f"slide {path!r}: image {image.number}, the largest, is stored in strips, not in tiles")
    levels = [_level(page, path) for page in pages]
    sizes = [(page.imagewidth, page.imagelength) for page in pages]
    properties = {name: value for name, value in header.properties.items() if not name.startswith("openslide.")}
    for i, level in enumerate(levels):
        properties[f"openslide.level[{i}].tile-width"] = str(level.layout.tile_w)
        properties[f"openslide.level[{i}].tile-height"] = str(level.layout.tile_h)
    per_px = [1e4 / per_cm if per_cm > 0 else 0.0 for per_cm in image.page.get_resolution("CENTIMETER")]
    mpp_xy = (float(per_px[0]), float(per_px[1])) if min(per_px) > 0 and image.page.resolutionunit != 1 else None
    made = SlideHeader(
        level_sizes=sizes,
        level_downsamples=[(sizes[0][0] / w + sizes[0][1] / h) / 2 for w, h in sizes],
        mpp_xy=mpp_xy,
        vendor=header.vendor,
        properties=properties | {"openslide.vendor": header.vendor},
    )
    return made, levels


class TiffSlide(TiledSlide):
    """Aperio SVS, generic pyramidal TIFF and Philips TIFF in tiles of JPEG, JPEG 2000, LZW, deflate, or raw."""

    reader = "tiff"

    def __init__(self, path: str):
        with open_handle(path) as handle:
            header = read_header(handle)
        vendor = header.vendor
        if vendor not in VENDORS:
            raise SlideFormatError(f"slide {path!r}: format {vendor}; the tiff reader takes {', '.join(VENDORS)}")
        known, (header, self._levels) = header, read_levels(path, header)
        layouts = [level.layout for level in self._levels]
        super().__init__(path, header, layouts, missing_from_finer=vendor == "aperio")
        self.overrules_openslide = header is not known
        self.reductions = [
            reductions_of(level.layout.tile_w, level.layout.tile_h) if level.compression in (JPEG, *JPEG_2000) else (1,)
            for level in self._levels
        ]
        self._file: int | None = os.open(path, os.O_RDONLY)
        self._closing = threading.Lock()

    def _decode(self, level: int, column: int, row: int) -> Pixels | None:
        stored, data = self._levels[level], self._data(level, column, row)
        if data is None:
            return None
        layout, what = stored.layout, self._what(level, column, row)
        try:
            tile = _decompress(data, stored)
        except (RuntimeError, ValueError) as error:  # imagecodecs' errors are RuntimeErrors
            raise RegionReadError(f"{what}: {error}") from error
        if tile.shape != (layout.tile_h, layout.tile_w, 3):
            raise RegionReadError(f"{what}: decoded to {tile.shape}; expected {(layout.tile_h, layout.tile_w, 3)}")
        return tile

    def _decode_reduced(self, level: int, column: int, row: int, reduce: int) -> Pixels | None:
        stored, data = self._levels[level], self._data(level, column, row)
        if data is None:
            return None
        if stored.compression in JPEG_2000:
            tile = decode_jpeg2000_reduced(data, reduce, ycbcr=stored.compression == JPEG_2000_YCBCR)
        else:
            tile = decode_reduced(data, reduce, colourspace=stored.colourspace, tables=stored.jpeg_tables)
        shape = stored.layout.tile_h // reduce, stored.layout.tile_w // reduce, 3
        return tile if tile is not None and tile.shape == shape else None

    def _data(self, level: int, column: int, row: int) -> bytes | None:
        """A tile as it is stored; None where the file has none."""
        stored = self._levels[level]
        index = row * stored.layout.columns + column
        count = int(stored.byte_counts[index])
        if count == 0:
            return None
        if self._file is None:
            raise RegionReadError(f"{self._what(level, column, row)}: the slide is closed")
        data = os.pread(self._file, count, int(stored.offsets[index]))
        if len(data) != count:
            raise RegionReadError(
                f"{self._what(level, column, row)}: expected {count} bytes, found {len(data)}: the file is cut short"
            )
        return data

    def _what(self, level: int, column: int, row: int) -> str:
        return f"slide {self.path!r}, level {level}, tile column {column}, row {row}"

    def close(self) -> None:
        with self._closing:
            if self._file is not None:
                os.close(self._file)
                self._file = None


def _decompress(data: bytes, level: TiffLevel) -> Pixels:
    if level.compression == JPEG:
        return imagecodecs.jpeg8_decode(
            data, tables=level.jpeg_tables, colorspace=level.colourspace, outcolorspace="RGB"
        )
    if level.compression in JPEG_2000:
        return decode_jpeg2000(data, ycbcr=level.compression == JPEG_2000_YCBCR)
    layout = level.layout
    shape = (layout.tile_h, layout.tile_w, 3)
    raw: bytes | bytearray = data
    if level.compression == LZW:
        raw = imagecodecs.lzw_decode(data, out=int(np.prod(shape)))
    elif level.compression != UNCOMPRESSED:
        raw = imagecodecs.zlib_decode(data, out=int(np.prod(shape)))
    tile = np.frombuffer(raw, np.uint8).reshape(shape)
    return imagecodecs.delta_decode(tile, axis=1) if level.predictor == HORIZONTAL_DIFFERENCE else tile
