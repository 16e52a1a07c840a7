"""DICOM whole-slide series: which files belong to a slide, and where their frames lie."""

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import SlideFormatError

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

WHOLE_SLIDE_STORAGE = "1.2.840.10008.5.1.4.1.1.77.1.6"
DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".dic"})
MAGIC, MAGIC_AT = b"DICM", 128
ITEM, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
ITEM_HEADER_BYTES = 8
UNDEFINED_LENGTH = 0xFFFFFFFF

HEADER_TAGS = [
    "SOPClassUID", "SeriesInstanceUID", "ImageType", "TotalPixelMatrixColumns", "TotalPixelMatrixRows",
]  # fmt: skip


def is_dicom(path: str | Path) -> bool:
    """Whether a file begins with DICOM's magic bytes."""
    with open(path, "rb") as file:
        return file.read(MAGIC_AT + len(MAGIC))[MAGIC_AT:] == MAGIC


@dataclass(frozen=True, kw_only=True)
class DicomHeader:
    """The few attributes that tell which slide a file belongs to.

    Attributes:
        path: The file.
        series: SeriesInstanceUID.
        whole_slide: The file is of the whole-slide storage class.
        volume: It is a level of the pyramid, not a label, overview or thumbnail.
        size: (width, height) of the whole level, pixels.
    """

    path: str
    series: str
    whole_slide: bool
    volume: bool
    size: tuple[int, int]


def read_header(file: str | Path | BinaryIO, path: str | Path | None = None) -> DicomHeader:
    """Read the attributes that group DICOM files into slides.

    Args:
        file: The file, or its bytes as far as its pixels.
        path: Where bytes are from.
    Raises:
        SlideFormatError: the file is not a DICOM file.
    """
    import pydicom  # here: 0.25 s, which every worker would pay

    path = path if isinstance(file, io.IOBase) else file  # type: ignore[assignment]
    try:
        data = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=HEADER_TAGS)
        image_type = list(data.get("ImageType") or [])
        return DicomHeader(
            path=str(path),
            series=str(data.get("SeriesInstanceUID") or path),
            whole_slide=data.get("SOPClassUID") == WHOLE_SLIDE_STORAGE,
            volume=len(image_type) < 3 or image_type[2] == "VOLUME",
            size=(int(data.get("TotalPixelMatrixColumns") or 0), int(data.get("TotalPixelMatrixRows") or 0)),
        )
    except Exception as error:  # pydicom raises a dozen kinds of errors for broken files
        raise SlideFormatError(f"slide {str(path)!r}: pydicom cannot read it: {error}") from error


def series_levels(path: str) -> list[DicomHeader]:
    """The levels of the series that a file belongs to, from the files next to it, finest first.

    Raises:
        SlideFormatError: the file is not a whole-slide image, or no level of its series lies in the folder.
    """
    named = read_header(path)
    if not named.whole_slide:
        raise SlideFormatError(f"slide {path!r}: DICOM, but not of the whole-slide storage class")
    levels = []
    for file in sorted(Path(path).parent.iterdir()):
        try:
            if not file.is_file() or not is_dicom(file):
                continue
            header = read_header(file)
        except (SlideFormatError, OSError):
            continue  # of another slide, as far as can be told
        if header.series == named.series and header.whole_slide and header.volume:
            levels.append(header)
    if not levels:
        raise SlideFormatError(f"slide {path!r}: no VOLUME image of its series in its folder")
    return sorted(levels, key=lambda header: -header.size[0])


