"""JPEG 2000 code streams, decoded in one thread each, in the colours that OpenSlide shows.

Of a 256² tile as Aperio's scanners write it (14 kB), imagecodecs takes 2.4 CPU-ms, OpenSlide 3.1, Pillow 3.0 and OpenCV
2.5, all through OpenJPEG, with the same pixels. Readers run in parallel already, so OpenJPEG's threads are off.
"""

import io
import math
import struct

import cv2
import imagecodecs
import numpy as np

from embedstore.slides.slide import Pixels

# JFIF's conversion in 16-bit fixed point, as libjpeg and OpenSlide round it. OpenCV's differs by a grey level.
_CHROMA = np.arange(256) - 128
_HALF = 1 << 15
_R_OF_CR = ((91881 * _CHROMA + _HALF) >> 16).astype(np.int16)
_B_OF_CB = ((116130 * _CHROMA + _HALF) >> 16).astype(np.int16)
_G_OF_CB, _G_OF_CR = -22554 * _CHROMA + _HALF, -46802 * _CHROMA
_G_OF_BOTH = ((_G_OF_CB[:, None] + _G_OF_CR) >> 16).astype(np.int16)


def decode_jpeg2000(stream: bytes, *, ycbcr: bool = False) -> Pixels:
    """Decode a code stream.

    The decoder undoes transformations of colour that the stream itself states. It takes a stream whose second
    component is subsampled for YCbCr and gives RGB, which differs from OpenSlide's by a grey level at most.

    Args:
        stream: The code stream, or a JP2 file.
        ycbcr: The container says that the components are Y, Cb and Cr.
    Returns:
        (height, width, 3) RGB.
    Raises:
        RuntimeError, ValueError: it cannot be decoded.
    """
    pixels: Pixels = imagecodecs.jpeg2k_decode(stream, numthreads=1)
    return _rgb(pixels) if ycbcr and not has_subsampled_colours(stream) else pixels


def decode_jpeg2000_reduced(stream: bytes, reduce: int, *, ycbcr: bool = False) -> Pixels | None:
    """Decode a code stream at 1/2, 1/4 … of its size: the decoder leaves out the finest of its resolution levels.

    What is left is the low-pass band of the wavelet transform: sharper than an average of pixels, and its pixels lie on
    every second one of the level, half a pixel of the level above and left of an average's. Pillow is the only decoder
    at hand that offers it. Of a 256² tile (14 kB) it takes 1.7 CPU-ms at half size and 0.8 at a quarter.

    Args:
        stream: The code stream, or a JP2 file.
        reduce: A power of two.
        ycbcr: The container says that the components are Y, Cb and Cr.
    Returns:
        (height / reduce, width / reduce, 3) RGB; None where it cannot be decoded so, such as one with too few
        resolution levels.
    """
    from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile  # here: OpenSlide's and JPEG's slides do without

    try:
        with Jpeg2KImageFile(io.BytesIO(stream)) as image:
            image.reduce = int(math.log2(reduce))
            pixels = np.asarray(image)
    except (OSError, SyntaxError, ValueError, struct.error, MemoryError):
        return None
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        return None
    return _rgb(pixels) if ycbcr and not has_subsampled_colours(stream) else pixels


def _rgb(pixels: Pixels) -> Pixels:
    y, cb, cr = (np.ascontiguousarray(pixels[..., i]) for i in range(3))
    parts = cv2.LUT(cr, _R_OF_CR), _G_OF_BOTH[cb, cr], cv2.LUT(cb, _B_OF_CB)
    return np.asarray(cv2.merge([cv2.add(y, part, dtype=cv2.CV_8U) for part in parts]), np.uint8)


def has_subsampled_colours(stream: bytes) -> bool:
    """Whether the components of a code stream differ in resolution, from its first marker segment."""
    start = stream.find(b"\xff\x4f\xff\x51")  # SOC, SIZ: image and tile size, then each component's bits and steps
    count = int.from_bytes(stream[start + 40 : start + 42], "big")
    steps = {stream[start + 43 + 3 * i : start + 45 + 3 * i] for i in range(count)}
    return start >= 0 and len(steps) > 1
