"""Tissue on thumbnails that are drawn here, and on real ones."""

import cv2
import numpy as np
import pytest

from embedstore.config import TissueConfig
from embedstore.errors import TissueError
from embedstore.slides import Thumbnail, find_tissue, open_slide, read_mask, read_thumbnail, tissue_of
from embedstore.slides.tissue.pen import find_pen
from synthetic_slides import SlideRecipe, StainMix, write_slide
from synthetic_slides.pen_mark import Ink, PenMark
from tests.marks import slow
from tests.slides.drawings import EOSIN, GLASS, damage_tile, tissue_picture, write_tiff

CONFIG = TissueConfig()
DAB, HAEMATOXYLIN_PALE = (150, 110, 80), (165, 165, 200)
PENS = {
    "blue": (20, 45, 160),
    "pale blue": (97, 124, 201),
    "green": (20, 120, 50),
    "red": (220, 25, 40),
    "black": (25, 25, 30),
}


def thumbnail(pixels: np.ndarray, mpp: float = 8.0) -> Thumbnail:
    return Thumbnail(
        pixels=pixels, unread=np.zeros(pixels.shape[:2], bool), origin_l0=(0, 0), scale_l0=(32, 32), mpp=mpp
    )


def glass(edge: int = 300, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 2, (edge, edge, 3))
    return np.clip(GLASS + noise, 0, 255).astype(np.uint8)


def disc_of(colour: tuple[int, int, int], radius: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """A picture with a disc of a stain on glass, and the disc as a mask."""
    pixels, mask = glass(), np.zeros((300, 300), np.uint8)
    cv2.circle(mask, (150, 150), radius, 1, -1)
    pixels[mask == 1] = colour
    return pixels, mask.astype(bool)


def overlap(found: np.ndarray, expected: np.ndarray) -> float:
    return (found & expected).sum() / (found | expected).sum()


@pytest.mark.parametrize("level", [255, GLASS, 215])
def test_an_empty_slide_has_no_tissue(level):
    pixels = np.clip(glass().astype(int) - GLASS + level, 0, 255).astype(np.uint8)
    found = tissue_of(thumbnail(pixels), CONFIG, slide_name="a")
    assert not found.mask.any()
    assert found.area_mm2 == 0


@pytest.mark.parametrize(
    "colour", [EOSIN, (238, 208, 222), DAB, HAEMATOXYLIN_PALE], ids=["eosin", "pale", "dab", "blue"]
)
def test_stained_tissue_is_found(colour):
    pixels, expected = disc_of(colour)
    found = tissue_of(thumbnail(pixels), CONFIG, slide_name="a")
    assert overlap(found.mask, expected) > 0.95
    assert found.area_mm2 == pytest.approx(expected.sum() * 64e-6, rel=0.05)
    assert found.warnings == []


def fibres(pixels: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int], seed: int = 0) -> None:
    """Paint streaky stroma into a mask: its mean is `colour`, a grey level in 20 more or less from fibre to fibre."""
    streaks = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, pixels.shape[:2]), (0, 0), 4, sigmaY=0.8)
    stroma = np.array(colour) + (streaks / streaks.std() * 6)[..., None]
    pixels[mask] = np.clip(stroma, 0, 255).astype(np.uint8)[mask]


@pytest.mark.parametrize("mpp", [slow(4.0), 8.0, slow(16.0)])
@pytest.mark.parametrize("colour", [(224, 222, 227), (216, 217, 220)], ids=["faint", "grey"])
def test_pale_stroma_is_found_beside_dense_tissue(colour, mpp):
    pixels, expected = disc_of(DAB, radius=110)
    fibres(pixels, expected & (np.arange(300) < 190), colour)
    found = tissue_of(thumbnail(pixels, mpp), CONFIG, slide_name="a")
    assert overlap(found.mask, expected) > 0.93


