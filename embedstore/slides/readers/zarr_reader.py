"""OME-Zarr images read by TensorStore, which JAX's libraries bring.

A 512² region costs 2.8 to 3.3 CPU-ms, with zarr-python 4.5 to 5.1, with ome-zarr-py 14 to 16, which brings Dask.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from embedstore.errors import RegionReadError, SlideFormatError
from embedstore.slides.readers.tiled import LevelLayout, TiledSlide
from embedstore.slides.readers.zarr_image import METADATA_FILES, ZarrImage, read_zarr_image
from embedstore.slides.slide import MOST_TILE_PX, WHITE, Pixels, SlideHeader
from embedstore.zarr_files import READING_ERRORS, ChunkFiles, chunk_shape, open_array, reason

if TYPE_CHECKING:
    from embedstore.zarr_files import ZarrArray

#: Between the downsamples along x and y of a level; those of small levels are rounded to whole pixels.
SKEW_TOLERANCE = 0.05


def is_zarr_image(path: str | Path) -> bool:
    """Whether a path is that of an image's metadata, by its name."""
    return Path(path).name in METADATA_FILES


class ZarrSlide(TiledSlide):
    """An OME-Zarr image in RGB; a chunk that is not stored has the value that the array states for it."""

    reader = "zarr"

    def __init__(self, path: str):
        if not is_zarr_image(path):
            raise SlideFormatError(f"slide {path!r}: the zarr reader takes {' or '.join(sorted(METADATA_FILES))} files")
        image = read_zarr_image(Path(path))
        if (why := image.why_no_slide()) is not None:
            raise SlideFormatError(f"slide {path!r} is no brightfield slide: {why}")
        opened = [_Level(image, level) for level in image.levels]
        opened.sort(key=lambda level: -level.pixels.shape[1])
        sizes = [(level.pixels.shape[1], level.pixels.shape[0]) for level in opened]
        layouts = [_layout(level.pixels, path) for level in opened]
        properties = {"openslide.vendor": "ome-zarr"}
        for i, layout in enumerate(layouts):
            properties[f"openslide.level[{i}].tile-width"] = str(layout.tile_w)
            properties[f"openslide.level[{i}].tile-height"] = str(layout.tile_h)
        width, height = sizes[0]
        header = SlideHeader(
            level_sizes=sizes,
            level_downsamples=[(width / w + height / h) / 2 for w, h in sizes],
            mpp_xy=image.mpp_xy,
            vendor="ome-zarr",
            properties=properties,
        )
        super().__init__(path, header, layouts)
        self._levels: list[_Level] | None = opened
        for level, (w, h) in enumerate(sizes):
            skew = abs((width / w) / (height / h) - 1)
            if skew > SKEW_TOLERANCE + 2 / min(w, h):
                raise SlideFormatError(
                    f"slide {path!r}: level {level} has {w}×{h} px, level 0 {width}×{height}: not the same picture"
                )

    def _decode(self, level: int, column: int, row: int) -> Pixels | None:
        what = f"slide {self.path!r}, level {level}, chunk column {column}, row {row}"
        if self._levels is None:
            raise RegionReadError(f"{what}: the slide is closed")
        stored, layout = self._levels[level], self._layouts[level]
        top, left = row * layout.tile_h, column * layout.tile_w
        height, width, _ = stored.pixels.shape
        bottom, right = min(top + layout.tile_h, height), min(left + layout.tile_w, width)
        try:
            pixels = stored.read(top, bottom, left, right)
        except READING_ERRORS as error:
            raise RegionReadError(f"{what}: {reason(error)}") from error
        tile = np.full((layout.tile_h, layout.tile_w, 3), WHITE, np.uint8)
        tile[: bottom - top, : right - left] = pixels
        return tile

    def close(self) -> None:
        self._levels = None


class _Level:
    """An array of an image.

    Attributes:
        pixels: The array as (height, width, 3).
    """

    def __init__(self, image: ZarrImage, level: str):
        folder, what = image.file.parent / level, f"slide {str(image.file)!r}, array {level!r}"
        array = open_array(folder, what, SlideFormatError, most_chunk_bytes=3 * MOST_TILE_PX)
        self._axes, self._files = image.axes, ChunkFiles(folder, array, SlideFormatError)
        self.pixels = _pixels(array, image, what)

    def read(self, top: int, bottom: int, left: int, right: int) -> Pixels:
        """A part of it; raises READING_ERRORS."""
        first, last = {"y": top, "x": left}, {"y": bottom, "x": right, "c": 3}
        self._files.check([first.get(axis, 0) for axis in self._axes], [last.get(axis, 1) for axis in self._axes])
        return np.asarray(self.pixels[top:bottom, left:right].read().result())


def _pixels(array: "ZarrArray", image: ZarrImage, what: str) -> "ZarrArray":
    if array.rank != len(image.axes) or array.dtype.name != "uint8" or any(array.domain.origin):
        raise SlideFormatError(f"{what}: {array.rank} axes of {array.dtype.name}; expected {len(image.axes)} of uint8")
    lengths = dict(zip(image.axes, array.shape, strict=True))
    if any(length != (3 if axis == "c" else 1) for axis, length in lengths.items() if axis not in "yx"):
        raise SlideFormatError(f"{what} has the shape {tuple(array.shape)}; expected a plane in RGB, as of the others")
    if min(lengths.values()) < 1:
        raise SlideFormatError(f"{what} is empty: its shape is {tuple(array.shape)}")
    outer = tuple(0 if axis not in "cyx" else slice(None) for axis in image.axes)
    kept = [axis for axis in image.axes if axis in "cyx"]
    return array[outer].transpose([kept.index(axis) for axis in "yxc"])


def _layout(level: "ZarrArray", path: str) -> LevelLayout:
    tile_h, tile_w, _ = chunk_shape(level)
    height, width, _ = level.shape
    if min(tile_h, tile_w) < 1:
        raise SlideFormatError(f"slide {path!r}: chunks of {tile_w}×{tile_h} px; expected 1×1 or more")
    tile_w, tile_h = min(tile_w, width), min(tile_h, height)
    return LevelLayout(tile_w=tile_w, tile_h=tile_h, columns=-(-width // tile_w), rows=-(-height // tile_h))