@dataclass(frozen=True, kw_only=True)
class FrameIndex:
    """Where each frame lies in a file.

    Attributes:
        starts: (n,) int64, first byte of each frame; of its first item where the pixel data are encapsulated.
        ends: (n,) int64, the byte after each frame.
        encapsulated: Frames are items with headers; else they are bare pixels.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    encapsulated: bool

    def read(self, file: int, frame: int) -> bytes:
        """The bytes of a frame, without the item headers.

        Raises:
            ValueError: the file is cut short, or an item is missing.
        """
        start, end = int(self.starts[frame]), int(self.ends[frame])
        if end <= start:
            raise ValueError(f"no item at {start}, where the frame should begin: the file is cut short")
        data = os.pread(file, end - start, start)
        if len(data) != end - start:
            raise ValueError(f"expected {end - start} bytes at {start}, found {len(data)}: the file is cut short")
        return b"".join(_items(data)) if self.encapsulated else data


def _items(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + ITEM_HEADER_BYTES <= len(data) and data[at : at + 4] != SEQUENCE_END:
        if data[at : at + 4] != ITEM:
            raise ValueError(f"expected a DICOM item, found {data[at : at + 4].hex(' ')}")
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at + ITEM_HEADER_BYTES : at + ITEM_HEADER_BYTES + length]
        at += ITEM_HEADER_BYTES + length


def index_frames(path: str, data: "FileDataset", pixels_at: int, frame_bytes: int) -> FrameIndex:
    """Find the frames of a file from its offset tables, or by walking its fragments where it has none.

    Args:
        path: The file.
        data: Its dataset, read up to the pixels.
        pixels_at: First byte of the pixel data element.
        frame_bytes: Size of an uncompressed frame.
    Raises:
        SlideFormatError: the pixel data are malformed.
    """
    frames = int(data.get("NumberOfFrames") or 1)
    explicit = not data.file_meta.TransferSyntaxUID.is_implicit_VR
    with open(path, "rb") as file:
        file.seek(pixels_at)
        header = file.read(12 if explicit else 8)
        if header[:4] != b"\xe0\x7f\x10\x00":
            raise SlideFormatError(f"slide {path!r}: no pixel data")
        first = pixels_at + len(header)
        if int.from_bytes(header[-4:], "little") != UNDEFINED_LENGTH:
            starts = first + frame_bytes * np.arange(frames, dtype=np.int64)
            return FrameIndex(starts=starts, ends=starts + frame_bytes, encapsulated=False)
        item = file.read(ITEM_HEADER_BYTES)
        table_bytes = int.from_bytes(item[4:], "little")
        if item[:4] != ITEM:
            raise SlideFormatError(f"slide {path!r}: encapsulated pixel data without an offset table item")
        basic = np.frombuffer(file.read(table_bytes), "<u4").astype(np.int64)
        body = first + ITEM_HEADER_BYTES + table_bytes
        if "ExtendedOffsetTable" in data and "ExtendedOffsetTableLengths" in data:
            starts = body + np.frombuffer(data.ExtendedOffsetTable, "<u8").astype(np.int64)
            lengths = np.frombuffer(data.ExtendedOffsetTableLengths, "<u8").astype(np.int64)
            ends = starts + ITEM_HEADER_BYTES + lengths + lengths % 2
        elif len(basic) == frames and frames > 0:
            starts = body + basic
            _, walked = _walk(file.fileno(), int(starts[-1]))
            ends = np.append(starts[1:], walked[-1:] or starts[-1:])
        else:
            starts, ends = map(np.asarray, _walk(file.fileno(), body))
    if not len(starts) == len(ends) == frames:
        raise SlideFormatError(
            f"slide {path!r}: {frames} frames in {len(starts)} fragments, and no offset table assigns them"
        )
    return FrameIndex(starts=starts, ends=ends, encapsulated=True)


def _walk(file: int, at: int) -> tuple[list[int], list[int]]:
    """The first byte of each item from `at` on, and the byte after each."""
    starts: list[int] = []
    ends: list[int] = []
    while True:
        header = os.pread(file, ITEM_HEADER_BYTES, at)
        if len(header) < ITEM_HEADER_BYTES or header[:4] != ITEM:
            return starts, ends
        starts.append(at)
        at += ITEM_HEADER_BYTES + int.from_bytes(header[4:], "little")
        ends.append(at)
