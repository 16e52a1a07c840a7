"""Which reader opens a slide, and what is said where none does."""

import sys

import numpy as np
import pytest

from embedstore.errors import ConfigError, RegionReadError, SlideFormatError, SlideNotFoundError
from embedstore.slides import check_reader, open_slide
from embedstore.slides.readers import opening
from embedstore.slides.readers.tiff_reader import TiffSlide
from tests.slides.drawings import damage_tile, drop_tile, tissue_picture, write_dicom, write_tiff


@pytest.mark.slow
@pytest.mark.parametrize(
    ("colours", "aperio"), [("ycbcr", True), ("rgb", True), ("deflate", False), ("j2k-ycbcr", True), ("j2k-rgb", True)]
)
def test_tiffs_go_to_the_direct_reader(drawn_slide, colours, aperio):
    with open_slide(drawn_slide(colours, aperio)) as slide:
        assert (slide.reader, slide.warnings) == ("tiff", [])


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("CMU-1-Small-Region.svs", "tiff"),
        ("tcga-cr-7395-01a-01-ts1.svs", "tiff"),
        ("fluor-DAPI.ndpi", "openslide"),
        ("bone-jpeg2000.dcm", "dicom"),
        ("openslide-fixtures/boxes.tiff", "tiff"),
        ("openslide-fixtures/boxes_0.dcm", "dicom"),
        ("openslide-fixtures/unreadable.svs", "openslide"),
    ],
)
def test_real_slides_get_the_reader_that_is_right(shared_data, name, reader):
    with open_slide(shared_data / "slides" / name) as slide:
        assert slide.reader == reader


def test_dicom_with_a_tag_that_lies_is_read_in_its_true_colours(shared_data):
    slides = shared_data / "slides"
    with open_slide(slides / "dicom-cmu-1-small-region" / "level-3-frames-0-1.dcm") as dicom:
        assert dicom.reader == "dicom"
        assert dicom.warnings == ["photometric tag says RGB, frames are YBR; right here, wrong colours in OpenSlide"]
        found = dicom.read_region((500, 900), 0, (700, 600)).astype(int)
    with open_slide(slides / "CMU-1-Small-Region.svs") as truth:
        expected = truth.read_region((500, 900), 0, (700, 600))
    with open_slide(slides / "dicom-cmu-1-small-region" / "level-3-frames-0-1.dcm", reader="openslide") as wrong:
        mistaken = wrong.read_region((500, 900), 0, (700, 600)).astype(int)
    assert np.abs(found - expected).mean() < 6  # compressed twice
    assert np.abs(mistaken - expected).mean() > 40


def test_a_file_is_compared_with_openslide_again_once_it_changed(monkeypatch, tmp_path):
    compared: list[str] = []

    def disagreement(reference, candidate):
        compared.append(candidate.path)
        return "differs" if len(compared) == 2 else None

    monkeypatch.setattr(opening, "disagreement", disagreement)
    path = str(tmp_path / "a.svs")
    seen = []
    for seed, times in ((0, 2), (1, 2)):
        write_tiff(path, tissue_picture(300, 200, seed=seed))
        for _ in range(times):
            with opening.open_here(path) as slide:
                seen.append((slide.reader, len(compared)))
    assert seen == [("tiff", 1), ("tiff", 1), ("openslide", 2), ("tiff", 3)]  # what differs is compared each time


@pytest.mark.parametrize("how", ["raises", "differs", "other levels"])
def test_a_fast_reader_that_is_not_right_gives_way_to_openslide(monkeypatch, drawn_slide, how):
    class Wrong(TiffSlide):
        def __init__(self, path):
            if how == "raises":
                raise ZeroDivisionError("deep inside")
            super().__init__(path)
            if how == "other levels":
                self.level_sizes[1] = (1, 1)

        def _fill(self, level, x, y, out):
            super()._fill(level, x, y, out)
            out[0, 0, 0] ^= 1  # one grey level of one pixel

    monkeypatch.setitem(opening.READERS, "tiff", Wrong)
    with opening.choose_slide(str(drawn_slide())) as slide:
        assert slide.reader == "openslide"
    word = {"raises": "ZeroDivisionError", "differs": "pixels differ", "other levels": "levels of"}[how]
    assert word in slide.passed_over["tiff"]


def test_levels_off_whole_pixels_are_compared_as_openslide_interpolates_them(tmp_path):
    path = write_tiff(tmp_path / "odd.svs", tissue_picture(701, 533), factors=(1, 2, 4))  # 2.0029 and 4.01 times
    with open_slide(path) as slide:
        assert slide.level_downsamples[1] != 2
        assert slide.reader == "tiff"


def test_nothing_there(tmp_path):
    with pytest.raises(SlideNotFoundError, match=r"gone\.svs': no such file"):
        open_slide(tmp_path / "gone.svs")


def test_a_folder_is_no_slide(tmp_path):
    with pytest.raises(SlideFormatError, match="is a folder"):
        open_slide(tmp_path)


