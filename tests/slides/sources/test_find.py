"""Finding slides: folders, DICOM series, tile folders, lists."""

import os
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedstore.errors import ConfigError, SlideListError, SlideNotFoundError
from embedstore.slides import find_slides
from tests.slides.drawings import tissue_picture, write_dicom, write_tiff


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((8, 8, 3), 200, np.uint8))
    return path


def ids(*paths: Path, **options) -> list[str]:
    return [source.slide_id for source in find_slides(paths, **options).sources]


def test_folders_are_searched_to_the_bottom_and_other_files_left(tmp_path):
    for name in (
        "b.svs",
        "a/c.NDPI",
        "a/d/e.mrxs",
        "a/d/e/Slidedat.ini",
        "a/d/e/Data0001.dat",
        "notes.txt",
        ".x/f.svs",
    ):
        touch(tmp_path / name)
    found = find_slides([tmp_path], mpp=0.25).sources
    assert [source.slide_id for source in found] == ["a/c.NDPI", "a/d/e.mrxs", "b.svs"]
    assert all(source.kind == "wsi" and source.mpp == 0.25 and Path(source.path).is_absolute() for source in found)


def test_a_named_file_is_taken_whatever_its_suffix(tmp_path):
    assert ids(touch(tmp_path / "slide.xyz")) == ["slide.xyz"]


def test_nothing_at_a_path_says_so(tmp_path):
    with pytest.raises(SlideNotFoundError, match="nowhere"):
        find_slides([tmp_path / "nowhere"])


def test_tiffs_in_tiles_are_slides_and_others_images(tmp_path):
    write_tiff(tmp_path / "slide.tif", tissue_picture(300, 200), aperio=False)
    image(tmp_path / "thumbnail.tif")
    image(tmp_path / "thumbnails" / "slide.png")
    assert ids(tmp_path) == ["slide.tif"]


def test_a_dicom_series_is_one_slide_named_by_its_finest_level(tmp_path):
    picture = tissue_picture(128, 96)
    (tmp_path / "s").mkdir()
    write_dicom(tmp_path / "s" / "1.dcm", picture[::2, ::2])
    write_dicom(tmp_path / "s" / "2.dcm", picture)
    write_dicom(tmp_path / "s" / "0.dcm", np.repeat(picture, 2, axis=1), flavour="OVERVIEW")
    write_dicom(tmp_path / "s" / "export0001", picture, series="1.2.3")  # exports often have no suffix
    touch(tmp_path / "s" / "broken.dcm")
    assert ids(tmp_path) == ["s/2.dcm", "s/broken.dcm", "s/export0001"]
    assert ids(*(tmp_path / "s" / name for name in ("0.dcm", "1.dcm", "2.dcm", "broken.dcm"))) == [
        "2.dcm",
        "broken.dcm",
    ]


def test_a_list_may_name_the_folder_of_a_dicom_series(tmp_path):
    (tmp_path / "s").mkdir()
    write_dicom(tmp_path / "s" / "1.dcm", tissue_picture(64, 48))
    write_dicom(tmp_path / "s" / "2.dcm", tissue_picture(128, 96))
    (tmp_path / "list.csv").write_text("path\ns\n")
    (source,) = find_slides([tmp_path / "list.csv"]).sources
    assert (source.slide_id, source.kind, source.path) == ("s", "wsi", str(tmp_path / "s" / "2.dcm"))
    write_dicom(tmp_path / "s" / "3.dcm", tissue_picture(128, 96), series="1.2.3")
    with pytest.raises(SlideListError, match="holds 2 DICOM slides"):
        find_slides([tmp_path / "list.csv"])


def test_images_only_are_one_slide_of_tiles(tmp_path):
    for name in ("normal/1.png", "tumour/2.jpg", "tumour/3.tif"):
        image(tmp_path / "set" / name)
    (source,) = find_slides([tmp_path / "set"]).sources
    assert (source.slide_id, source.kind) == ("set", "tiles")
    assert ids(tmp_path) == ["set"]
    assert ids(tmp_path / "set" / "normal" / "..") == ["set"]


def test_train_and_test_folders_are_one_slide_of_tiles(tmp_path):
    for name in ("train/normal/1.png", "train/tumour/2.png", "test/normal/3.png"):
        image(tmp_path / "set" / name)
    assert ids(tmp_path / "set") == ["set"]


def test_two_tile_sets_side_by_side_are_two_slides(tmp_path):
    for name in ("one/normal/1.png", "one/tumour/2.png", "two/3.png"):
        image(tmp_path / name)
    assert ids(tmp_path) == ["one", "two"]


def test_a_list_of_labels_makes_a_tile_folder_even_beside_slides(tmp_path):
    touch(tmp_path / "a.svs")
    image(tmp_path / "set" / "deep" / "er" / "1.png")
    (tmp_path / "set" / "labels.csv").write_text("file,label\ndeep/er/1.png,x\n")
    assert ids(tmp_path) == ["a.svs", "set"]


def test_a_list_of_slide_labels_makes_no_tile_folder(tmp_path):
    touch(tmp_path / "a.svs")
    (tmp_path / "labels.csv").write_text("file,label\na.svs,x\n")
    assert ids(tmp_path) == ["a.svs"]


