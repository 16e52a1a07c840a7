"""Image files: ready-made tiles, and pictures to search by, read in one way."""

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
    try:
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "a pipe or a device"
            raise RegionReadError(f"image {str(path)!r} is {kind}; expected a file")
        with Image.open(path) as image:
            if image.width * image.height > MOST_PX:
                raise _too_large(path, f"{image.width}×{image.height} px")
            deep = ";16" in str(image.tile)  # Pillow's names of 16 bits a channel, in how it unpacks the file
            pixels = np.array(_as_rgb(ImageOps.exif_transpose(image), path))  # a copy: torch wants to write to it
        if deep and pixels.max() <= MOST_OF_12_BITS:
            raise _unknown_range(path, "16 bits a channel, of which it uses 12 or fewer")
        return pixels
    except RegionReadError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(path, "over a hundred million pixels") from error
    except UnidentifiedImageError as error:
        raise RegionReadError(
            f"{str(path)!r} is no image that can be decoded; expected PNG, JPEG, TIFF or the like"
        ) from error
    except Exception as error:  # Pillow's decoders raise many kinds of errors for broken files
        if isinstance(error, OSError) and error.strerror:
            raise RegionReadError(f"image {str(path)!r} cannot be read: {error.strerror}") from error
        raise RegionReadError(
            f"image {str(path)!r} is broken or cut short ({str(error) or type(error).__name__}); save or copy it again"
        ) from error


def _too_large(path: Path, found: str) -> RegionReadError:
    return RegionReadError(
        f"image {str(path)!r} has {found}; expected at most {MOST_PX / 1e6:g} million; crop it, or save it as a "
        "tiled TIFF, which is read as a slide"
    )


def _as_rgb(image: Image.Image, path: Path) -> Image.Image:
    if image.mode in MODES_16:
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode not in MODES:
        raise _unknown_range(path, f"pixels of mode {image.mode}")
    if not image.has_transparency_data:
        return image.convert("RGB")
    paper = Image.new("RGBA", image.size, PAPER)
    paper.alpha_composite(image.convert("RGBA"))
    return paper.convert("RGB")


def _unknown_range(path: Path, found: str) -> RegionReadError:
    return RegionReadError(
        f"image {str(path)!r} has {found}: what is black and white is not known; save it as 8-bit RGB or greyscale"
    )
