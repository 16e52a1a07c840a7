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
    plan_slide,
    read_image,
    read_tile,
    read_tile_folder,
)

TILING = TilingConfig(tile_px=32)


def plan(folder) -> SlidePlan:
    source = SlideSource(slide_id="set", path=str(folder), kind="tiles")
    return plan_slide(source, tiling=TILING, tissue=TissueConfig(), reading=ReadingConfig())


def list_tiles(folder) -> tuple[tuple[str, ...], tuple[TileLabel, ...]]:
    read = read_tile_folder(folder, tile_px=TILING.tile_px)
    return read.names, read.labels


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


def test_patients_between_classes_and_tiles_are_patients(tmp_path):
    for name in ("a/P1/1.png", "a/P2/2.png", "b/P1/3.png"):
        write(tmp_path / name)
    read = read_tile_folder(tmp_path, tile_px=16)
    assert [(label.label, label.patient) for label in read.labels] == [("a", "P1"), ("a", "P2"), ("b", "P1")]
    assert (read.patients, read.meaning) == (
        2,
        "sub-folders are class / patient (P1, P2); a labels.csv would overrule them",
    )


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
    ("name", "text"),
    [
        ("labels.csv", '"","file","label","group"\n"1","x/1.png","a","p1"\n"2","y/1.png","b","p2"\n'),  # write.csv of R
        ("labels.csv", "file;label;Patient ID\nx/1.png;a;p1\ny/1.png;b;p2\n"),
        ("Labels.CSV", "File,Label,Patient\nx/1.png,a,p1\n./y/1.png,b,p2\n"),
        ("labels.tsv", "image\tclass\tpatient\nx\\1.png\ta\tp1\ny\\1.png\tb\tp2\n"),
        ("labels.csv", "file,label,patient\n{root}/x/1.png,a,p1\n{root}/y/1.png,b,p2\n"),
        ("labels.csv", "file,label,patient\n/elsewhere/data/x/1.png,a,p1\nC:\\data\\y\\1.png,b,p2\n"),
        ("labels.csv", "id,label,patient\nx/1,a,p1\ny/1,b,p2\n"),
        ("labels.csv", "id,image,path,label,patient\n0,x/1.png,/a,a,p1\n1,y/1.png,/b,b,p2\n"),
        ("labels.csv", "file,label,patient\nset/x/1.png,a,p1\nset/y/1.PNG,b,p2\n"),
    ],
)
def test_lists_of_labels_as_other_programs_write_them(tmp_path, name, text):
    root = tmp_path / "set"
    write(root / "x" / "1.png")
    write(root / "y" / "1.png")
    (root / name).write_text(text.format(root=root))
    names, labels = list_tiles(root)
    assert names == ("x/1.png", "y/1.png")
    assert [(label.name, label.label, label.patient) for label in labels] == [
        ("x/1.png", "a", "p1"), ("y/1.png", "b", "p2"),
    ]  # fmt: skip


def test_what_is_missing_and_what_is_one_class_in_two_ways_is_told(tmp_path):
    for name in ("1.png", "2.png"):
        write(tmp_path / name)
    (tmp_path / "labels.csv").write_text("file,label,split,patient\n1.png,Tumor,NA,7.0\n2.png,tumor,nan,8.0\n,,,\n")
    folder = read_tile_folder(tmp_path, tile_px=32)
    assert {(label.label, label.split, label.patient) for label in folder.labels} == {
        ("Tumor", None, "7"), ("tumor", None, "8"),
    }  # fmt: skip
    assert folder.notes == (
        "labels.csv: 2 value(s) of split are missing: 'NA', 'nan'",
        "labels.csv: all values of patient are whole numbers: 7.0 is read as 7",
    )
    assert any("'Tumor' and 'tumor'" in warning for warning in folder.warnings)


def test_a_list_that_tells_no_image_apart_says_so(tmp_path):
    for name in ("x/1.png", "y/1.png", "y/2.png"):
        write(tmp_path / name)
    (tmp_path / "labels.csv").write_text("file,label\n1.png,a\n2.png,b\n")
    read = read_tile_folder(tmp_path, tile_px=16)
    assert [(label.name, label.label) for label in read.labels] == [("1.png", "a"), ("y/2.png", "b")]
    assert "1 of 2 rows name no image that is there: 1.png" in read.warnings[0]
    (tmp_path / "labels.csv").write_text("slide,label\nx,a\n")
    read = read_tile_folder(tmp_path, tile_px=16)
    assert [label.label for label in read.labels] == ["x", "y", "y"]
    assert "labels.csv lists no image that is there, and is not used" in read.warnings[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,file\n1.png,a\n", "labels.csv: more than one column means file"),
        ("file\n1.png\n./1.png\n", "line 3: './1.png' is listed twice"),
    ],
)
def test_a_malformed_list_of_labels_says_so(tmp_path, text, message):
    write(tmp_path / "1.png")
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
    with pytest.raises(NoTileError, match="holds no image"):
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
