"""DICOM whole-slide images; where the photometric tag contradicts the frames, the frames decide the colours.

OpenSlide 4.0.1 trusts the tag: a series of YCbCr frames with an RGB tag comes out pink and green.
"""

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from embedstore.errors import RegionReadError, SlideFormatError
from embedstore.slides.readers.dicom_series import FrameIndex, index_frames, series_levels
from embedstore.slides.readers.jpeg2000 import decode_jpeg2000, decode_jpeg2000_reduced
from embedstore.slides.readers.jpeg_colours import Colourspace, read_colours
from embedstore.slides.readers.jpeg_reduced import decode_reduced, reductions_of
from embedstore.slides.readers.tiled import LevelLayout, TiledSlide
from embedstore.slides.slide import Pixels, SlideHeader

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.dataset import FileDataset

Codec = Literal["jpeg", "jpeg2000", "raw"]
JPEG_BASELINE = ("1.2.840.10008.1.2.4.50",)
JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
TAG_COLOURS: dict[str, Colourspace] = {"RGB": "RGB", "YBR_FULL": "YCBCR", "YBR_FULL_422": "YCBCR"}
J2K_TAGS = ("RGB", "YBR_ICT", "YBR_RCT")  # the decoder undoes ICT and RCT itself


@dataclass(kw_only=True)
class DicomLevel:
    """One file of a series, which is one level of the slide.

    Attributes:
        path: The file.
        layout: Size and number of its frames.
        size: (width, height), pixels.
        frames: Where each frame lies in the file.
        frame_of: (rows, columns) int64, index of the frame at each place; -1 where a sparse level has none.
        codec: How frames are compressed.
        colourspace: How JPEG frames are decoded.
        tag: Photometric interpretation that the file states.
        file: Descriptor of the open file; None while it is closed.
    """

    path: str
    layout: LevelLayout
    size: tuple[int, int]
    frames: FrameIndex
    frame_of: NDArray[np.int64]
    codec: Codec
    colourspace: Colourspace
    tag: str
    file: int | None = None


def _place_frames(data: "Dataset", layout: LevelLayout, path: str) -> NDArray[np.int64]:
    """Index of the frame at each (row, column); the first of several focal planes or optical paths."""
    count = layout.rows * layout.columns
    frames = int(data.get("NumberOfFrames") or 1)
    sparse = data.get("DimensionOrganizationType") == "TILED_SPARSE" or frames < count
    if not sparse:
        return np.arange(count, dtype=np.int64).reshape(layout.rows, layout.columns)
    placed = np.full((layout.rows, layout.columns), -1, np.int64)
    groups = data.get("PerFrameFunctionalGroupsSequence")
    if not groups:
        raise SlideFormatError(
            f"slide {path!r}: {frames} frames for {count} places and no positions (a concatenated instance?)"
        )
    for frame, group in enumerate(groups):
        position = group.PlanePositionSlideSequence[0]
        x = int(position.ColumnPositionInTotalImagePixelMatrix) - 1
        y = int(position.RowPositionInTotalImagePixelMatrix) - 1
        if x % layout.tile_w or y % layout.tile_h or x < 0 or y < 0:
            raise SlideFormatError(f"slide {path!r}: frame {frame} at {x},{y} is not on a grid of whole frames")
        place = y // layout.tile_h, x // layout.tile_w
        if placed[place] < 0:
            placed[place] = frame
    return placed


