"""What a TIFF holds, found without decoding: whether it is in tiles, and its images, each with its smaller copies.

OpenSlide reads the first image of a generic TIFF and says nothing of the others, and OME-TIFF often puts an overview
first. QuPath and tiatoolbox take the largest image by themselves, as here.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

#: How an image becomes a slide.
TO_TILED_TIFF = "vips tiffsave IN OUT.tif --tile --pyramid --compression jpeg"
TILE_WIDTH = 322  # a TIFF tag
HEADER_BYTES = 16
_ORDERS = {b"II": "<", b"MM": ">"}
DIRECTORY_BYTES = 4096  # 200 entries of a BigTIFF; slides have 30
#: Directories that are looked at: files of time series have thousands.
MOST_PAGES = 1000


@dataclass(frozen=True, kw_only=True)
class TiffImage:
    """An image of a TIFF.

    Attributes:
        number: From 0, in the file's order, as Bio-Formats numbers its series.
        page: Its directory of full size.
        reduced: The directories after it that are tiled and said to be smaller copies.
    """

    number: int
    page: "TiffPage"
    reduced: "list[TiffPage]"

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), pixels."""
        return self.page.imagewidth, self.page.imagelength

    @property
    def pixels(self) -> int:
        return self.page.imagewidth * self.page.imagelength

    def levels(self) -> "list[TiffPage]":
        """All tiled directories that show the image, finest first; OpenSlide does not see sub-directories."""
        pages: list[Any] = [self.page, *self.reduced, *(self.page.pages or ())]
        return sorted((page for page in pages if page.is_tiled), key=lambda page: -page.imagewidth)


def tiff_images(tiff: "TiffFile") -> list[TiffImage]:
    """The images of a file; those that are not tiled and smaller than the first are labels and thumbnails."""
    from tifffile import TiffPage

    images: list[TiffImage] = []
    for page, _ in zip(tiff.pages, range(MOST_PAGES), strict=False):
        if not isinstance(page, TiffPage):
            continue
        if images and page.is_reduced:
            if page.is_tiled:
                images[-1].reduced.append(page)
            continue
        if images and not page.is_tiled and page.imagewidth * page.imagelength < images[0].pixels:
            continue
        images.append(TiffImage(number=len(images), page=page, reduced=[]))
    return images


def largest_image(images: list[TiffImage]) -> TiffImage:
    """The image of most pixels; the first of several."""
    return max(images, key=lambda image: image.pixels)


def describe_unread(path: str, read_size: tuple[int, int]) -> list[str]:
    """A warning where a file has images that are not read.

    Args:
        path: The file.
        read_size: (width, height) of the image that is read.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path, _multifile=False) as tiff:
            images = tiff_images(tiff)
    except Exception:  # of many kinds, for a file that OpenSlide reads all the same
        return []
    read = next((image for image in images if image.size == read_size), None)
    unread = [image for image in images if image is not read]
    if not unread:
        return []
    sizes = ", ".join(f"{width}×{height} px" for width, height in dict.fromkeys(image.size for image in unread))
    text = f"{len(unread)} further image{'s' * (len(unread) > 1)} of the file not read ({sizes})"
    largest = largest_image(images)
    if read is not None and largest is read:
        return [f"{text}; image {read.number} is, the largest" if read.number else text]
    return [
        f"{text}: image {largest.number} is larger than the one that is read, and stored in a way that the tiff reader "
        f"does not take; save it as a file of its own (bfconvert -series {largest.number})"
    ]


def directory_at(header: bytes) -> int | None:
    """Where the first directory of a TIFF begins, from the file's first 16 bytes; None where it is no TIFF."""
    order = _ORDERS.get(header[:2])
    try:
        big = order is not None and _is_big(header)
        return None if order is None else struct.unpack_from(order + ("Q" if big else "I"), header, 8 if big else 4)[0]
    except struct.error:
        return None


def _is_big(header: bytes) -> bool:
    return struct.unpack_from(_ORDERS[header[:2]] + "H", header, 2)[0] == 43


def is_tiled_tiff(path: str | Path) -> bool:
    """Whether a file is a TIFF whose first directory is stored in tiles, as in every slide.

    Parsed here, in 30 µs a file; tifffile takes a millisecond.
    """
    try:
        with open(path, "rb") as file:
            header = file.read(HEADER_BYTES)
            at = directory_at(header)
            if at is None:
                return False
            file.seek(at)
            directory = file.read(DIRECTORY_BYTES)
    except (OSError, ValueError, OverflowError):
        return False
    order, big = _ORDERS[header[:2]], _is_big(header)
    count_bytes, entry_bytes = (8, 20) if big else (2, 12)
    entries = directory[count_bytes:]
    if len(directory) < count_bytes:
        return False
    count = min(struct.unpack(order + ("Q" if big else "H"), directory[:count_bytes])[0], len(entries) // entry_bytes)
    tags = (struct.unpack_from(order + "H", entries, entry_bytes * i)[0] for i in range(count))
    return TILE_WIDTH in tags
