"""Folders of ready-made tiles as slides."""

import cv2
import numpy as np
import pytest

from embedstore.config import ReadingConfig, TilingConfig, TissueConfig
from embedstore.errors import NoTileError, RegionReadError, SlideListError
from embedstore.slides import (
    SlidePlan,
    SlideSource,
    TileLabel,
    TileReader,
    list_tiles,
    plan_slide,
    read_image,
    read_tile,
)

TILING = TilingConfig(tile_px=32)


def plan(folder) -> SlidePlan:
    source = SlideSource(slide_id="set", path=str(folder), kind="tiles")
    return plan_slide(source, tiling=TILING, tissue=TissueConfig(), reading=ReadingConfig())


def write(path, value=200, edge=16):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.full((edge, edge, 3), value, np.uint8)
    picture[..., 0] = 10  # blue, as OpenCV orders colours
    cv2.imwrite(str(path), picture)


def test_sub_folders_are_labels_and_folders_above_splits(tmp_path):
    for name in ("train/b/2.png", "train/a/1.jpg", "test/a/3.tif"):
        write(tmp_path / name)
    names, labels = list_tiles(tmp_path)
    assert names == ("test/a/3.tif", "train/a/1.jpg", "train/b/2.png")
    assert labels[0] == TileLabel(name="test/a/3.tif", label="a", split="test")
    assert [label.label for label in labels] == ["a", "a", "b"]
    assert [label.split for label in labels] == ["test", "train", "train"]


def test_a_flat_folder_has_no_labels(tmp_path):
    write(tmp_path / "1.png")
    assert list_tiles(tmp_path) == (("1.png",), ())


def test_a_list_of_labels_is_believed(tmp_path):
    for name in ("x/1.png", "x/2.png", "x/3.png"):
        write(tmp_path / name)
    (tmp_path / "labels.csv").write_text("file,label,split,group\nx/2.png,b,test,P1\nx/1.png,a,,\nx/gone.png,a,,\n")
    names, labels = list_tiles(tmp_path)
    assert names == ("x/1.png", "x/2.png", "x/3.png", "x/gone.png")
    assert labels[:2] == (
        TileLabel(name="x/1.png", label="a"),
        TileLabel(name="x/2.png", label="b", split="test", patient="P1"),
    )
    assert [label.name for label in labels] == ["x/1.png", "x/2.png", "x/gone.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\n1.png,a\n", r"expected a column file.*'name'"),
        ("file\n1.png\n1.png\n", "line 3: '1.png' is listed twice"),
    ],
)
def test_a_malformed_list_of_labels_says_so(tmp_path, text, message):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(SlideListError, match=message):
        list_tiles(tmp_path)


def test_tiles_are_read_in_the_plans_order_and_size(tmp_path):
    for value, name in ((100, "a/1.png"), (150, "a/2.tif"), (200, "b/3.jpg")):
        write(tmp_path / name, value, edge=64 if value == 100 else 16)
    (tmp_path / "b" / "4.png").write_bytes(b"no picture")
    (tmp_path / "b" / "5.png").touch()
    made = plan(tmp_path)
    assert (made.reader, made.edge_l0, made.mpp, len(made)) == ("images", 0, None, 5)
    assert made.names == ("a/1.png", "a/2.tif", "b/3.jpg", "b/4.png", "b/5.png")
    assert made.xy_l0.tolist() == [[0, 0]] * 5
    with TileReader(made, TILING) as reader:
        pixels, readable = reader.read(0, 5)
        assert readable.tolist() == [True, True, True, False, False]
        assert "4.png" in reader.first_error
    assert pixels.shape == (5, 32, 32, 3)
    np.testing.assert_allclose(pixels[:3, 5, 5, 0], [100, 150, 200], atol=2)
    np.testing.assert_allclose(pixels[:3, 5, 5, 2], 10, atol=3)


def test_a_transparent_tile_is_read_as_an_image_to_search_by_is(tmp_path):
    pixels = np.full((8, 8, 4), 90, np.uint8)
    pixels[:, :4, 3] = 0
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    tile = read_tile(tmp_path / "a.png", 8)
    assert (tile[:, :4] == 255).all()
    np.testing.assert_array_equal(tile, read_image(tmp_path / "a.png"))


def test_a_tile_that_is_not_there_says_so(tmp_path):
    with pytest.raises(RegionReadError, match=r"gone\.png.*No such file"):
        read_tile(tmp_path / "gone.png", 8)


def test_an_empty_folder_says_so(tmp_path):
    with pytest.raises(NoTileError, match="holds no PNG, JPEG or TIFF"):
        plan(tmp_path)


def test_a_fingerprint_follows_names_and_sizes(tmp_path):
    write(tmp_path / "1.png")
    first = plan(tmp_path).fingerprint
    assert first == plan(tmp_path).fingerprint
    write(tmp_path / "2.png")
    assert plan(tmp_path).fingerprint != first


def test_the_shared_tiles_have_their_labels(shared_data):
    names, labels = list_tiles(shared_data / "tiles" / "mitosis_atypical_vs_normal")
    assert len(names) == len(labels) == 1212
    assert sum(label.label == "atypical" for label in labels) == 404
    assert len({label.patient for label in labels}) == 133
    assert {label.split for label in labels} == {"train", "test"}
