"""Images that clients send: decoded apart from the service, within bounds."""

from embedstore.errors import QueryError, RegionReadError, TooLargeError
from embedstore.slides import Pixels, read_image_apart

#: Largest body of an image, bytes.
MOST_UPLOAD_BYTES = 20_000_000
#: Most pixels of an image; 4096² are 256 tiles of 256 px.
MOST_UPLOAD_PX = 4096 * 4096
#: Longest time for decoding, seconds; 16 million pixels take one at most.
ANSWER_S = 20.0


def decode_upload(
    body: bytes,
    *,
    most_bytes: int = MOST_UPLOAD_BYTES,
    most_px: int = MOST_UPLOAD_PX,
    answer_s: float = ANSWER_S,
) -> Pixels:
    """Decode the image that a client sent, in a process that ends with it.

    The format is known by the content: PNG, JPEG, TIFF, WebP, BMP or GIF with one picture. It is turned upright as its
    EXIF orientation says, transparency shows white, 16 bits become 8, and CMYK becomes RGB; colour profiles are not
    applied.

    Returns:
        (height, width, 3) uint8 RGB.
    Raises:
        TooLargeError: it has too many bytes.
        QueryError: it is no such image, has too many pixels, or cannot be decoded in time.
    """
    if not body:
        raise QueryError("the request has no image; send the bytes of a PNG, JPEG, TIFF, WebP, BMP or GIF as its body")
    if len(body) > most_bytes:
        raise TooLargeError(f"the image has {len(body):,} bytes; expected at most {most_bytes:,}; crop it")
    try:
        return read_image_apart(body, most_px=most_px, answer_s=answer_s)
    except RegionReadError as error:
        raise QueryError(str(error)) from error
