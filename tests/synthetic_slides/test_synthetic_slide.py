"""Synthetic slides: real readers open them, and what is said to be there is there."""

import json

import cv2
import numpy as np
import openslide
import pytest

from embedstore.errors import ConfigError
from synthetic_slides import SlideRecipe, StainMix, write_slide

SIZE_PX = (1300, 1100)  # no multiple of the tile, nor of 16
RECIPE = SlideRecipe(pen_width_um=100)  # thinner than any pen, for a slide of half a millimetre


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return write_slide(tmp_path_factory.mktemp("slide") / "a.svs", size_px=SIZE_PX, seed=5, recipe=RECIPE)


@pytest.fixture(scope="module")
def pixels(slide):
    with openslide.OpenSlide(slide.path) as opened:
        return np.asarray(opened.read_region((0, 0), 0, opened.dimensions).convert("RGB"))


def _masks(slide, *, cell_px=1):
    """Ground truth as one boolean mask a class, holes left out."""
    masks = {}
    for feature in json.loads(slide.truth_path.read_text())["features"]:
        name = feature["properties"]["classification"]["name"]
        mask = masks.setdefault(name, np.zeros(slide.size_px[::-1], np.uint8))
        rings = [np.round(np.array(ring)).astype(np.int32) for ring in feature["geometry"]["coordinates"]]
        part = np.zeros_like(mask)
        cv2.fillPoly(part, rings, 1)  # even-odd: inner rings are holes
        mask |= part
    return {name: mask.astype(bool) for name, mask in masks.items()}


def test_openslide_opens_it_with_its_resolution_and_levels(slide):
    assert openslide.OpenSlide.detect_format(slide.path) == "aperio"
    with openslide.OpenSlide(slide.path) as opened:
        assert opened.level_dimensions == ((1300, 1100), (325, 275), (81, 68))
        assert float(opened.properties["openslide.mpp-x"]) == slide.mpp == 0.5
        assert opened.properties["openslide.objective-power"] == "20"
        assert opened.properties["openslide.level[0].tile-width"] == "256"


def test_smaller_levels_show_the_same_picture(slide, pixels):
    with openslide.OpenSlide(slide.path) as opened:
        for level, (width, height) in enumerate(opened.level_dimensions[1:], 1):
            region = np.asarray(opened.read_region((0, 0), level, (width, height)).convert("RGB")).astype(int)
            factor = 4**level
            expected = cv2.resize(
                pixels[: height * factor, : width * factor], (width, height), interpolation=cv2.INTER_AREA
            )
            aligned = np.abs(region - expected).mean()
            assert aligned < 8  # grey levels: chroma at half the resolution, and up to three rounds of JPEG
            for axis in (0, 1):
                assert aligned < 0.5 * np.abs(np.roll(region, 1, axis) - expected).mean()


@pytest.mark.slow
def test_same_seed_gives_the_same_bytes_and_another_gives_others(slide, tmp_path):
    again = write_slide(tmp_path / "b.svs", size_px=SIZE_PX, seed=5, recipe=RECIPE)
    other = write_slide(tmp_path / "c.svs", size_px=SIZE_PX, seed=6, recipe=RECIPE)
    assert again.path.read_bytes() == slide.path.read_bytes()
    assert json.loads(again.truth_path.read_text()) == json.loads(slide.truth_path.read_text())
    assert other.path.read_bytes() != slide.path.read_bytes()


def test_parts_of_the_slide_join_without_a_seam():
    """A part painted alone equals the same place of a larger part: nothing depends on how the slide is cut."""
    from synthetic_slides.layout import draw_layout
    from synthetic_slides.painter import Painter

    painter = Painter(draw_layout((1024, 1024), 0.5, 3, SlideRecipe()))
    whole = painter.part(0, 0, 1024, 512).astype(int)
    part = painter.part(512, 256, 256, 256).astype(int)
    assert np.abs(part - whole[256:512, 512:768]).max() <= 1