def test_a_list_brings_its_columns(tmp_path):
    touch(tmp_path / "slides" / "a.svs")
    touch(tmp_path / "b.svs")
    (tmp_path / "list.csv").write_text(
        "path,slide_id,mpp,tissue,Patient ID,age,her2,score\n"
        "slides\\a.svs,,0.25,masks\\a.geojson,007,61,true,0.5\n"
        "./b.svs,B,,,P2,,false,2\n"
    )
    b, a = find_slides([tmp_path / "list.csv"], mpp=0.5).sources
    assert (b.slide_id, a.slide_id) == ("B", "slides/a.svs")
    assert (a.mpp, b.mpp) == (0.25, 0.5)
    assert a.path == str(tmp_path / "slides" / "a.svs")
    assert a.tissue == str(tmp_path / "masks" / "a.geojson")
    assert b.tissue is None
    assert dict(a.metadata) == {"patient": "007", "age": 61, "her2": True, "score": 0.5}
    assert dict(b.metadata) == {"patient": "P2", "age": None, "her2": False, "score": 2.0}


def test_a_parquet_list_keeps_its_types(tmp_path):
    touch(tmp_path / "a.svs")
    table = pa.table({"path": ["a.svs"], "mpp": [0.25], "grade": [3], "nan": [float("nan")], "ok": [True]})
    pq.write_table(table, tmp_path / "list.parquet")
    (source,) = find_slides([tmp_path / "list.parquet"]).sources
    assert source.mpp == 0.25
    assert dict(source.metadata) == {"grade": 3, "nan": None, "ok": True}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slide,mpp\na.svs,0.25\n", "expected a column path, found slide, mpp"),
        ("", "is empty"),
        ("path,mpp\na.svs\n", r"has 1 value\(s\) in line 2; expected 2"),
        ("path,mpp\na.svs,1\n,0.25\n", "line 3: no path"),
        ("path,mpp\na.svs,quarter\n", "line 2: mpp is 'quarter'"),
        ("path,mpp\na.svs,inf\n", "line 2: mpp is 'inf'"),
        ("path,mpp\na.svs,-1\n", "line 2: mpp is -1"),
        ("path\na.svs\n.\n/\n", "line 3, 4: path is '.'; expected a file"),
        ("path,path\na.svs,b.svs\n", "more than one column means path"),
        ("path,site,site\na.svs,b,c\n", "more than one column is called 'site'"),
    ],
)
def test_a_malformed_list_says_what_and_where(tmp_path, text, message):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(SlideListError, match=message):
        find_slides([tmp_path / "list.csv"])


def test_homes_of_unknown_users_and_endless_names_are_slides_that_fail_later(tmp_path):
    (tmp_path / "list.csv").write_text(f"path\n~nobody-of-that-name/a.svs\n{'a' * 300}.svs\n{'a/' * 3000}b.svs\n")
    assert len(ids(tmp_path / "list.csv")) == 3


def test_two_slides_of_one_id_are_both_named(tmp_path):
    one, two = touch(tmp_path / "x" / "a.svs"), touch(tmp_path / "y" / "a.svs")
    with pytest.raises(SlideListError, match=r"x.a\.svs.*y.a\.svs"):
        find_slides([one, two])
    assert ids(one, one) == ["a.svs"]


def test_no_slide_is_opened(tmp_path, monkeypatch):
    for i in range(1000):
        (tmp_path / f"{i:05d}.svs").touch()
    monkeypatch.setattr("builtins.open", lambda *args, **options: pytest.fail(f"opened {args}"))
    assert len(find_slides([tmp_path]).sources) == 1000  # 10,000 take 0.4 s


def test_the_shared_slides_are_found(shared_data):
    assert ids(shared_data / "slides") == [
        "CMU-1-Small-Region.svs",
        "bone-jpeg2000.dcm",
        "broken.svs",
        "dicom-cmu-1-small-region/level-0-frames-0-30.dcm",
        "fluor-DAPI.ndpi",
        "fluor-TRITC.ndpi",
        "openslide-fixtures/boxes.tiff",
        "openslide-fixtures/boxes_0.dcm",
        "openslide-fixtures/small.svs",
        "openslide-fixtures/unopenable.tiff",
        "openslide-fixtures/unreadable.svs",
        "tcga-cr-7395-01a-01-ts1.svs",
    ]
    assert all(source.kind == "tiles" for source in find_slides([shared_data / "tiles"]).sources)


def test_a_pipe_among_the_slides_is_passed_over(tmp_path: Path):
    """Opening one to see whether it is DICOM would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a.svs").write_bytes(b"x")
    assert [source.slide_id for source in find_slides([tmp_path]).sources] == ["a.svs"]


@pytest.mark.parametrize("mpp", [0, -0.25, float("nan"), float("inf")])
def test_a_resolution_that_is_none_is_an_error_and_no_failure_of_each_slide(tmp_path: Path, mpp: float):
    with pytest.raises(ConfigError, match=r"mpp is .*; expected µm/px, above 0"):
        find_slides([touch(tmp_path / "a.svs")], mpp=mpp)
