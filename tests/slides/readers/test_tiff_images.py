"""TIFFs with several images: which one is read, and what is said of the others."""

import numpy as np
import pytest
import tifffile

from embedstore.slides import open_slide
from tests.slides.drawings import tissue_picture, write_dicom

SCAN, OVERVIEW = tissue_picture(640, 512, seed=1), tissue_picture(256, 200, seed=2)


def write(path, images, *, half=None, compression="deflate"):
    """Images in tiles; of `half`, a copy of half its size in a sub-directory."""
    how = {"tile": (128, 128), "compression": compression, "photometric": "rgb", "metadata": None}
    with tifffile.TiffWriter(path) as tiff:
        for i, image in enumerate(images):
            mpp_per_cm = 1e4 / (0.5 if len(image) > 300 else 2.0)
            tiff.write(
                image, resolution=(mpp_per_cm, mpp_per_cm), resolutionunit="CENTIMETER", subifds=int(i == half), **how
            )
            if i == half:
                tiff.write(image[::2, ::2], subfiletype=1, **how)
    return path


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["overview first", "scan first"])
def test_the_largest_image_is_read_and_the_other_is_named(tmp_path, order):
    images = [(OVERVIEW, SCAN)[i] for i in order]
    path = write(tmp_path / "a.ome.tif", images, half=order.index(1) if order[0] == 0 else None)
    with open_slide(path) as slide:
        assert slide.reader == "tiff"
        assert slide.mpp == pytest.approx(0.5)
        np.testing.assert_array_equal(slide.read_region((0, 0), 0, (640, 512)), SCAN)
        (warning,) = slide.warnings
        if order[0] == 0:
            assert slide.level_sizes == [(640, 512), (320, 256)]
            np.testing.assert_array_equal(slide.read_region((0, 0), 1, (320, 256)), SCAN[::2, ::2])
            assert warning == "1 further image of the file not read (256×200 px); image 1 is, the largest"
        else:
            assert warning == "1 further image of the file not read (256×200 px)"


@pytest.mark.parametrize("how", ["zstd", "strips"])
def test_where_the_largest_cannot_be_read_the_warning_says_what_to_do(tmp_path, how):
    path = write(tmp_path / "a.tif", [OVERVIEW, SCAN] if how == "zstd" else [OVERVIEW], compression="zstd")
    if how == "strips":
        tifffile.imwrite(path, SCAN, append=True, metadata=None, photometric="rgb")
    with open_slide(path) as slide:
        assert (slide.reader, slide.size_l0) == ("openslide", (256, 200))
        assert "image 1 is larger than the one that is read" in slide.warnings[0]


def test_a_label_and_the_levels_of_a_pyramid_are_no_further_images(tmp_path, drawn_slide):
    with open_slide(drawn_slide("deflate", False)) as slide:
        assert slide.warnings == []
    path = write(tmp_path / "a.tif", [SCAN])
    tifffile.imwrite(path, OVERVIEW[:64, :64], append=True, metadata=None, photometric="rgb")
    with open_slide(path) as slide:
        assert slide.warnings == []


def test_further_planes_of_dicom_are_named(tmp_path):
    """Two focal planes: of twice as many frames as places, the first are read."""
    import pydicom

    path = write_dicom(tmp_path / "a.dcm", OVERVIEW, encoded="raw", tag="RGB", table="none")
    data = pydicom.dcmread(path)
    frames = int(data.NumberOfFrames)
    data.NumberOfFrames, data.PixelData = 2 * frames, data.PixelData + data.PixelData
    data.save_as(path)
    with open_slide(path, reader="dicom") as slide:
        assert slide.warnings == [f"{frames} frames of further focal planes or optical paths not read"]
