"""Image files: ready-made tiles, and pictures to search by, read in one way."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from embedstore.errors import RegionReadError
from embedstore.slides.slide import WHITE, Pixels

#: 8 bits a channel, in colour spaces that Pillow converts to RGB.
MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"})
MODES_16 = frozenset({"I;16", "I;16L", "I;16B"})  # grey of 16 bits; Pillow reads colours of 16 bits as 8
#: Values of 12 bits, as microscopes' cameras give them, end here after 16 bits are made 8: all but black.
MOST_OF_12_BITS = 15
#: 200 MB as RGB. Larger images are slides, which are read tile by tile from a pyramid.
MOST_PX = 64_000_000
#: What is accepted from strangers over a network.
SENT_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF")
#: What is read of files, known by their content and not by their name. Of EPS, Pillow would start another program.
FILE_FORMATS = (*SENT_FORMATS, "JPEG2000", "AVIF", "PPM")
PAPER = (WHITE, WHITE, WHITE, WHITE)


def read_image(path: str | Path) -> Pixels:
    """Decode an image, upright as its EXIF orientation says; transparency shows white, as glass does.

    Of a file with several images the first is read. Colour profiles are not applied, as slide readers do not either.

    Returns:
        (height, width, 3) uint8 RGB.
    Raises:
        RegionReadError: the file is missing or no image, is larger than MOST_PX, or has values whose black and white
            are not known.
    """
    path = Path(path)
    what = f"image {str(path)!r}"
    try:
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "a pipe or a device"
            raise RegionReadError(f"{what} is {kind}; expected a file")
    except OSError as error:
        raise _unreadable(error, what) from error
    return _decode(path, what)


def decode_image(data: bytes, *, most_px: int = MOST_PX) -> Pixels:
    """Decode an image that came over a network; its format is known by its content. Otherwise as `read_image`.

    Args:
        data: PNG, JPEG, TIFF, WebP, BMP or GIF, of one picture.
        most_px: Most pixels, counted before any is decoded.
    Raises:
        RegionReadError: as `read_image`; or it holds several pictures.
    """
    return _decode(io.BytesIO(data), "the image", most_px=most_px, sent=True)


def _decode(source: Path | io.BytesIO, what: str, *, most_px: int | None = None, sent: bool = False) -> Pixels:
    most_px = MOST_PX if most_px is None else most_px
    try:
        with Image.open(source, formats=SENT_FORMATS if sent else FILE_FORMATS) as image:
            if image.width * image.height > most_px:
                raise _too_large(what, f"{image.width}×{image.height} px", most_px, sent)
            # A phone's JPEG has a second picture, for depth or as a preview.
            if sent and image.format != "MPO" and (pictures := getattr(image, "n_frames", 1)) > 1:
                raise RegionReadError(f"{what} has {pictures} pictures or pages; expected one; save the one you mean")
            deep = ";16" in str(image.tile)  # Pillow's names of 16 bits a channel, in how it unpacks the file
            pixels = np.array(_as_rgb(ImageOps.exif_transpose(image), what))  # a copy: torch wants to write to it
        if deep and pixels.max() <= MOST_OF_12_BITS:
            raise _unknown_range(what, "16 bits a channel, of which it uses 12 or fewer")
        return pixels
    except RegionReadError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(what, "over a hundred million pixels", most_px, sent) from error
    except UnidentifiedImageError as error:
        subject = what.removeprefix("image ")
        expected = "PNG, JPEG, TIFF, WebP, BMP or GIF" if sent else "PNG, JPEG, TIFF or the like"
        raise RegionReadError(f"{subject} is no image that can be decoded; expected {expected}") from error
    except Exception as error:  # Pillow's decoders raise many kinds of errors for broken files
        raise _unreadable(error, what) from error


def _unreadable(error: Exception, what: str) -> RegionReadError:
    if isinstance(error, OSError) and error.strerror:
        return RegionReadError(f"{what} cannot be read: {error.strerror}")
    return RegionReadError(
        f"{what} is broken or cut short ({str(error) or type(error).__name__}); save or copy it again"
    )


def _too_large(what: str, found: str, most_px: int, sent: bool) -> RegionReadError:
    hint = "" if sent else ", or save it as a tiled TIFF, which is read as a slide"
    return RegionReadError(f"{what} has {found}; expected at most {most_px / 1e6:g} million; crop it{hint}")


def _as_rgb(image: Image.Image, what: str) -> Image.Image:
    if image.mode in MODES_16:
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode not in MODES:
        raise _unknown_range(what, f"pixels of mode {image.mode}")
    if not image.has_transparency_data:
        return image.convert("RGB")
    paper = Image.new("RGBA", image.size, PAPER)
    paper.alpha_composite(image.convert("RGBA"))
    return paper.convert("RGB")


def _unknown_range(what: str, found: str) -> RegionReadError:
    return RegionReadError(
        f"{what} has {found}: what is black and white is not known; save it as 8-bit RGB or greyscale"
    )
