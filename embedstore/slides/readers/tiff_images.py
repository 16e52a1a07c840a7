"""The images of a generic TIFF, each with its smaller copies; OpenSlide reads the first and says nothing of the others.

OME-TIFF often puts an overview first. QuPath and tiatoolbox take the largest image by themselves, as here.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

#: Directories that are looked at: files of time series have thousands.
MOST_PAGES = 1000


@dataclass(frozen=True, kw_only=True)
class TiffImage:
    """An image of a TIFF.

    Attributes:
        number: From 0, in the file's order, as Bio-Formats numbers its series.
        page: Its directory of full size.
        copies: Smaller copies: the directories after it that are said to be such, and its own sub-directories.
    """

    number: int
    page: "TiffPage"
    copies: "list[TiffPage]"

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), pixels."""
        return self.page.imagewidth, self.page.imagelength

    @property
    def pixels(self) -> int:
        return self.page.imagewidth * self.page.imagelength


def tiff_images(tiff: "TiffFile", *, sub_directories: bool = True) -> list[TiffImage]:
    """The images of a file; those that are not tiled and smaller than the first are labels and thumbnails.

    Args:
        tiff: The open file.
        sub_directories: Take the smaller copies that are kept in sub-directories, which OpenSlide does not see.
    """
    from tifffile import TiffPage

    images: list[TiffImage] = []
    for page, _ in zip(tiff.pages, range(MOST_PAGES), strict=False):
        if not isinstance(page, TiffPage):
            continue
        if images and page.is_reduced:
            if page.is_tiled:
                images[-1].copies.append(page)
            continue
        if images and not page.is_tiled and page.imagewidth * page.imagelength < images[0].pixels:
            continue
        copies = [copy for copy in page.pages or () if isinstance(copy, TiffPage)] if sub_directories else []
        images.append(TiffImage(number=len(images), page=page, copies=copies))
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