@pytest.mark.parametrize(("seed", "strength"), [(0, 0.6), slow(1, 0.6), slow(0, 1.0), slow(1, 1.0)])
def test_a_pale_counterstain_is_tissue(tmp_path, seed, strength):
    mix = StainMix(stain="IHC", haematoxylin=strength)
    recipe = SlideRecipe(mix=mix, glands=0.3, dense=0.34, fat=0, pen=None)
    made = write_slide(tmp_path / "ihc.svs", size_px=(1600, 1200), mpp=2, seed=seed, recipe=recipe)
    with open_slide(made.path, reader="tiff") as slide:
        found = find_tissue(slide, CONFIG, mpp_l0=2)
        truth = read_mask(made.truth_path, bounds_l0=slide.bounds_l0, mpp_l0=2, mpp=8)
    assert overlap(found.mask, truth.mask) > 0.95


def test_glass_beside_unscanned_white_is_no_tissue():
    pixels = np.full((300, 300, 3), 255, np.uint8)
    pixels[60:240, 40:260] = glass()[60:240, 40:260] - (13, 25, 19)  # density 0.07 against white
    assert not tissue_of(thumbnail(pixels), CONFIG, slide_name="a").mask.any()


@pytest.mark.parametrize("shade", [(0.12, 0.12, 0.12), (0.02, 0.05, 0.09)], ids=["grey", "yellow"])
def test_uneven_light_is_no_tissue(shade):
    light = 1 - np.array(shade) * np.linspace(0, 1, 300)[:, None, None]
    pixels = np.clip(glass() * light, 0, 255).astype(np.uint8)
    assert not tissue_of(thumbnail(pixels), CONFIG, slide_name="a").mask.any()


def test_specks_of_dust_and_rims_are_no_tissue():
    pixels, rng = glass(600), np.random.default_rng(0)
    for x, y in rng.integers(0, 600, (400, 2)).tolist():
        cv2.circle(pixels, (x, y), 2, (120, 120, 122), -1)
    cv2.circle(pixels, (300, 300), 120, (150, 150, 150), 3, cv2.LINE_AA)  # a bubble
    cv2.rectangle(pixels, (20, 20), (580, 580), (120, 120, 118), 4)  # the cover glass
    assert not tissue_of(thumbnail(pixels), CONFIG, slide_name="a").mask.any()


def test_a_slide_full_of_tissue_is_all_tissue():
    pixels = np.clip(tissue_picture(300, 300)[100:200, 100:200].repeat(3, 0).repeat(3, 1), 0, 255)
    assert tissue_of(thumbnail(pixels), CONFIG, slide_name="a").mask.mean() > 0.99


def test_dust_is_no_tissue():
    pixels = glass()
    cv2.circle(pixels, (150, 150), 60, (200, 200, 200), -1)
    assert not tissue_of(thumbnail(pixels), CONFIG, slide_name="a").mask.any()


def test_specks_and_holes_go_by_their_area():
    pixels, _ = disc_of(EOSIN)
    cv2.circle(pixels, (40, 40), 6, EOSIN, -1)  # 7,200 µm²
    cv2.circle(pixels, (130, 150), 5, (GLASS,) * 3, -1)  # 5,000 µm²
    cv2.circle(pixels, (180, 150), 14, (GLASS,) * 3, -1)  # 39,000 µm²
    found = tissue_of(thumbnail(pixels), CONFIG, slide_name="a").mask
    assert not found[40, 40]
    assert found[150, 130]
    assert not found[150, 180]
    everything = TissueConfig(min_area_um2=0, max_hole_um2=0)
    found = tissue_of(thumbnail(pixels), everything, slide_name="a").mask
    assert found[40, 40]
    assert not found[150, 130]


@pytest.mark.parametrize("ink", PENS)
def test_pen_marks_are_left_out(ink):
    pixels, expected = disc_of(EOSIN)
    cv2.line(pixels, (20, 20), (20, 280), PENS[ink], 12)
    found = tissue_of(thumbnail(pixels), CONFIG, slide_name="a")
    assert overlap(found.mask, expected) > 0.95
    assert found.warnings[0].startswith("pen marks of")
    kept = tissue_of(thumbnail(pixels), TissueConfig(exclude_pen=False), slide_name="a")
    assert kept.mask[150, 20]


