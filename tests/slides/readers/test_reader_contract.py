"""What every reader of slides promises, tried on each of them."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import openslide
import pytest

from embedstore.errors import RegionReadError, SlideFormatError
from embedstore.slides import Slide, open_slide
from tests.slides.drawings import tissue_picture, write_dicom, write_ome_zarr, write_philips, write_tiff


def openslide_region(path: Path, xy_l0: tuple[int, int], level: int, size: tuple[int, int]) -> np.ndarray:
    """OpenSlide's own pixels, on white."""
    with openslide.OpenSlide(path) as slide:
        rgba = np.asarray(slide.read_region(xy_l0, level, size)).astype(float)
    opacity = rgba[..., 3:] / 255
    return rgba[..., :3] * opacity + 255 * (1 - opacity)


class ReaderContract:
    """Inherited by a test class for each reader and kind of file.

    Attributes:
        reader: Its name.
        highest: Largest difference from OpenSlide's pixels that is allowed, grey levels.
        mean: Largest mean difference.
    """

    reader: ClassVar[str]
    highest: ClassVar[int] = 0
    mean: ClassVar[float] = 0.0

    @pytest.fixture
    def path(self) -> Path:
        raise NotImplementedError

    @pytest.fixture
    def slide(self, path: Path):
        with open_slide(path, reader=self.reader) as slide:
            yield slide

    @pytest.fixture
    def known(self, path: Path) -> Path:
        """The file in which OpenSlide sees the same."""
        return path

    def _check(self, found: np.ndarray, expected: np.ndarray) -> None:
        difference = np.abs(found.astype(float) - expected)
        assert difference.max() <= self.highest
        assert difference.mean() <= self.mean

    def test_geometry_is_openslides(self, slide: Slide, path: Path, known: Path):
        with openslide.OpenSlide(known) as opened:
            assert slide.level_sizes == list(opened.level_dimensions)
            assert slide.level_downsamples == pytest.approx(list(opened.level_downsamples))
            mpp_x = opened.properties.get("openslide.mpp-x")
            assert known != path or slide.vendor == opened.properties["openslide.vendor"]
        assert slide.size_l0 == slide.level_sizes[0]
        assert slide.mpp == (None if mpp_x is None else pytest.approx(float(mpp_x)))
        assert slide.reader == self.reader

    def test_pixels_of_every_level_are_openslides(self, slide: Slide, known: Path):
        for level, (width, height) in enumerate(slide.level_sizes):
            size = min(width, 300), min(height, 300)
            found = slide.read_region((0, 0), level, size)
            assert found.shape == (size[1], size[0], 3)
            assert found.dtype == np.uint8
            self._check(found, openslide_region(known, (0, 0), level, size))

    @pytest.mark.slow
    def test_pixels_away_from_the_corner_are_openslides(self, slide: Slide, known: Path):
        width, height = slide.size_l0
        xy, size = (width // 3 + 1, height // 4 + 3), (width // 2, height // 2)
        self._check(slide.read_region(xy, 0, size), openslide_region(known, xy, 0, size))

    def test_outside_of_the_slide_is_white(self, slide: Slide):
        width, height = slide.size_l0
        left = slide.read_region((-7, -5), 0, (10, 9))
        assert (left[:5] == 255).all()
        assert (left[:, :7] == 255).all()
        np.testing.assert_array_equal(left[5:, 7:], slide.read_region((0, 0), 0, (3, 4)))
        right = slide.read_region((width - 3, height - 2), 0, (10, 9))
        assert (right[2:] == 255).all()
        assert (right[:, 3:] == 255).all()
        assert (slide.read_region((width + 50, 0), 0, (4, 4)) == 255).all()

    def test_out_is_filled_and_returned(self, slide: Slide):
        out = np.zeros((8, 6, 3), np.uint8)
        assert slide.read_region((2, 3), 0, (6, 8), out=out) is out
        np.testing.assert_array_equal(out, slide.read_region((2, 3), 0, (6, 8)))

    @pytest.mark.slow
    def test_many_threads_read_what_one_reads(self, slide: Slide):
        width, height = slide.size_l0
        edge = max(4, min(width, height) // 5)
        places = [(x, y) for y in range(0, height - edge + 1, edge) for x in range(0, width - edge + 1, edge)]
        alone = [slide.read_region(xy, 0, (edge, edge)) for xy in places]
        with ThreadPoolExecutor(8) as threads:
            together = list(threads.map(lambda xy: slide.read_region(xy, 0, (edge, edge)), places * 3))
        for one, other in zip(alone * 3, together, strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize(("level", "size"), [(-1, (4, 4)), (99, (4, 4)), (0, (0, 4)), (0, (4, -1))])
    def test_a_region_that_cannot_be_says_so(self, slide: Slide, level: int, size: tuple[int, int]):
        with pytest.raises(RegionReadError, match=r"level|region of"):
            slide.read_region((0, 0), level, size)

    def test_closing_twice_is_once(self, path: Path):
        slide = open_slide(path, reader=self.reader)
        slide.close()
        slide.close()

    def test_a_file_that_is_no_slide_is_refused(self, tmp_path: Path):
        (tmp_path / "text.svs").write_text("not a slide")
        with pytest.raises(SlideFormatError, match=r"text\.svs") as caught:
            open_slide(tmp_path / "text.svs", reader=self.reader)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


class DrawnSlide(ReaderContract):
    colours: ClassVar[str] = "ycbcr"
    aperio: ClassVar[bool] = True

    @pytest.fixture
    def path(self, drawn_slide):
        return drawn_slide(self.colours, self.aperio)


class TestTiffYcbcr(DrawnSlide):
    reader = "tiff"


class TestTiffRgb(DrawnSlide):
    reader, colours = "tiff", "rgb"


class TestTiffDeflate(DrawnSlide):
    reader, colours, aperio = "tiff", "deflate", False


class TestTiffLzw(DrawnSlide):
    reader, colours, aperio = "tiff", "lzw", False


class TestTiffJpeg2000Ycbcr(DrawnSlide):
    reader, colours = "tiff", "j2k-ycbcr"


class TestTiffJpeg2000Rgb(DrawnSlide):
    reader, colours = "tiff", "j2k-rgb"


class TestTiffGenericJpeg(DrawnSlide):
    reader, aperio = "tiff", False


class TestTiffPhilips(ReaderContract):
    reader = "tiff"

    @pytest.fixture(scope="class")
    @classmethod
    def drawn(cls, tmp_path_factory):
        return write_philips(tmp_path_factory.mktemp("philips") / "a.tiff", tissue_picture(700, 530))

    @pytest.fixture
    def path(self, drawn):
        return drawn

    def test_it_is_the_reader_of_such_slides(self, path: Path):
        with open_slide(path) as slide:
            assert (slide.vendor, slide.reader, slide.passed_over) == ("philips", "tiff", {})
            assert slide.level_sizes == [(768, 640), (384, 320), (192, 160)]  # the last two less than the file's tiles


class TestOpenSlide(DrawnSlide):
    reader = "openslide"


class TestFastSlide(DrawnSlide):
    reader = "fastslide"
    # It replicates the chroma of subsampled JPEG where libjpeg interpolates it: worst on a drawing's sharp nuclei.
    mean, highest = 2.5, 48

    test_a_file_that_is_no_slide_is_refused = None  # type: ignore[assignment]  # it talks to stderr from C++


class TestZarr(ReaderContract):
    """OME-Zarr beside an Aperio TIFF of the same pixels."""

    reader = "zarr"
    axes: ClassVar[str] = "cyx"
    how: ClassVar[dict] = {}

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory):
        picture, folder = tissue_picture(700, 530), tmp_path_factory.mktemp("zarr")
        write_ome_zarr(folder / "a.ome.zarr", picture, axes=cls.axes, **cls.how)
        write_tiff(folder / "known.svs", picture, colours="deflate")
        return folder

    @pytest.fixture
    def path(self, folder):
        return folder / "a.ome.zarr"

    @pytest.fixture
    def known(self, folder):
        return folder / "known.svs"


class TestZarr2(TestZarr):
    axes, how = "tczyx", {"zarr_format": 2}

    test_many_threads_read_what_one_reads = None  # type: ignore[assignment]  # as in TestZarr


class TestZarrShards(TestZarr):
    axes, how = "yxc", {"shard_px": 256}

    test_many_threads_read_what_one_reads = None  # type: ignore[assignment]  # as in TestZarr


class RealSlide(ReaderContract):
    name: ClassVar[str]

    @pytest.fixture
    def path(self, shared_data):
        return shared_data / "slides" / self.name


class TestTiffReal(RealSlide):
    reader, name = "tiff", "CMU-1-Small-Region.svs"


class TestTiffSmallerThanATile(RealSlide):
    reader, name = "tiff", "openslide-fixtures/small.svs"


class TestDicomSmall(RealSlide):
    reader, name = "dicom", "openslide-fixtures/boxes_0.dcm"


class TestDicomJpeg2000(RealSlide):
    reader, name = "dicom", "bone-jpeg2000.dcm"

    # 60 ms a frame, decoded in every thread: the other classes try threads
    test_many_threads_read_what_one_reads = None  # type: ignore[assignment]


class TestOpenSlideNdpi(RealSlide):
    reader, name = "openslide", "fluor-DAPI.ndpi"

    # seconds for a slide of these strips: the drawn one tries the same reader
    test_many_threads_read_what_one_reads = None  # type: ignore[assignment]
    test_pixels_away_from_the_corner_are_openslides = None  # type: ignore[assignment]


class TestDicomDrawn:
    """DICOM drawn by the test: what OpenSlide does not read rightly is compared with the drawing itself."""

    @pytest.mark.parametrize(
        "how",
        [
            {"tag": "YBR_FULL_422", "encoded": "ycbcr", "table": "basic"},
            {"tag": "YBR_FULL_422", "encoded": "ycbcr", "table": "extended"},
            {"tag": "YBR_FULL_422", "encoded": "ycbcr", "table": "none"},
            {"tag": "RGB", "encoded": "ycbcr", "table": "basic"},  # the tag lies: JFIF
            {"tag": "RGB", "encoded": "rgb", "table": "basic"},  # no marker: the tag is believed
            {"tag": "RGB", "encoded": "raw", "table": "none"},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("sparse", [False, True], ids=["full", "sparse"])
    def test_frames_come_out_in_the_drawings_colours(self, tmp_path, how, sparse):
        picture = tissue_picture(200, 150)
        path = write_dicom(tmp_path / "level.dcm", picture, sparse=sparse, **how)
        with open_slide(path, reader="dicom") as slide:
            found = slide.read_region((0, 0), 0, (200, 150))
            assert slide.mpp == pytest.approx(0.5)
        if sparse:
            assert (found[:64, :64] == 255).all()  # the frame that is not there
            found[:64, :64] = picture[:64, :64]
        assert np.abs(found.astype(int) - picture).mean() < (0.01 if how["encoded"] == "raw" else 4)

    def test_levels_are_the_volume_images_of_the_series_beside_it(self, tmp_path):
        picture = tissue_picture(256, 192)
        write_dicom(tmp_path / "b.dcm", picture)
        write_dicom(tmp_path / "a.dcm", picture[::2, ::2], mpp=1.0)
        write_dicom(tmp_path / "label.dcm", picture[:64, :64], flavour="LABEL")
        write_dicom(tmp_path / "other.dcm", picture[:64], series="1.2.3.4")
        with open_slide(tmp_path / "a.dcm", reader="dicom") as slide:
            assert slide.level_sizes == [(256, 192), (128, 96)]
            assert slide.mpp == pytest.approx(0.5)

    def test_a_file_cut_short_costs_its_last_frames(self, tmp_path):
        path = write_dicom(tmp_path / "level.dcm", tissue_picture(256, 256))
        path.write_bytes(path.read_bytes()[:-3000])
        with open_slide(path, reader="dicom") as slide:
            slide.read_region((0, 0), 0, (64, 64))
            with pytest.raises(RegionReadError, match="cut short"):
                slide.read_region((192, 192), 0, (64, 64))
