"""OME-Zarr images: which of a folder is the slide, what is refused, and what damaged or hostile ones end in."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from embedstore.config import ReadingConfig, TilingConfig, TissueConfig
from embedstore.errors import RegionReadError, SlideFormatError
from embedstore.slides import TileReader, find_slides, open_slide, plan_slide
from tests.slides.drawings import tissue_picture, write_ome_zarr

PICTURE = tissue_picture(160, 128)


def draw(path: Path, picture: np.ndarray = PICTURE, **how) -> Path:
    return write_ome_zarr(path, picture, **{"chunk_px": 64, "factors": (1, 2), **how})


def change(file: Path, change) -> None:
    """Change the JSON of a file."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn") / "a.ome.zarr")


@pytest.fixture
def slide(drawn, tmp_path) -> Path:
    """A copy of one that is drawn once."""
    return shutil.copytree(drawn, tmp_path / "a.ome.zarr")


@pytest.fixture
def spatialdata(tmp_path) -> Path:
    """A folder as SpatialData writes it, with an image in colour and a larger one of fluorescence."""
    root = tmp_path / "set" / "sample.zarr"
    zarr.open_group(root, mode="w").attrs["spatialdata_attrs"] = {"version": "0.2"}
    zarr.open_group(root / "images", mode="w")
    draw(root / "images" / "he", mpp=None)
    draw(root / "images" / "if", np.zeros((300, 300, 5), np.uint16), factors=(1,))
    zarr.open_group(root / "tables", mode="w")
    return root


def test_a_zarr_folder_is_one_slide_and_its_chunks_are_no_tiles(slide, spatialdata):
    found = find_slides([slide.parent])
    assert [source.slide_id for source in found.sources] == ["a.ome.zarr", "set/sample.zarr"]
    assert found.sources[1].path == str(spatialdata / "images" / "he" / "zarr.json")
    assert dict(found.summary.slides) == {"OME-Zarr": 2}
    (left,) = found.summary.left_out
    assert (left.what, left.examples) == ("further images of Zarr folders", ("set/sample.zarr/images/if",))


@pytest.mark.parametrize("named", ["", "zarr.json"])
def test_a_zarr_folder_is_named_by_itself_or_by_its_metadata(slide, named):
    (source,) = find_slides([slide / named]).sources
    assert (source.slide_id, source.path) == ("a.ome.zarr", str(slide / "zarr.json"))


def test_an_image_within_is_named_by_its_own_folder(spatialdata):
    (source,) = find_slides([spatialdata / "images" / "he"]).sources
    assert source.slide_id == "sample.zarr/images/he"


def test_a_list_names_a_zarr_folder(slide):
    (slide.parent / "slides.csv").write_text("path,mpp,patient\na.ome.zarr,0.5,p\n")
    (source,) = find_slides([slide.parent / "slides.csv"]).sources
    assert (source.kind, source.path, source.mpp) == ("wsi", str(slide / "zarr.json"), 0.5)


def test_features_are_no_slide_and_say_where_they_are_read(tmp_path):
    features = tmp_path / "a.zarr"
    zarr.open_group(features, mode="w").attrs["tile_spec"] = {}
    zarr.open_group(features / "images", mode="w")
    draw(features / "images" / "wsi_thumbnail", factors=(1,))
    assert not find_slides([tmp_path]).sources
    with pytest.raises(SlideFormatError, match="embedstore import"):
        find_slides([features])


def test_tiles_are_read_and_a_slide_that_is_written_anew_is_noticed(slide):
    (source,) = find_slides([slide]).sources
    tiling = TilingConfig(tile_px=32, mpp=0.5)
    plan = plan_slide(source, tiling=tiling, tissue=TissueConfig(method="all"), reading=ReadingConfig())
    assert (plan.reader, plan.mpp, plan.level) == ("zarr", 0.25, 1)
    with TileReader(plan, tiling) as reader, open_slide(slide) as opened:
        pixels, readable = reader.read(0, 1)
        assert readable.all()
        np.testing.assert_array_equal(pixels[0], opened.read_region((0, 0), 1, (32, 32)))
        shutil.rmtree(slide)
        draw(slide, PICTURE[:, ::-1])
        with pytest.raises(Exception, match="changed while it was read"):
            reader.read(0, 1)