@pytest.mark.parametrize("colour", [EOSIN, DAB, HAEMATOXYLIN_PALE, (95, 60, 140), (190, 80, 90)])
def test_stains_are_no_ink(colour):
    assert not find_pen(disc_of(colour)[0], 8.0).any()


@pytest.mark.slow
def test_a_blue_stain_of_all_the_tissue_is_no_ink(shared_data):
    with open_slide(shared_data / "slides" / "bone-jpeg2000.dcm") as slide:
        found = find_tissue(slide, CONFIG, mpp_l0=0.5)
    assert found.mask.mean() > 0.95
    assert "has the colours of ink" in found.warnings[0]


@pytest.mark.parametrize("ink", PENS)
def test_a_mark_on_an_empty_slide_is_no_tissue(ink):
    pixels = glass().astype(np.float64)
    stroke = np.zeros((300, 300))
    cv2.line(stroke, (60, 40), (200, 260), 1.0, 40)
    streaks = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 1, stroke.shape), (0, 0), 6, sigmaY=1)
    amount = cv2.GaussianBlur(stroke, (0, 0), 1) * (1 + 0.15 * streaks / streaks.std())
    pixels *= (np.array(PENS[ink]) / GLASS) ** amount[..., None]
    assert not tissue_of(thumbnail(pixels.astype(np.uint8)), CONFIG, slide_name="a").mask.any()


@pytest.mark.parametrize("mpp", [8.0, 22.0])  # 22: of the thumbnail of a slide of 25×20 mm
@pytest.mark.parametrize("width_um", [300, 1000])  # the thinnest and the widest felt-tip
@pytest.mark.parametrize("colour", ["blue", slow("green"), slow("black")])
def test_a_felt_tips_line_is_left_out_to_its_blurred_edges(colour, width_um, mpp):
    pixels, _ = disc_of(EOSIN)
    fibres(pixels, np.ones((300, 300), bool) & (pixels[..., 1] == EOSIN[1]), EOSIN)
    points = np.stack([np.linspace(40, 260, 60), np.linspace(130, 60, 60)], 1) * mpp  # over glass, tissue, and glass
    mark = PenMark(points_um=points.astype(np.float32), width_um=width_um, colour=colour)
    inked = pixels.astype(np.float32)
    Ink(mark).lay_over(inked, (0, 0), mpp)
    clean = tissue_of(thumbnail(pixels, mpp), CONFIG, slide_name="a").mask
    found = tissue_of(thumbnail(inked.astype(np.uint8), mpp), CONFIG, slide_name="a")
    line = np.zeros((300, 300), np.uint8)
    cv2.polylines(line, [np.rint(points / mpp).astype(np.int32)], False, 1, round(width_um / mpp))
    assert found.warnings[0].startswith("pen marks of")
    assert (found.mask & (line == 1)).sum() < 0.03 * line.sum()  # pixels at its rim
    assert (found.mask & ~clean).sum() < 5
    reach = cv2.dilate(line, np.ones((2 * round(100 / mpp) + 1,) * 2, np.uint8)) == 1
    assert overlap(found.mask & ~reach, clean & ~reach) > 0.98


@pytest.mark.parametrize("level", [0, 35])
def test_black_padding_and_borders_are_neither_tissue_nor_ink(level):
    pixels, expected = disc_of(EOSIN, radius=50)
    pixels[:, :90] = level
    pixels[-4:] = level
    if level == 0:
        cv2.fillPoly(pixels, [np.array([(300, 0), (200, 0), (300, 60)])], (0, 0, 0))  # a region that was scanned askew
    found = tissue_of(thumbnail(pixels), CONFIG, slide_name="a")
    assert overlap(found.mask, expected) > 0.95
    assert found.warnings == []