def test_truth_names_what_is_there(slide, pixels):
    masks = _masks(slide)
    assert {"gland", "dense nuclei", "stroma", "fat", "pen mark"} == set(masks)
    grey = pixels.mean(2)
    tissue = masks["gland"] | masks["dense nuclei"] | masks["stroma"] | masks["fat"]
    glass = ~cv2.dilate((tissue | masks["pen mark"]).astype(np.uint8), np.ones((181, 181))).astype(
        bool
    )  # ink fades out
    assert grey[glass].min() > 225 and 238 < grey[glass].mean() < 247
    clean = ~masks["pen mark"]
    assert grey[masks["dense nuclei"] & clean].mean() < grey[masks["stroma"] & clean].mean() - 15
    pen = pixels[cv2.erode(masks["pen mark"].astype(np.uint8), np.ones((9, 9))).astype(bool)]
    assert (pen[:, 2].astype(int) - pen[:, 0]).mean() > 80  # blue
    share = tissue.mean()
    assert 0.25 < share < 0.75


def test_truth_is_geojson_as_qupath_writes_it(slide):
    truth = json.loads(slide.truth_path.read_text())
    assert truth["type"] == "FeatureCollection"
    names = [feature["properties"]["classification"]["name"] for feature in truth["features"]]
    assert names.count("gland") == slide.glands > 0
    assert len({feature["id"] for feature in truth["features"]}) == len(truth["features"])
    for feature in truth["features"]:
        assert feature["type"] == "Feature" and feature["geometry"]["type"] == "Polygon"
        assert feature["properties"]["objectType"] == "annotation"
        for ring in feature["geometry"]["coordinates"]:
            assert len(ring) >= 4 and ring[0] == ring[-1]


def test_stroma_leaves_out_glands_and_dense_nuclei(slide):
    masks = _masks(slide)
    for other in ("gland", "dense nuclei"):
        assert (masks["stroma"] & masks[other]).sum() < 0.06 * masks[other].sum()


def test_ihc_has_brown_nuclei_and_he_has_none(tmp_path):
    def brown(stain):
        made = write_slide(tmp_path / "x.svs", size_px=(768, 768), seed=1, recipe=_recipe(stain))
        with openslide.OpenSlide(made.path) as opened:
            rgb = np.asarray(opened.read_region((0, 0), 0, opened.dimensions).convert("RGB")).astype(int)
        dark = rgb.mean(2) < 150
        return (dark & (rgb[..., 0] > rgb[..., 2] + 20)).mean()

    assert brown("IHC") > 0.03 > 0.005 > brown("H&E")


def _recipe(stain):
    return SlideRecipe(mix=StainMix(stain=stain), dense=0.6, glands=0.1, fat=0.0, pen=None)


@pytest.mark.parametrize(
    "recipe", [SlideRecipe(glands=0, dense=0, fat=0, pen=None), SlideRecipe(glands=1), SlideRecipe(dense=1)]
)
def test_any_share_of_anything_can_be_made(tmp_path, recipe):
    made = write_slide(tmp_path / "x.svs", size_px=(512, 300), recipe=recipe)
    assert openslide.OpenSlide(made.path).dimensions == (512, 300)


@pytest.mark.slow
def test_resolution_changes_the_size_of_nuclei_in_pixels(tmp_path):
    fine = write_slide(tmp_path / "fine.svs", size_px=(1024, 1024), mpp=0.25, seed=2)
    with openslide.OpenSlide(fine.path) as opened:
        assert float(opened.properties["openslide.mpp-x"]) == 0.25
        assert opened.properties["openslide.objective-power"] == "40"


@pytest.mark.parametrize(
    ("options", "named"), [({"size_px": (100, 500)}, "100x500"), ({"mpp": 16.0}, "16.0"), ({"seed": -1}, "-1")]
)
def test_impossible_slides_are_refused(tmp_path, options, named):
    with pytest.raises(ConfigError, match=named):
        write_slide(tmp_path / "x.svs", **options)
    assert not list(tmp_path.iterdir())
