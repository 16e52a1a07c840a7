"""Images from clients are decoded by their content, within bounds, or refused with a sentence."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from embedstore.errors import QueryError, TooLargeError
from embedstore.service.pictures import decode_upload
from embedstore.slides import image_file
from embedstore.slides.image_file import decode_image
from tests.slides.drawings import tissue_picture

PICTURE = tissue_picture(60, 40)


def saved(pixels: np.ndarray | Image.Image = PICTURE, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    image.save(stream, kind, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def png_of_size(width: int, height: int) -> bytes:
    """The head of a PNG that claims a size, and little more."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 20), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tiff_of_size(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((16, 16, 3), np.uint8), photometric="rgb")
    data = stream.getvalue()
    for tag, value in ((256, width), (257, height)):
        at = (
            data.index(struct.pack("<HH", tag, 4))
            if struct.pack("<HH", tag, 4) in data
            else data.index(struct.pack("<HH", tag, 3))
        )
        data = data[:at] + struct.pack("<HHII", tag, 4, 1, value) + data[at + 12 :]
    return data


def test_an_image_is_decoded_in_another_process():
    np.testing.assert_array_equal(decode_upload(saved()), PICTURE)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "BMP", "JPEG", "GIF"])
def test_formats_are_known_by_their_content(kind: str):
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    found = decode_image(saved(kind=kind, **options))
    assert np.abs(found.astype(int) - PICTURE).mean() < (0.01 if kind in ("PNG", "TIFF", "WEBP", "BMP") else 5)


def test_what_a_camera_or_a_program_adds_is_heeded_or_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6
    np.testing.assert_array_equal(decode_image(saved(exif=exif)), np.rot90(PICTURE, -1))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    np.testing.assert_array_equal(decode_image(saved(icc_profile=profile)), PICTURE)
    alpha = np.dstack([PICTURE, np.full(PICTURE.shape[:2], 0, np.uint8)])
    assert (decode_image(saved(alpha)) == 255).all()
    cmyk = decode_image(saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))
    np.testing.assert_allclose(cmyk[8, 8], [255, 0, 0], atol=3)
    deep = saved(Image.fromarray((PICTURE[..., 0].astype(np.uint16) << 8) + 7))
    np.testing.assert_array_equal(decode_image(deep)[..., 1], PICTURE[..., 0])
    two = Image.fromarray(PICTURE)
    phone = saved(two, "MPO", save_all=True, append_images=[two.resize((6, 4))], quality=95)
    assert decode_image(phone).shape == PICTURE.shape


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the request has no image; send the bytes of a PNG"),
        (b"%PDF-1.7\n%%EOF", "the image is no image that can be decoded; expected PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>", "is no image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is no image"),
        (saved()[:300], "is broken or cut short"),
        (bytes(21_000_000), "has 21,000,000 bytes; expected at most 20,000,000"),
        (png_of_size(40_000, 40_000), "has .*40000×40000 px|over a hundred million"),
        (png_of_size(5_000, 4_000), "has 5000×4000 px; expected at most 16.7772 million; crop it"),
        (tiff_of_size(60_000, 60_000), "60000×60000 px|over a hundred million"),
        (saved(kind="GIF", save_all=True, append_images=[Image.new("RGB", (60, 40))]), "has 2 pictures or pages"),
        (saved(kind="TIFF", save_all=True, append_images=[Image.new("RGB", (60, 40))] * 2), "has 3 pictures or pages"),
        (saved(kind="WEBP", save_all=True, append_images=[Image.new("RGB", (60, 40))]), "has 2 pictures or pages"),
        (saved(Image.fromarray(np.zeros((9, 9), np.float32)), "TIFF"), "what is black and white is not known"),
    ],
    ids=["nothing", "PDF", "SVG", "EPS", "torn", "heavy", "bomb", "large", "TIFF bomb", "GIF", "TIFF", "WebP", "float"],
)
def test_what_is_refused(body: bytes, words: str, monkeypatch):
    monkeypatch.setattr(
        "embedstore.service.pictures.uploads.read_image_apart",
        lambda body, most_px, answer_s: decode_image(body, most_px=most_px),  # a process each takes 0.3 s
    )
    with pytest.raises((QueryError, TooLargeError), match=words):
        decode_upload(body)


def test_a_bomb_is_refused_in_its_process_and_no_memory_stays():
    with pytest.raises(QueryError, match=r"40000×40000 px|hundred million"):
        decode_upload(png_of_size(40_000, 40_000))


def test_sent_images_are_of_formats_that_start_no_program():
    assert not {"EPS", "PDF", "SVG", "WMF"} & set(image_file.SENT_FORMATS)
