"""From a slide to its tiles: plans, their reasons and their readers."""

import json
import pickle
from dataclasses import replace

import cv2
import numpy as np
import openslide
import pytest

from embedstore.config import ReadingConfig, TilingConfig, TissueConfig
from embedstore.errors import (
    NoTileError,
    RegionReadError,
    ResolutionError,
    SlideChangedError,
    SlideNotFoundError,
    TissueError,
)
from embedstore.slides import SlidePlan, SlideSource, TileReader, fingerprint, plan_slide
from tests.slides.drawings import GLASS, damage_tile, tissue_picture, write_dicom, write_tiff

TILING = TilingConfig(tile_px=64, mpp=0.5)


def plan(path, *, tiling=TILING, method="otsu", reader="auto", **source) -> SlidePlan:
    return plan_slide(
        SlideSource(slide_id="s", path=str(path), kind="wsi", **source),
        tiling=tiling,
        tissue=TissueConfig(method=method, mpp=2.0, min_area_um2=500, max_hole_um2=500),
        reading=ReadingConfig(reader=reader),
    )


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory):
    return write_tiff(tmp_path_factory.mktemp("plan") / "s.svs", tissue_picture(1400, 1100), factors=(1, 4))


def test_a_plan_says_everything_that_reading_needs(slide_path):
    made = plan(slide_path)
    assert (made.reader, made.edge_l0, made.level, made.mpp, made.vendor) == ("tiff", 128, 0, 0.25, "aperio")
    assert made.size_l0 == (1400, 1100)
    assert made.names is None
    assert made.labels == ()
    assert made.xy_l0.dtype == np.int32
    assert made.tissue.dtype == np.float32
    assert len(made) == len(made.xy_l0) == len(made.tissue) > 20
    assert (made.tissue >= 0.5).all()
    assert (made.xy_l0 + 128 <= made.size_l0).all()
    assert made.tissue_mm2 == pytest.approx(np.pi * 560 * 440 * 0.25**2 / 1e6, rel=0.05)
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(again.xy_l0, made.xy_l0)
    assert again.source == made.source


def test_the_same_slide_gives_the_same_plan(slide_path):
    one, two = plan(slide_path), plan(slide_path, reader="openslide")
    np.testing.assert_array_equal(one.xy_l0, two.xy_l0)
    np.testing.assert_array_equal(one.tissue, two.tissue)
    assert one.fingerprint == two.fingerprint


