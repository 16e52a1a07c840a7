"""JPEG 2000 code streams in all the colours that containers give them."""

import base64

import cv2
import numpy as np
import openslide
import pytest
import tifffile

from embedstore.slides import open_slide
from embedstore.slides.readers.jpeg2000 import decode_jpeg2000, decode_jpeg2000_reduced, has_subsampled_colours
from tests.slides.drawings import jpeg2000, tissue_picture

# 64×64 px of Y, Cb and Cr, of which the last two have half the columns; no encoder at hand writes such a stream.
SUBSAMPLED = base64.b85decode(
    "|4;u>051Rl0000$0000$00000000000000$0000$000000000000RdB0S5vB2Lb{AQUDA9000310R#j90smY82S7kbNKpS|03`qcLvm$dbY)~9"
    "VtF7>aAj^vP(?=|c4cyNX>V>IGA=bPF#nJM3IG5A008L#0soWFZQwxK4vSq-w@W-Os_2ei)Py$}aCRb!Pc@ZBt2hlU4*u_BMYF$ncwYmoXQ}Gc"
    "#aT)mT;6|QO=g&{EOH$DL#$@v2d;0^B|)v_5|DNAw@$PR9NP)TSUPAAy?+n6as$|y-A}Qhr^v6d@>9XMA;(aimZ=XQ5xdk;FNyH%b9aNojuB8("
    "849kh;&6zO{lC!1U5>nz149wj-;e@BGw_f}K;!EFY~w7Ae(2|>9{gp;lmkN%)!&c;Lo@J@N5bsZ1<+nr26q}CNeHRQR{o%rotCK?Jb?e%"
)


@pytest.fixture
def write_slide(tmp_path):
    """An Aperio slide of 3×3 tiles of one code stream, under a TIFF code."""

    def write(stream: bytes, edge: int, code: int):
        path = tmp_path / f"{code}.svs"
        size = 3 * edge
        with tifffile.TiffWriter(path) as tiff:
            tiff.write(
                iter([stream] * 9),
                shape=(size, size, 3),
                dtype=np.uint8,
                tile=(edge, edge),
                compression=code,
                photometric="rgb",
                metadata=None,
                description=f"Aperio Image Library v11.0.37\r\n{size}x{size} ({edge}x{edge}) J2K|MPP = 0.25",
            )
        return path

    return write


def test_subsampled_colours_are_told_from_the_stream():
    assert has_subsampled_colours(SUBSAMPLED)
    assert not has_subsampled_colours(jpeg2000(tissue_picture(64, 64)))
    assert not has_subsampled_colours(b"no stream")


@pytest.mark.slow
def test_subsampled_colours_differ_from_openslides_by_a_grey_level_so_that_openslide_reads_them(write_slide):
    path = write_slide(SUBSAMPLED, 64, 33003)
    with openslide.OpenSlide(path) as known, open_slide(path, reader="tiff") as direct, open_slide(path) as chosen:
        expected = np.asarray(known.read_region((20, 30), 0, (130, 120)))[..., :3]
        found = direct.read_region((20, 30), 0, (130, 120)).astype(int)
        assert np.abs(found - expected).max() == 1
        assert chosen.reader == "openslide"
        np.testing.assert_array_equal(chosen.read_region((20, 30), 0, (130, 120)), expected)


def test_the_container_decides_between_rgb_and_ycbcr():
    picture = tissue_picture(64, 64)
    rgb = decode_jpeg2000(jpeg2000(picture)).astype(int)
    assert np.abs(rgb - picture).mean() < 4
    ycbcr = np.ascontiguousarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]])
    stream = jpeg2000(ycbcr, mct=False)
    assert np.abs(decode_jpeg2000(stream, ycbcr=True).astype(int) - picture).mean() < 4
    assert np.abs(decode_jpeg2000(stream).astype(int) - picture).mean() > 30


@pytest.mark.parametrize("reduce", [2, 4])
@pytest.mark.parametrize("ycbcr", [False, True])
def test_a_reduced_picture_is_the_average_but_for_details(reduce, ycbcr):
    picture = tissue_picture(256, 192)
    given = np.ascontiguousarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb)[..., [0, 2, 1]]) if ycbcr else picture
    reduced = decode_jpeg2000_reduced(jpeg2000(given, mct=not ycbcr), reduce, ycbcr=ycbcr)
    assert reduced is not None and reduced.shape == (192 // reduce, 256 // reduce, 3)
    average = cv2.resize(picture, (256 // reduce, 192 // reduce), interpolation=cv2.INTER_AREA)
    difference = reduced.astype(int) - average
    assert np.abs(difference).mean() < 4 * reduce
    assert np.abs(difference.mean(axis=(0, 1))).max() < 1.5


def test_subsampled_colours_are_reduced_in_their_true_colours():
    whole = decode_jpeg2000(SUBSAMPLED, ycbcr=True)
    reduced = decode_jpeg2000_reduced(SUBSAMPLED, 2, ycbcr=True)
    assert reduced is not None and reduced.shape == (32, 32, 3)
    assert np.abs(reduced.astype(int) - whole[::2, ::2]).mean() < 6


@pytest.mark.parametrize("stream", [b"", b"no stream", SUBSAMPLED[:80], SUBSAMPLED[:200]])
def test_what_is_broken_or_has_too_few_levels_is_not_reduced(stream):
    assert decode_jpeg2000_reduced(stream, 2) is None
    assert decode_jpeg2000_reduced(SUBSAMPLED, 8) is None


@pytest.mark.slow
def test_frames_of_dicom_are_reduced(shared_data):
    with open_slide(shared_data / "slides" / "bone-jpeg2000.dcm") as slide:
        assert slide.reductions[0] == (1, 2, 4, 8)