def _open_level(path: str) -> tuple[DicomLevel, "FileDataset"]:
    """A level of a series, and its dataset.

    Raises:
        SlideFormatError: this reader does not support its encoding.
    """
    import pydicom  # here: 0.25 s, which every worker would pay

    with open(path, "rb") as file:
        data = pydicom.dcmread(file, stop_before_pixels=True)
        pixels_at = file.tell()
    tag, syntax = str(data.get("PhotometricInterpretation")), str(data.file_meta.TransferSyntaxUID)
    if data.SamplesPerPixel != 3 or data.BitsAllocated != 8 or data.get("PlanarConfiguration", 0) != 0:
        raise SlideFormatError(f"slide {path!r}: expected interleaved RGB of 8 bits, found {tag}")
    codec: Codec = "jpeg" if syntax in JPEG_BASELINE else "jpeg2000" if syntax in JPEG_2000 else "raw"
    if codec == "raw" and data.file_meta.TransferSyntaxUID.is_compressed:
        raise SlideFormatError(f"slide {path!r}: transfer syntax {syntax}; expected JPEG, JPEG 2000 or none")
    expected = tuple(TAG_COLOURS) if codec == "jpeg" else J2K_TAGS if codec == "jpeg2000" else ("RGB",)
    if tag not in expected:
        raise SlideFormatError(f"slide {path!r}: photometric {tag}; expected {' or '.join(expected)}")
    width, height = int(data.TotalPixelMatrixColumns), int(data.TotalPixelMatrixRows)
    tile_w, tile_h = int(data.Columns), int(data.Rows)
    layout = LevelLayout(tile_w=tile_w, tile_h=tile_h, columns=-(-width // tile_w), rows=-(-height // tile_h))
    frames = index_frames(path, data, pixels_at, tile_w * tile_h * 3)
    level = DicomLevel(
        path=path,
        layout=layout,
        size=(width, height),
        frames=frames,
        frame_of=_place_frames(data, layout, path),
        codec=codec,
        colourspace=TAG_COLOURS.get(tag, "RGB"),
        tag=tag,
    )
    return level, data


def _mpp_xy(data: "Dataset") -> tuple[float, float] | None:
    """Micrometres per pixel along x and y; PixelSpacing holds millimetres, rows first."""
    try:
        spacing = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
        x, y = float(spacing[1]) * 1000, float(spacing[0]) * 1000
    except (AttributeError, IndexError, TypeError, ValueError):
        return None
    return (x, y) if 0 < x < float("inf") and 0 < y < float("inf") else None


class DicomSlide(TiledSlide):
    """A series of DICOM VL whole-slide images; OpenSlide is overruled where tag and frames differ in their colours."""

    reader = "dicom"

    def __init__(self, path: str):
        self._closing = threading.Lock()
        self._levels: list[DicomLevel] = []
        headers = series_levels(path)
        if len({header.size for header in headers}) < len(headers):
            raise SlideFormatError(f"slide {path!r}: its series has several files of one level (concatenation, planes)")
        try:
            opened = [_open_level(header.path) for header in headers]
        except SlideFormatError:
            raise
        except Exception as error:  # pydicom raises a dozen kinds of errors for broken files
            raise SlideFormatError(f"slide {path!r}: its DICOM attributes cannot be used: {error}") from error
        self._levels = [level for level, _ in opened]
        finest = opened[0][1]
        sizes = [level.size for level in self._levels]
        mpp_xy = _mpp_xy(finest)
        properties = {"openslide.vendor": "dicom"} | {
            f"dicom.{name}": str(finest.get(name))
            for name in ("Manufacturer", "ManufacturerModelName", "SeriesInstanceUID", "PhotometricInterpretation")
            if finest.get(name) is not None
        }
        for i, level in enumerate(self._levels):
            properties[f"openslide.level[{i}].tile-width"] = str(level.layout.tile_w)
            properties[f"openslide.level[{i}].tile-height"] = str(level.layout.tile_h)
        if mpp_xy is not None:
            properties |= {"openslide.mpp-x": str(mpp_xy[0]), "openslide.mpp-y": str(mpp_xy[1])}
        header = SlideHeader(
            level_sizes=sizes,
            level_downsamples=[(sizes[0][0] / w + sizes[0][1] / h) / 2 for w, h in sizes],
            mpp_xy=mpp_xy,
            vendor="dicom",
            properties=properties,
        )
        super().__init__(path, header, [level.layout for level in self._levels])
        further = int(finest.get("NumberOfFrames") or 1) - int((self._levels[0].frame_of >= 0).sum())
        if further > 0:
            self.warnings.append(f"{further} frames of further focal planes or optical paths not read")
        self.reductions = [
            reductions_of(level.layout.tile_w, level.layout.tile_h) if level.codec != "raw" else (1,)
            for level in self._levels
        ]
        for level in self._levels:
            level.file = os.open(level.path, os.O_RDONLY)
        try:
            self._correct_colours()
        except BaseException:
            self.close()
            raise

    def _correct_colours(self) -> None:
        """Take the colour space of each level from its first frame, where that states one."""
        contradiction = ""
        for level in self._levels:
            placed = level.frame_of[level.frame_of >= 0]
            if level.codec != "jpeg" or not len(placed) or level.file is None:
                continue
            try:
                colourspace = read_colours(level.frames.read(level.file, int(placed[0]))).colourspace()
            except ValueError as error:
                raise SlideFormatError(f"slide {level.path!r}: its first frame: {error}") from error
            if colourspace is not None and colourspace != level.colourspace:
                level.colourspace = colourspace
                name = "YBR" if colourspace == "YCBCR" else colourspace
                contradiction = f"photometric tag says {level.tag}, frames are {name}"
        if contradiction:
            self.overrules_openslide = True
            self.warnings.append(f"{contradiction}; right here, wrong colours in OpenSlide")

    def _decode(self, level: int, column: int, row: int) -> Pixels | None:
        stored = self._levels[level]
        frame = int(stored.frame_of[row, column])
        if frame < 0:
            return None
        what = f"slide {stored.path!r}, frame {frame} (column {column}, row {row} of level {level})"
        file, layout = stored.file, stored.layout
        if file is None:
            raise RegionReadError(f"{what}: the slide is closed")
        shape = (layout.tile_h, layout.tile_w, 3)
        try:
            data = stored.frames.read(file, frame)
            if stored.codec == "jpeg":
                tile = imagecodecs.jpeg8_decode(data, colorspace=stored.colourspace, outcolorspace="RGB")
            elif stored.codec == "jpeg2000":
                tile = decode_jpeg2000(data)
            else:
                tile = np.frombuffer(data, np.uint8).reshape(shape)
        except (RuntimeError, ValueError, OSError) as error:  # imagecodecs' errors are RuntimeErrors
            raise RegionReadError(f"{what}: {error}") from error
        if tile.shape != shape or tile.dtype != np.uint8:
            raise RegionReadError(f"{what}: decoded to {tile.shape} of {tile.dtype}; expected {shape} of uint8")
        return tile

    def _decode_reduced(self, level: int, column: int, row: int, reduce: int) -> Pixels | None:
        stored = self._levels[level]
        frame = int(stored.frame_of[row, column])
        if frame < 0 or stored.file is None:
            return None
        try:
            data = stored.frames.read(stored.file, frame)
        except (ValueError, OSError):  # `_decode` says why
            return None
        if stored.codec == "jpeg2000":
            tile = decode_jpeg2000_reduced(data, reduce)
        else:
            tile = decode_reduced(data, reduce, colourspace=stored.colourspace)
        shape = stored.layout.tile_h // reduce, stored.layout.tile_w // reduce, 3
        return tile if tile is not None and tile.shape == shape else None

    def close(self) -> None:
        with self._closing:
            for level in self._levels:
                if level.file is not None:
                    os.close(level.file)
                    level.file = None