def test_an_empty_file_is_no_slide(tmp_path):
    (tmp_path / "empty.svs").touch()
    with pytest.raises(SlideFormatError, match=r"is empty \(0 bytes\)"):
        open_slide(tmp_path / "empty.svs")


def test_a_file_that_nothing_opens_says_what_was_tried(tmp_path):
    (tmp_path / "text.svs").write_text("no slide")
    with pytest.raises(SlideFormatError, match=r"no reader opens slide.*tried openslide: .*does not know its format"):
        open_slide(tmp_path / "text.svs")


def test_dicom_that_nothing_opens_says_what_was_tried(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", tissue_picture(64, 64), flavour="LABEL")
    with pytest.raises(SlideFormatError, match=r"tried openslide: .*; dicom: .*no VOLUME image"):
        open_slide(path)


def test_an_unknown_reader_is_an_error_that_lists_the_readers(drawn_slide):
    with pytest.raises(
        SlideFormatError, match="'cucim'; expected auto or one of tiff, dicom, zarr, fastslide, openslide"
    ):
        open_slide(drawn_slide(), reader="cucim")


def test_fastslide_that_is_not_installed_says_how_to_install_it(drawn_slide, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastslide", None)
    for ask in (lambda: check_reader("fastslide"), lambda: opening.open_here(str(drawn_slide()), reader="fastslide")):
        with pytest.raises(ConfigError, match=r"not installed; pip install 'embedstore\[fastslide\]'"):
            ask()
    check_reader("auto")
    with open_slide(drawn_slide()) as slide:
        assert slide.reader == "tiff"


@pytest.mark.parametrize("reader", ["tiff", "openslide"])
def test_a_damaged_tile_costs_its_regions_and_no_others(tmp_path, reader):
    path = write_tiff(tmp_path / "a.svs", tissue_picture(700, 530))
    damage_tile(path, page=0, index=7)  # column 1, row 1 of tiles of 128 px
    with open_slide(path, reader=reader) as slide:
        for _ in range(2):
            with pytest.raises(RegionReadError, match=r"a\.svs"):
                slide.read_region((130, 130), 0, (50, 50))
            slide.read_region((0, 0), 0, (120, 120))
            slide.read_region((130, 130), 1, (50, 50))


def test_a_file_cut_short_says_so(tmp_path):
    path = write_tiff(tmp_path / "a.tif", tissue_picture(300, 300), factors=(1,), aperio=False)
    slide = open_slide(path, reader="tiff")
    path.write_bytes(path.read_bytes()[:3000])
    with slide, pytest.raises(RegionReadError, match="cut short"):
        slide.read_region((0, 0), 0, (300, 300))


@pytest.mark.parametrize("level", [0, 1])
def test_missing_tiles_are_white_or_come_from_the_finer_level_as_in_openslide(tmp_path, level):
    path = write_tiff(tmp_path / "a.svs", tissue_picture(1024, 1024), factors=(1, 2))
    drop_tile(path, page=level, index=5 if level else 9)  # column 1, row 1 of its level
    with open_slide(path, reader="tiff") as slide, open_slide(path, reader="openslide") as known:
        scale = slide.level_downsamples[level]
        corner = round(128 * scale), round(128 * scale)
        found = slide.read_region(corner, level, (128, 128)).astype(int)
        expected = known.read_region(corner, level, (128, 128)).astype(int)
    if level == 0:
        assert (found == 255).all()
    assert np.abs(found - expected).mean() < 2  # OpenSlide filters in its own way


@pytest.mark.parametrize(("stride", "capacity"), [(150, 32 << 20), (160, 360_000)], ids=["ample", "row of tiles"])
def test_reading_row_by_row_decodes_each_tile_of_the_file_once(tmp_path, stride, capacity):
    picture = tissue_picture(1200, 900)
    path = write_tiff(tmp_path / "a.svs", picture, tile_px=112, factors=(1,))
    with opening.open_here(str(path), reader="tiff") as slide:
        whole = slide.read_region((0, 0), 0, (1200, 900))
        slide._cache.begin((-1, 1), 0)
        slide._cache.capacity_bytes, slide.decoded_tiles = capacity, 0
        slide.expect_stride(stride)
        for y in range(0, 5 * stride, stride):
            for x in range(0, 7 * stride, stride):
                found = slide.read_region((x, y), 0, (stride, stride))
                np.testing.assert_array_equal(found, whole[y : y + stride, x : x + stride])
                assert slide._cache.held_bytes <= capacity
        assert slide.decoded_tiles == -(-7 * stride // 112) * -(-5 * stride // 112)


def test_rows_that_were_not_kept_are_decoded_again(drawn_slide):
    with opening.open_here(str(drawn_slide()), reader="tiff") as slide:
        whole = slide.read_region((0, 0), 0, (600, 500))
        slide.expect_stride(200)
        for x, y in [(0, 0), (200, 0), (0, 100), (100, 130), (0, 200), (300, 210)]:  # not by the stride
            np.testing.assert_array_equal(slide.read_region((x, y), 0, (200, 200)), whole[y : y + 200, x : x + 200])