def test_every_place_is_planned_where_all_is_tissue(slide_path):
    made = plan(slide_path, method="all")
    assert len(made) == (1400 // 128) * (1100 // 128)
    assert (made.tissue == 1).all()


@pytest.mark.parametrize(("mpp", "level"), [(0.25, 0), (0.5, 0), (1.0, 1), (2.0, 1)])
@pytest.mark.parametrize("reader", ["tiff", "openslide"])
def test_tiles_are_the_slide_at_the_target_resolution(slide_path, mpp, level, reader):
    tiling = TilingConfig(tile_px=64, mpp=mpp)
    made = plan(slide_path, tiling=tiling, reader=reader, method="all")
    assert made.level == level
    with TileReader(made, tiling) as reader_, openslide.OpenSlide(slide_path) as known:
        pixels, readable = reader_.read(1, 4)
        assert readable.all()
        assert pixels.shape == (3, 64, 64, 3)
        for tile, xy in zip(pixels, made.xy_l0[1:4], strict=True):
            region = known.read_region(tuple(map(int, xy)), 0, (made.edge_l0, made.edge_l0))
            expected = cv2.resize(np.asarray(region)[..., :3], (64, 64), interpolation=cv2.INTER_AREA)
            difference = np.abs(tile.astype(int) - expected)
            assert difference.max() == 0 if level == 0 else difference.mean() < 8  # that level was compressed by itself


@pytest.mark.parametrize(("mpp", "level"), [(0.25, 0), (1.0, 1)])
def test_the_reader_chooses_the_level_that_a_plan_leaves_open(slide_path, mpp, level):
    tiling = TilingConfig(tile_px=64, mpp=mpp)
    made = plan(slide_path, tiling=tiling, method="all")
    assert made.level == level
    with TileReader(made, tiling) as named, TileReader(replace(made, level=None), tiling) as left_open:
        np.testing.assert_array_equal(left_open.read(0, 5)[0], named.read(0, 5)[0])


def test_a_plan_says_where_pixels_are_averaged_although_dct_was_asked_for(slide_path):
    tiling = TilingConfig(tile_px=64, mpp=0.5, downsample="dct")
    assert plan(slide_path, tiling=tiling).warnings == ()
    assert "pixels are averaged, as by downsample area: level 0 is not in tiles that openslide can reduce" in (
        plan(slide_path, tiling=tiling, reader="openslide").warnings
    )
    at_level = TilingConfig(tile_px=64, mpp=0.25, downsample="dct")
    assert plan(slide_path, tiling=at_level, reader="openslide").warnings == ()


@pytest.mark.parametrize("mpp", [0.5, 0.495, 0.6])
def test_reduced_tiles_lie_where_averaged_ones_do(slide_path, mpp):
    pixels = {}
    for downsample in ("area", "dct"):
        tiling = TilingConfig(tile_px=64, mpp=mpp, downsample=downsample)
        with TileReader(plan(slide_path, tiling=tiling), tiling) as reader:
            pixels[downsample], readable = reader.read(0, 20)
            assert readable.all()
    difference = np.abs(pixels["dct"].astype(int) - pixels["area"])
    assert 0 < difference.mean() < 5


def test_any_run_of_tiles_is_the_same_tiles(slide_path):
    made = plan(slide_path, mpp=0.26)  # tiles that are not on the file's own grid
    with TileReader(made, TILING) as reader:
        whole, _ = reader.read(0, len(made))
        assert reader.read(5, 5)[0].shape == (0, 64, 64, 3)
        for start in (7, 0, len(made) - 3):
            np.testing.assert_array_equal(reader.read(start, start + 3)[0], whole[start : start + 3])


def test_a_damaged_tile_is_marked_and_the_others_are_read(tmp_path):
    path = write_tiff(tmp_path / "s.svs", tissue_picture(1024, 1024), factors=(1, 4))
    damage_tile(path, page=0, index=8 * 4 + 4)
    made = plan(path)
    with TileReader(made, TILING) as reader:
        assert reader.first_error is None
        pixels, readable = reader.read(0, len(made))
        assert list(map(tuple, made.xy_l0[~readable])) == [(512, 512)]
        assert (pixels[~readable] == 0).all()
        assert "column 4, row 4" in reader.first_error


def test_reading_after_closing_is_unreadable_not_a_crash(slide_path):
    reader = TileReader(plan(slide_path), TILING)
    reader.close()
    reader.close()
    assert not reader.read(0, 2)[1].any()


def test_a_slide_that_went_away_says_so(tmp_path):
    path = write_tiff(tmp_path / "s.svs", tissue_picture(512, 512), factors=(1,))
    made = plan(path)
    path.unlink()
    with pytest.raises(SlideNotFoundError, match=r"s\.svs"):
        TileReader(made, TILING)


def test_a_slide_that_changes_is_not_read_on(tmp_path):
    path, other = (
        write_tiff(tmp_path / f"{shade}.svs", tissue_picture(512, 512) - shade, factors=(1,)) for shade in (0, 9)
    )
    made, content = plan(path), path.read_bytes()
    with TileReader(made, TILING) as reader:
        reader.read(0, 1)
        path.write_bytes(other.read_bytes())
        with pytest.raises(SlideChangedError, match=r"slide 's': .* changed while it was read"):
            reader.read(1, 2)
    with pytest.raises(SlideChangedError):
        TileReader(made, TILING)
    path.write_bytes(content)
    with TileReader(made, TILING) as reader:
        path.unlink()  # whoever has it open reads on
        assert reader.read(0, 1)[1].all()


# -- reasons --------------------------------------------------------------------------------


def test_an_empty_slide_says_how_much_tissue_was_found(tmp_path):
    path = write_tiff(tmp_path / "s.svs", np.full((600, 600, 3), GLASS, np.uint8), factors=(1,))
    with pytest.raises(NoTileError, match=r"'s' has no tile: 0 of 0 mm² tissue above min fraction 0\.5.*best of 16"):
        plan(path)


def test_tissue_too_thin_for_a_tile_says_so(tmp_path):
    picture = np.full((600, 600, 3), GLASS, np.uint8)
    picture[:, 300:340] = (225, 140, 180)
    path = write_tiff(tmp_path / "s.svs", picture, factors=(1,))
    with pytest.raises(NoTileError, match=r"0 of 0\.00\d+ mm² tissue above min fraction 0\.5"):
        plan(path)


def test_a_slide_smaller_than_a_tile_says_so(tmp_path):
    path = write_tiff(tmp_path / "s.svs", tissue_picture(100, 90), factors=(1,))
    with pytest.raises(NoTileError, match=r"100×90 px at level 0.*64 px at 0\.5 µm/px takes 128×128"):
        plan(path)


def test_resolution_is_missing_given_or_too_coarse(tmp_path):
    path = write_tiff(tmp_path / "s.svs", tissue_picture(600, 600), factors=(1,), mpp=None)
    with pytest.raises(ResolutionError, match="'s' has no resolution"):
        plan(path)
    assert plan(path, mpp=0.25).mpp == 0.25
    with pytest.raises(ResolutionError, match="coarser than the requested"):
        plan(path, mpp=1.0)


def test_an_implausible_resolution_stays_in_the_plan(tmp_path):
    path = write_tiff(tmp_path / "s.svs", tissue_picture(600, 600), factors=(1,), mpp=16.783)
    with pytest.raises(ResolutionError, match="placeholder"):
        plan(path)
    warnings = plan(path, mpp=0.25).warnings
    assert warnings[0].startswith("implausible mpp 16.783 in the file")
    assert warnings[1] == "mpp 0.25 as given; the file says 16.783"


def test_dicom_with_wrong_colours_keeps_its_warning(tmp_path):
    path = write_dicom(tmp_path / "s.dcm", tissue_picture(512, 512), tag="RGB", encoded="ycbcr")
    made = plan(path)
    assert made.reader == "dicom"
    assert "photometric tag says RGB, frames are YBR" in made.warnings[0]


def test_a_mask_replaces_detection(tmp_path, slide_path):
    ring = [[0, 0], [384, 0], [384, 256], [0, 256], [0, 0]]
    (tmp_path / "m.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    made = plan(slide_path, tissue=str(tmp_path / "m.geojson"))
    assert list(map(tuple, made.xy_l0)) == [(0, 0), (128, 0), (256, 0), (0, 128), (128, 128), (256, 128)]
    assert made.warnings == ("tissue from the mask m.geojson",)
    with pytest.raises(TissueError, match="gone"):
        plan(slide_path, tissue=str(tmp_path / "gone.geojson"))


def test_fluorescence_is_planned_where_all_is_tissue(shared_data):
    path = shared_data / "slides" / "fluor-DAPI.ndpi"
    with pytest.raises(TissueError):
        plan(path)
    made = plan(path, method="all", tiling=TilingConfig())
    with TileReader(made, TilingConfig()) as reader:
        pixels, readable = reader.read(10, 13)
    assert readable.all()
    assert pixels[..., 2].mean() > 5 * pixels[..., 1].mean()  # DAPI is blue


def test_a_slide_of_which_nothing_can_be_read_fails(shared_data):
    with pytest.raises(RegionReadError, match=r"unreadable\.svs"):
        plan(shared_data / "slides" / "openslide-fixtures" / "unreadable.svs")


def test_bounds_hold_the_grid(slide_path, monkeypatch):
    monkeypatch.setattr("embedstore.slides.slide.Slide.bounds_l0", (300, 200, 600, 500))
    made = plan(slide_path, method="all")
    assert made.xy_l0.min(axis=0).tolist() == [300, 200]
    assert len(made) == (600 // 128) * (500 // 128)


def test_a_fingerprint_changes_with_the_content(tmp_path):
    path = write_tiff(tmp_path / "s.svs", tissue_picture(300, 300), factors=(1,))
    first = fingerprint(path)
    assert first == fingerprint(path)
    assert len(first) == 32
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert fingerprint(path) != first