def test_a_black_mark_that_runs_off_the_slide_is_ink():
    pixels, expected = disc_of(EOSIN)
    cv2.line(pixels, (20, -5), (20, 280), PENS["black"], 12)
    found = tissue_of(thumbnail(pixels), CONFIG, slide_name="a")
    assert overlap(found.mask, expected) > 0.95
    assert found.warnings[0].startswith("pen marks of")


def test_darkfield_is_refused_with_the_way_out():
    pixels = np.zeros((200, 200, 3), np.uint8)
    cv2.circle(pixels, (100, 100), 30, (20, 40, 250), -1)
    with pytest.raises(TissueError, match=r"'a' looks like darkfield or fluorescence.*GeoJSON mask.*--tissue all"):
        tissue_of(thumbnail(pixels), CONFIG, slide_name="a")


@pytest.mark.parametrize("name", ["fluor-DAPI.ndpi", "fluor-TRITC.ndpi"])
def test_real_fluorescence_is_refused(shared_data, name):
    with open_slide(shared_data / "slides" / name) as slide, pytest.raises(TissueError, match="fluorescence"):
        find_tissue(slide, CONFIG, mpp_l0=0.2282)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mpp", "area_mm2"), [("CMU-1-Small-Region.svs", 0.499, 0.68), ("tcga-cr-7395-01a-01-ts1.svs", 0.5, 2.55)]
)
def test_real_tissue_keeps_its_area(shared_data, name, mpp, area_mm2):
    with open_slide(shared_data / "slides" / name) as slide:
        found = find_tissue(slide, CONFIG, mpp_l0=mpp)
    assert found.area_mm2 == pytest.approx(area_mm2, rel=0.05)  # judged by eye on the overlay
    assert found.warnings == []


@pytest.mark.parametrize("factors", [(1,), (1, 2, 4)], ids=["no pyramid", "pyramid"])
def test_a_thumbnail_is_the_slide_made_smaller(tmp_path, factors):
    picture = tissue_picture(1000, 760)
    path = write_tiff(tmp_path / "a.svs", picture, factors=factors)
    with open_slide(path, reader="tiff") as slide:
        small = read_thumbnail(slide, mpp_l0=0.25, mpp=2.5)
    assert small.pixels.shape == (76, 100, 3)
    assert small.mpp == pytest.approx(2.5)
    assert small.scale_l0 == (10, 10)
    expected = cv2.resize(picture, (100, 76), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(small.pixels - expected).mean() < 4


def test_a_thumbnail_in_blocks_is_the_one_made_at_once(tmp_path, monkeypatch):
    path = write_tiff(tmp_path / "a.svs", tissue_picture(1000, 760), factors=(1,))
    with open_slide(path, reader="tiff") as slide:
        whole = read_thumbnail(slide, mpp_l0=0.25, mpp=1.0)
        monkeypatch.setattr("embedstore.slides.tissue.thumbnail.BLOCK_PIXELS", 120 * 120)
        blocks = read_thumbnail(slide, mpp_l0=0.25, mpp=1.0)
    np.testing.assert_array_equal(whole.pixels, blocks.pixels)


def test_what_cannot_be_read_coarsely_is_read_finely_and_else_counted_as_tissue(tmp_path, monkeypatch):
    monkeypatch.setattr("embedstore.slides.tissue.thumbnail.BLOCK_PIXELS", 128 * 128)
    path = write_tiff(tmp_path / "a.svs", np.full((1024, 1024, 3), GLASS, np.uint8), factors=(1, 4))
    damage_tile(path, page=1, index=0)
    with open_slide(path, reader="tiff") as slide:
        assert not read_thumbnail(slide, mpp_l0=0.25, mpp=1.0).unread.any()
    damage_tile(path, page=0, index=9)
    with open_slide(path, reader="tiff") as slide:
        small = read_thumbnail(slide, mpp_l0=0.25, mpp=1.0)
        assert 0 < small.unread.mean() < 0.5
        assert "cannot be read on any level" in small.warnings[0]
        assert tissue_of(small, TissueConfig(min_area_um2=0), slide_name="a").mask[small.unread].all()
