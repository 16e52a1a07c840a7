"""JPEG tiles decoded at a half, a quarter and an eighth of their size."""

import io

import cv2
import imagecodecs
import numpy as np
import pytest
from PIL import Image

from embedstore.slides.readers.jpeg_reduced import decode_reduced, reductions_of
from embedstore.slides.readers.opening import open_here
from embedstore.slides.readers.tiff_reader import TiffSlide
from tests.slides.drawings import tissue_picture, write_dicom

PICTURE = tissue_picture(256, 192)


def encode(colours: str, subsampling: str | None = None) -> bytes:
    return imagecodecs.jpeg8_encode(
        PICTURE, 90, colorspace="RGB", outcolorspace=colours, subsampling=subsampling
    )  # fmt: skip


def average(pixels: np.ndarray, reduce: int) -> np.ndarray:
    size = pixels.shape[1] // reduce, pixels.shape[0] // reduce
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(int)


@pytest.mark.parametrize("reduce", [2, 4, 8])
@pytest.mark.parametrize(
    ("colours", "subsampling"), [("RGB", "444"), ("YCBCR", "444"), ("YCBCR", "422"), ("YCBCR", "420")]
)
def test_a_reduced_picture_is_the_average_but_for_details(colours, subsampling, reduce):
    reduced = decode_reduced(encode(colours, subsampling), reduce, colourspace=colours)
    assert reduced is not None and reduced.shape == (192 // reduce, 256 // reduce, 3)
    assert np.abs(reduced - average(PICTURE, reduce)).mean() < 4


@pytest.mark.parametrize("reduce", [2, 4, 8])
def test_it_is_what_pillow_makes_of_the_same_file(reduce):
    stream = encode("YCBCR", "422")
    with Image.open(io.BytesIO(stream)) as image:
        image.draft("RGB", (256 // reduce, 192 // reduce))
        expected = np.asarray(image)
    np.testing.assert_array_equal(decode_reduced(stream, reduce, colourspace="YCBCR"), expected)


def test_the_colour_space_is_the_one_that_is_given_and_not_the_markers():
    stream = encode("YCBCR", "444")
    assert b"JFIF" in stream[:20]
    planes, right = (decode_reduced(stream, 2, colourspace=colours) for colours in ("RGB", "YCBCR"))
    assert planes is not None and right is not None
    from_planes = cv2.cvtColor(np.ascontiguousarray(planes[..., [0, 2, 1]]), cv2.COLOR_YCrCb2RGB)
    assert np.abs(from_planes.astype(int) - right).mean() < 1
    assert np.abs(planes.astype(int) - right).mean() > 10


def test_tables_may_be_a_stream_of_their_own():
    whole = encode("YCBCR", "420")
    segments, at = [], 2
    while whole[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(whole[at + 2 : at + 4], "big")
        segments.append(whole[at:end])
        at = end
    shared = [segment for segment in segments if segment[1] in (0xDB, 0xC4)]
    tables = b"".join((b"\xff\xd8", *shared, b"\xff\xd9"))
    rest = b"".join((b"\xff\xd8", *(segment for segment in segments if segment not in shared), whole[at:]))
    expected = decode_reduced(whole, 2, colourspace="YCBCR")
    np.testing.assert_array_equal(decode_reduced(rest, 2, colourspace="YCBCR", tables=tables), expected)


def test_what_lacks_its_end_or_is_no_jpeg_is_not_reduced():
    stream = encode("YCBCR", "420")
    for broken in (stream[:-2000], b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n" + bytes(40)):
        assert decode_reduced(broken, 2, colourspace="YCBCR") is None


@pytest.mark.slow
@pytest.mark.parametrize("colours", ["ycbcr", "rgb", "j2k-ycbcr", "j2k-rgb"])
def test_a_slide_is_reduced_in_its_tiles_and_padded_with_white(drawn_slide, colours):
    with open_here(str(drawn_slide(colours))) as slide:
        assert slide.reductions[0] == (1, 2, 4, 8)
        whole = slide.read_region((0, 0), 0, (704, 536))
        for reduce in (2, 4, 8):
            size = 704 // reduce, 536 // reduce
            reduced = slide.read_region((0, 0), 0, size, reduce=reduce)
            inside = np.s_[: 528 // reduce, : 696 // reduce]
            assert np.abs(reduced[inside] - average(whole, reduce)[inside]).mean() < 4
            part = slide.read_region((128, 96), 0, (16, 24), reduce=reduce)
            np.testing.assert_array_equal(part, reduced[96 // reduce :, 128 // reduce :][:24, :16])
        beyond = slide.read_region((-64, 600), 0, (16, 16), reduce=2)
        assert (beyond == 255).all()


def test_tiles_that_the_decoder_cannot_reduce_are_averaged(drawn_slide, monkeypatch):
    corners = np.array([(0, 0), (128, 256)])
    tiles = {}
    with open_here(str(drawn_slide())) as slide:
        for how in ("area", "dct", "lost"):
            if how == "lost":
                monkeypatch.setattr(TiffSlide, "_decode_reduced", lambda *_: None)
                slide._cache.begin((-1, 1), 0)
            tiles[how] = np.empty((2, 64, 64, 3), np.uint8)
            slide.read_squares(
                corners, 0, edge_l0=128, out=tiles[how], downsample="area" if how == "area" else "dct"
            )  # fmt: skip
    assert (tiles["dct"] != tiles["area"]).any()
    np.testing.assert_array_equal(tiles["lost"], tiles["area"])


@pytest.mark.parametrize(
    ("px_l0", "expected"), [(1.0, 1), (1.9, 1), (1.98, 2), (2.0, 2), (2.27, 2), (3.96, 4), (4.0, 4), (6.0, 4), (9.0, 8)]
)
def test_a_level_is_reduced_as_far_as_tiles_keep_their_detail(drawn_slide, px_l0, expected):
    with open_here(str(drawn_slide())) as slide:
        assert slide.reduction(0, px_l0) == expected
        assert slide.reduction(0, px_l0, among=(1, 2)) == min(expected, 2)


def test_only_jpeg_in_tiles_that_shrink_to_whole_pixels_is_reduced(drawn_slide, tmp_path):
    with open_here(str(drawn_slide("deflate", False))) as slide:
        assert set(slide.reductions) == {(1,)}
    with open_here(str(drawn_slide()), reader="openslide") as slide:
        assert set(slide.reductions) == {(1,)}
    assert [reductions_of(256, edge) for edge in (240, 500, 277)] == [(1, 2, 4, 8), (1, 2, 4), (1,)]


def test_frames_of_dicom_are_reduced_in_their_true_colours(tmp_path):
    picture = tissue_picture(256, 256)
    with open_here(str(write_dicom(tmp_path / "a.dcm", picture)), reader="dicom") as slide:
        assert slide.reductions[0] == (1, 2, 4, 8)
        reduced = slide.read_region((0, 0), 0, (128, 128), reduce=2)
        assert np.abs(reduced - average(picture, 2)).mean() < 6
