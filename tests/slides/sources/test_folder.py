"""What is taken of a folder, and what is left out and told."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from embedstore.errors import SlideFormatError, SlideListError
from embedstore.slides import FoundSlides, find_slides
from tests.slides.drawings import tissue_picture, write_tiff


def image(path: Path, width: int = 8, height: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), 200, np.uint8))


def fill(root: Path, *names: str) -> None:
    """Files: images where the name is one, else without content."""
    for name in names:
        if name.endswith(".png"):
            image(root / name)
        else:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()


def left_out(found: FoundSlides) -> dict[str, tuple[int, tuple[str, ...]]]:
    return {part.what: (part.count, part.examples) for part in found.summary.left_out}


def ids(found: FoundSlides) -> list[str]:
    return [source.slide_id for source in found.sources]


@pytest.mark.parametrize("system", ["@eaDir", "__MACOSX", "lost+found", "$RECYCLE.BIN", "System Volume Information"])
def test_folders_of_the_system_change_no_meaning(tmp_path, system):
    fill(tmp_path / "set", "normal/1.png", "tumour/2.png", f"{system}/x.png", f"tumour/{system}/2.png/thumb.png")
    found = find_slides([tmp_path / "set"])
    assert ids(found) == ["set"]
    assert found.summary.tile_folders[0].classes == {"normal": 1, "tumour": 1}
    assert left_out(found) == {
        "folders of the file system or of another program": (2, (system, f"tumour/{system}")),
    }


def test_what_is_left_out_is_told_with_the_reason(tmp_path):
    fill(
        tmp_path,
        "a.svs", "a.png", "thumbs/b.png", "._a.svs", ".DS_Store", ".cache/c.svs", "d.isyntax", "d.zarr/0", "e.zip",
        "f.csv", "g.geojson", "h/Slidedat.ini",
    )  # fmt: skip
    os.mkfifo(tmp_path / "pipe.svs")
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "itself").symlink_to("itself")
    found = find_slides([tmp_path])
    assert ids(found) == ["a.svs"]
    assert left_out(found) == {
        "images beside slides": (2, ("a.png", "thumbs/b.png")),
        "slides in formats that OpenSlide does not open": (1, ("d.isyntax",)),
        "Zarr folders without an image": (1, ("d.zarr",)),
        "data of MIRAX slides without their .mrxs file": (1, ("h",)),
        "packed files": (1, ("e.zip",)),
        "tables": (1, ("f.csv",)),
        "pipes, sockets or devices": (1, ("pipe.svs",)),
        "links to folders that were read already": (1, ("again",)),
        "hidden files and folders": (2, ("._a.svs", ".cache")),
        "other files": (2, ("g.geojson", "itself")),
    }


def test_a_folder_that_cannot_be_read_is_passed_over(tmp_path, monkeypatch):
    fill(tmp_path, "a.svs", "closed/b.svs")
    read = os.scandir

    def scan(path):
        if str(path).endswith("/closed"):
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr("os.scandir", scan)
    found = find_slides([tmp_path])
    assert ids(found) == ["a.svs"]
    assert left_out(found) == {"folders that cannot be read": (1, ("closed: Permission denied",))}


def test_a_pipe_is_refused_and_not_opened(tmp_path):
    os.mkfifo(tmp_path / "list.csv")
    with pytest.raises(SlideFormatError, match=r"list\.csv' is a pipe"):
        find_slides([tmp_path / "list.csv"])


def test_names_that_are_not_text_are_told(tmp_path):
    fill(tmp_path, "a.svs")
    Path(os.fsdecode(bytes(tmp_path / "b\n") + b"\xff.svs")).touch()
    found = find_slides([tmp_path])
    assert ids(found) == ["a.svs"]
    assert found.summary.lines()[1:] == [
        "left out: names that are not in UTF-8: 1 (b \\udcff.svs); rename these files or folders"
    ]
    with pytest.raises(SlideFormatError, match="not a name in UTF-8"):
        find_slides([os.fsdecode(bytes(tmp_path / "b\n") + b"\xff.svs")])


def test_images_named_one_by_one_are_told(tmp_path):
    fill(tmp_path, "a.svs", "1.png", "2.png")
    found = find_slides(sorted(tmp_path.iterdir()))
    assert ids(found) == ["a.svs"]
    assert left_out(found)["image files"][0] == 2


def test_folders_nested_without_end_are_passed_over(tmp_path):
    fill(tmp_path, "a.svs", "/".join(["d"] * 70) + "/b.svs")
    found = find_slides([tmp_path])
    assert ids(found) == ["a.svs"]
    assert left_out(found).keys() == {"folders within more than 64 others"}


def test_tiles_that_are_whole_slides_or_oblong_are_told(tmp_path):
    image(tmp_path / "set" / "slide.png", 2100, 2050)
    image(tmp_path / "set" / "strip.tif", 2100, 30)
    image(tmp_path / "set" / "oblong.png", 70, 46)
    image(tmp_path / "set" / "tile.png", 64, 64)
    far_larger, oblong = find_slides([tmp_path / "set"], tile_px=224).summary.warnings
    assert "2 of 4 images looked at (slide.png: 2,100×2,050 px) are far larger than a tile of 224 px" in far_larger
    assert "1 of 4 images looked at (oblong.png: 70×46 px) are not square" in oblong


def test_class_folders_given_one_by_one_are_told(tmp_path):
    fill(tmp_path, "normal/1.png", "tumour/2.png")
    found = find_slides([tmp_path / "normal", tmp_path / "tumour"])
    assert ids(found) == ["normal", "tumour"]
    assert "have one class or none each (normal, tumour)" in found.summary.warnings[0]


def test_tile_folders_within_one_another_are_told(tmp_path):
    fill(tmp_path, "set/normal/1.png", "set/tumour/2.png")
    found = find_slides([tmp_path / "set", tmp_path / "set" / "normal"])
    assert "tile folder normal lies in set: their tiles are taken twice" in found.summary.warnings


def test_masks_beside_slides_are_told(tmp_path):
    fill(tmp_path, "a.svs", "masked.svs", "a_mask.svs", "masks/a.svs")
    (warning,) = find_slides([tmp_path]).summary.warnings
    assert "2 slides look like masks (a_mask.svs, masks/a.svs)" in warning


def test_a_labels_csv_of_slides_makes_no_tile_of_them(tmp_path):
    (tmp_path / "slides").mkdir()
    write_tiff(tmp_path / "slides" / "a.tif", tissue_picture(2304, 64), aperio=False)
    (tmp_path / "labels.csv").write_text("file,label\nslides/a.tif,tumour\n")
    found = find_slides([tmp_path])
    assert ids(found) == ["slides/a.tif"]
    assert left_out(found) == {"tables": (1, ("labels.csv",))}


def test_a_labels_csv_beside_slides_makes_tiles_of_what_it_lists(tmp_path):
    fill(tmp_path, "a.svs", "1.png", "x/2.png", "x/thumb.png", "x/b.svs")
    write_tiff(tmp_path / "c.tif", tissue_picture(300, 200), aperio=False)
    (tmp_path / "labels.csv").write_text("file,label\n1.png,n\nx/2.png,t\n")
    found = find_slides([tmp_path])
    assert ids(found) == ["a.svs", "c.tif", tmp_path.name, "x/b.svs"]
    assert found.summary.tile_folders[0].tiles == 2
    assert left_out(found) == {"images beside slides": (1, ("x/thumb.png",))}


def test_a_labels_csv_of_images_elsewhere_makes_no_tile_folder(tmp_path):
    fill(tmp_path, "images/1.png", "images/2.png", "tables/0.png")
    (tmp_path / "tables" / "labels.csv").write_text("file,label\n1.png,n\n2.png,t\n")
    found = find_slides([tmp_path])
    assert [folder.classes for folder in found.summary.tile_folders] == [{"images": 2, "tables": 1}]
    assert "labels.csv lists no image that is there, and is not used; " in found.summary.warnings[0]


# -- lists and links --------------------------------------------------------------------------


def test_a_slides_csv_tells_of_the_slides_of_its_folder(tmp_path):
    fill(tmp_path, "a.svs", "x/b.svs", "x/c.svs")
    (tmp_path / "x" / "slides.csv").write_text(
        "path,slide_id,patient,mpp\nb.svs,,007,0.25\nc.svs,C,008,\ngone.svs,,,\n"
    )
    found = find_slides([tmp_path], mpp=0.5)
    told = {source.slide_id: (source.metadata.get("patient"), source.mpp) for source in found.sources}
    assert told == {"a.svs": (None, 0.5), "x/b.svs": ("007", 0.25), "C": ("008", 0.5)}
    assert (found.summary.patients, found.summary.with_patient) == (2, 2)
    assert "slides.csv tells of 2 of 3 slides" in found.summary.notes[0]
    assert "1 of 3 rows name no slide of its folder: gone.svs" in found.summary.warnings[0]


def test_a_slides_csv_of_something_else_is_told(tmp_path):
    fill(tmp_path, "a.svs")
    (tmp_path / "slides.csv").write_text("name,patient\na,007\n")
    found = find_slides([tmp_path])
    assert ids(found) == ["a.svs"]
    assert "expected a column path" in found.summary.warnings[0]


def test_a_list_of_images_says_how_tiles_are_given(tmp_path):
    fill(tmp_path, "1.png")
    (tmp_path / "list.csv").write_text("path,label\n1.png,n\n")
    with pytest.raises(SlideListError, match=r"lists images \(1.png, …\).*call it labels.csv"):
        find_slides([tmp_path / "list.csv"])


@pytest.mark.parametrize("order", [1, -1])
def test_a_file_in_a_folder_and_in_a_list_is_one_slide(tmp_path, order):
    fill(tmp_path, "slides/a.svs", "slides/b.svs")
    (tmp_path / "list.csv").write_text("path,patient\nslides/a.svs,007\n")
    found = find_slides([tmp_path / "slides", tmp_path / "list.csv"][::order])
    assert {source.slide_id: dict(source.metadata) for source in found.sources} == {
        "b.svs": {}, "slides/a.svs": {"patient": "007"},
    }  # fmt: skip
    assert found.summary.notes == ("1 slides have several names, and are taken once: a.svs is slides/a.svs",)


def test_a_link_to_a_slide_is_that_slide(tmp_path):
    fill(tmp_path, "all/a.svs", "chosen/readme.md")
    (tmp_path / "chosen" / "a.svs").symlink_to(tmp_path / "all" / "a.svs")
    assert ids(find_slides([tmp_path])) == ["all/a.svs"]
    assert ids(find_slides([tmp_path / "chosen"])) == ["a.svs"]
