"""Read the pixels of an image file to search by."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from embedstore.errors import QueryError
from embedstore.slides import Pixels

#: 8 bits a channel, in colour spaces that Pillow converts to RGB.
MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"})
#: 200 MB as RGB. Larger images are slides, which ingest reads tile by tile.
MOST_PX = 64_000_000
WHITE = (255, 255, 255, 255)


def read_image(path: str | Path) -> Pixels:
    """Decode an image, upright as its EXIF orientation says; transparency shows white, as glass does.

    Of a file with several images the first is read. Colour profiles are not applied, as slide readers do not either.

    Returns:
        (height, width, 3) uint8 RGB.
    Raises:
        QueryError: the file is missing or no image, is larger than MOST_PX, or has more than 8 bits a channel.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            _check(image, path)
            return np.asarray(_on_white(ImageOps.exif_transpose(image)), np.uint8)
    except QueryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(path, str(error)) from error
    except UnidentifiedImageError as error:
        raise QueryError(f"{path} is no image that can be decoded; expected PNG, JPEG, TIFF or the like") from error
    except OSError as error:
        raise QueryError(f"image {path} cannot be read: {error.strerror or error}") from error
    except (ValueError, SyntaxError, EOFError, TypeError, OverflowError, KeyError, IndexError) as error:
        # Pillow's decoders raise all of these for broken files
        raise QueryError(f"image {path} is broken: {error or type(error).__name__}; save it again") from error


def _check(image: Image.Image, path: Path) -> None:
    if image.width * image.height > MOST_PX:
        raise _too_large(path, f"it has {image.width}×{image.height} px")
    if image.mode not in MODES:
        raise QueryError(
            f"image {path} has pixels of mode {image.mode}, not of 8 bits a channel; what is black and white is "
            "not known: save it as 8-bit RGB or greyscale"
        )


def _too_large(path: Path, reason: str) -> QueryError:
    return QueryError(
        f"image {path} is too large to search by: {reason}; expected at most {MOST_PX / 1e6:g} million pixels; crop "
        "it, or ingest it as a slide and search by a region of it"
    )


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    paper = Image.new("RGBA", image.size, WHITE)
    paper.alpha_composite(image.convert("RGBA"))
    return paper.convert("RGB")
