"""Image files: what is read of them, and what is refused."""

import os
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from embedstore.errors import RegionReadError
from embedstore.slides import image_file, read_image


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def saved(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_rgb_is_read_as_it_is(tmp_path: Path):
    pixels = picture(20, 30)
    for name in ("a.png", "a.tif", "a.bmp"):
        np.testing.assert_array_equal(read_image(saved(tmp_path / name, pixels)), pixels)


@pytest.mark.parametrize("mode", ["L", "1"])
def test_grey_becomes_rgb(tmp_path: Path, mode: str):
    grey = Image.fromarray(picture(20, 30)[..., 0]).convert(mode)
    grey.save(tmp_path / "a.png")
    expected = np.asarray(grey.convert("L"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.stack([expected] * 3, axis=-1))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_shows_white(tmp_path: Path, mode: str):
    image = Image.new("RGBA", (4, 2), (10, 10, 10, 255))
    image.paste((10, 10, 10, 0), (0, 0, 2, 2))
    image.convert(mode).save(tmp_path / "a.png")
    expected = np.full((2, 4, 3), 10, np.uint8)
    expected[:, :2] = 255
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


def test_half_transparency_is_mixed_with_white(tmp_path: Path):
    Image.new("RGBA", (1, 1), (55, 155, 255, 51)).save(tmp_path / "a.png")
    np.testing.assert_allclose(read_image(tmp_path / "a.png")[0, 0], [215, 235, 255], atol=1)


def test_the_exif_orientation_is_heeded(tmp_path: Path):
    pixels = picture(20, 30)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(pixels, -1))


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_values_of_unknown_range_are_refused(tmp_path: Path, kind: type):
    Image.fromarray(np.zeros((5, 5), kind)).save(tmp_path / "a.tif")
    with pytest.raises(RegionReadError, match=r"a.tif' has pixels of mode .*save it as 8-bit"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_read_as_8_but_not_where_they_hold_12(tmp_path: Path, suffix: str):
    pixels, grey = picture(20, 30), picture(20, 30)[..., 0]
    for name, values in (("colours", pixels), ("grey", grey)):
        cv2.imwrite(
            str(tmp_path / f"{name}.{suffix}"),
            values[..., ::-1].astype(np.uint16) * 257 if values.ndim == 3 else values.astype(np.uint16) * 257,
        )
    np.testing.assert_array_equal(read_image(tmp_path / f"colours.{suffix}"), pixels)
    np.testing.assert_array_equal(read_image(tmp_path / f"grey.{suffix}"), np.stack([grey] * 3, axis=-1))
    for values in (values.astype(np.uint16) * step for values in (grey, pixels) for step in (16, 1)):  # 12 bits, and 8
        cv2.imwrite(str(tmp_path / f"camera.{suffix}"), values)
        with pytest.raises(RegionReadError, match="16 bits a channel, of which it uses 12 or fewer: what is black"):
            read_image(tmp_path / f"camera.{suffix}")


def test_cmyk_is_converted(tmp_path: Path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg")[8, 8], [255, 0, 0], atol=3)


def test_pixels_can_be_written_to(tmp_path: Path):
    assert read_image(saved(tmp_path / "a.png", picture(4, 4))).flags.writeable  # torch warns of others


def test_what_is_no_image(tmp_path: Path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(RegionReadError, match=r"a.png' is no image that can be decoded; expected PNG"):
        read_image(tmp_path / "a.png")
    with pytest.raises(RegionReadError, match=r"none.png' cannot be read: No such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(RegionReadError, match="is a folder; expected a file"):
        read_image(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "a.png")
    for path in (tmp_path / "a.png", "/dev/zero"):
        with pytest.raises(RegionReadError, match="is a pipe or a device; expected a file"):
            read_image(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "gif"])
def test_a_broken_image_is_refused_or_read(tmp_path: Path, suffix: str):
    """Whatever is torn or flipped in a file, no other error comes out."""
    path = saved(tmp_path / f"a.{suffix}", picture(16, 16))
    data, rng = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for i in range(60):
        torn = bytearray(data[: rng.integers(1, len(data))] if i % 2 else data)
        for at in rng.integers(0, len(torn), 4):
            torn[at] ^= int(rng.integers(1, 256))
        path.write_bytes(torn)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read_image(path)
            except RegionReadError:
                refused += 1
    assert refused > 10


def test_an_image_as_large_as_a_slide_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch):
    path = saved(tmp_path / "a.png", picture(20, 30))
    monkeypatch.setattr(image_file, "MOST_PX", 599)
    with pytest.raises(RegionReadError, match=r"has 30×20 px; expected at most .*as a slide"):
        read_image(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(RegionReadError, match="over a hundred million"):
        read_image(path)


def test_a_file_that_another_program_would_decode_is_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """PostScript by its content, whatever its name: Pillow would start Ghostscript."""
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("another program was started"))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(RegionReadError, match="is no image that can be decoded"):
        read_image(tmp_path / "a.png")