@pytest.mark.parametrize(
    ("picture", "how", "reason"),
    [
        (np.zeros((64, 64, 5), np.uint16), {}, r"5 channel\(s\) of uint16; expected RGB"),
        (np.zeros((64, 64, 1), np.uint8), {}, r"1 channel\(s\) of uint8"),
        (PICTURE, {"colours": ["0000FF", "00FF00", "FF0000"]}, "expected red, green and blue"),
    ],
    ids=["channels", "grey", "colours"],
)
def test_what_is_not_rgb_is_refused_with_a_sentence(tmp_path, picture, how, reason):
    draw(tmp_path / "a.zarr", picture, factors=(1,), **how)
    with pytest.raises(SlideFormatError, match=reason):
        open_slide(tmp_path / "a.zarr")


def _chunks(shape):
    def change_(content):
        content["chunk_grid"]["configuration"]["chunk_shape"] = shape

    return change_


def _absurd(content):
    content["shape"] = [3, 1 << 40, 1 << 40]


def _empty(content):
    content["shape"] = [3, 0, 160]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [(_absurd, "is said to have"), (_chunks([3, 1 << 30, 1 << 30]), "stored in chunks of"), (_empty, "is empty")],
    ids=["size", "chunks", "empty"],
)
def test_absurd_arrays_are_refused_before_anything_is_made(slide, changes, reason):
    change(slide / "s0" / "zarr.json", changes)
    with pytest.raises(SlideFormatError, match=reason):
        open_slide(slide)


@pytest.mark.parametrize("path", ["../other", "/etc", "s0/../../other", ""])
def test_levels_outside_of_the_folder_are_refused(slide, path):
    def point(content):
        content["attributes"]["ome"]["multiscales"][0]["datasets"][0]["path"] = path

    change(slide / "zarr.json", point)
    with pytest.raises(SlideFormatError, match="lies outside"):
        open_slide(slide)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{", "[]", '{"attributes": 3}', '{"attributes": {"ome": {"multiscales": 0}}}']
)
def test_metadata_that_cannot_be_used_is_the_slides_error(slide, text):
    (slide / "zarr.json").write_text(text)
    (source,) = find_slides([slide]).sources
    with pytest.raises(SlideFormatError):
        open_slide(source.path)


def test_a_damaged_chunk_costs_its_tiles_and_a_missing_one_has_the_stated_value(slide):
    chunks = sorted(path for path in (slide / "s0" / "c").rglob("*") if path.is_file())
    chunks[0].write_bytes(b"no zstd")
    chunks[-1].unlink()
    with open_slide(slide) as opened:
        with pytest.raises(RegionReadError, match="level 0, chunk column 0, row 0"):
            opened.read_region((0, 0), 0, (8, 8))
        assert (opened.read_region((130, 70), 0, (8, 8)) == 0).all()
        np.testing.assert_array_equal(opened.read_region((64, 0), 0, (32, 32)), PICTURE[:32, 64:96])


def test_a_chunk_that_unpacks_to_more_than_it_should_is_refused(slide):
    import imagecodecs

    chunk = slide / "s0" / "c" / "0" / "0" / "0"
    chunk.write_bytes(imagecodecs.zstd_encode(bytes(1 << 28)))
    with open_slide(slide) as opened, pytest.raises(RegionReadError):
        opened.read_region((0, 0), 0, (8, 8))


@pytest.mark.parametrize("how", [{}, {"zarr_format": 2}, {"shard_px": 128}], ids=["format 3", "format 2", "shards"])
def test_a_pipe_in_place_of_a_chunk_is_told_at_once(tmp_path: Path, how: dict):
    slide = draw(tmp_path / "a.ome.zarr", **how)
    level = next(path for path in (slide / "s0", slide / "0") if path.is_dir())
    chunks = sorted(path for path in level.rglob("*") if path.is_file() and not path.name.startswith(("zarr", ".z")))
    with open_slide(slide) as opened:
        opened.read_region((0, 0), 0, (8, 8))
    chunks[0].unlink()
    os.mkfifo(chunks[0])
    with open_slide(slide) as opened:
        with pytest.raises(RegionReadError, match=r"chunk column 0, row 0: .* is a device or pipe, not a file"):
            opened.read_region((0, 0), 0, (8, 8))
        np.testing.assert_array_equal(opened.read_region((130, 70), 0, (8, 8)), PICTURE[70:78, 130:138])


def test_a_pipe_in_place_of_metadata_is_told_at_once(slide):
    (slide / "s0" / "zarr.json").unlink()
    os.mkfifo(slide / "s0" / "zarr.json")
    with pytest.raises(SlideFormatError):
        open_slide(slide)
