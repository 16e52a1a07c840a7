"""A file is there whole or not at all."""

import errno
from pathlib import Path

import pytest

from embedstore.errors import ExportError
from embedstore.export import export_scope, write_geojson, write_table
from embedstore.export_format import require_place
from embedstore.output_files import atomic_write, file_name, require_file, require_folder, require_picture, slide_path
from tests.export.prediction_scene import grid, make_store
from tests.store.predicted import facts, predict, two


def test_an_interrupted_export_leaves_the_file_of_the_last_one(tmp_path: Path):
    path = tmp_path / "new" / "x.csv"
    with atomic_write(path) as part:
        part.write_text("first")
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as part:
        part.write_text("sec")
        raise KeyboardInterrupt
    assert path.read_text() == "first" and list(path.parent.iterdir()) == [path]


def test_a_disk_that_fills_up_is_told_with_the_name_of_the_file(tmp_path: Path):
    full = OSError(errno.ENOSPC, "write failed: time = today, errno = 28")
    told = r"cannot write to '.*x\.csv': No space left on device; free some space"
    with pytest.raises(ExportError, match=told), atomic_write(tmp_path / "x.csv"):
        raise full
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "x.csv"):
        (tmp_path / "a.svs").read_bytes()
    assert list(tmp_path.iterdir()) == []


def test_every_form_goes_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = make_store(tmp_path, {"a.svs": grid(2, 1)})
    predict(store, facts(), {"a.svs": two([0.1, 0.9])})
    scope, out = export_scope(store, head="lesion"), tmp_path / "out"

    def broken(**_):
        yield store.predictions("lesion").table().to_batches()[0]
        raise OSError("the disk is gone")

    monkeypatch.setattr(scope.predictions, "batches", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        write_table(scope, out / "x.parquet", file_format="parquet")
    monkeypatch.undo()
    monkeypatch.setattr("embedstore.export.predictions.predictions_geojson.feature", lambda *_: {"not": {"JSON"}})
    with pytest.raises(TypeError):
        write_geojson(scope, "a.svs", out / "x.geojson")
    assert list(out.iterdir()) == []


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ExportError, match=r"cannot write to '.*x\.csv': .*; name another place"),
        atomic_write(tmp_path / "file" / "x.csv"),
    ):
        pass


@pytest.mark.parametrize("name", ["/dev/null", "n" * 300])
def test_a_device_or_a_name_that_is_too_long_is_refused_before_the_work(tmp_path: Path, name: str):
    with pytest.raises(ExportError, match=r"cannot write to '.*': (it is a device|File name too long)"):
        require_file(tmp_path / name)
    assert Path("/dev/null").is_char_device() and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("slide_id", ["s" * 300, "ü" * 200, "sub" * 100 + "/" + "a" * 252, "a" * 248 + "é"])
def test_slides_with_long_names_get_files_of_their_own(tmp_path: Path, slide_id: str):
    paths = [slide_path(tmp_path, slide_id + end, ".geojson", single=False) for end in ("", "1", "2")]
    assert paths == [slide_path(tmp_path, slide_id + end, ".geojson", single=False) for end in ("", "1", "2")]
    for path in paths:
        with atomic_write(path) as part:
            part.write_text(path.name)
    assert len({path.read_text() for path in paths}) == 3
    assert all(path.name[:60] == slide_id.rpartition("/")[2][:60] for path in paths)


def test_a_name_that_fits_is_kept(tmp_path: Path):
    assert file_name("a" * 247, ".geojson") == "a" * 247 + ".geojson"
    assert file_name("a\0b", ".png") == "a_b.png"


def test_a_folder_is_made_before_it_is_written_to_or_said_not_to_be(tmp_path: Path):
    require_folder(tmp_path / "new" / "folder")
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / "folder"]
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match=r"cannot write to '.*file': a file or device stands there; name a folder"):
        require_folder(tmp_path / "file")


def test_a_folder_in_the_way_is_named(tmp_path: Path):
    (tmp_path / "x.html").mkdir()
    with pytest.raises(ExportError, match=r"x\.html': it is a folder; name a file"), atomic_write(tmp_path / "x.html"):
        raise AssertionError("nothing is to be written")
    assert [path.name for path in tmp_path.iterdir()] == ["x.html"]


@pytest.mark.parametrize(
    "slide_id",
    [
        "//etc/x",
        "/etc/x",
        "../x",
        "a/../../x",
        "..",
        "/",
        "",
        ".",
        "a\0b",
        "a\n\x1b[2Jb",
        "\u202egpj.x",
        "\ud800",
        "~/x",
    ],
)
def test_no_name_of_a_slide_leads_out_of_the_folder(slide_id: str, tmp_path: Path):
    out = tmp_path / "out"
    with atomic_write(slide_path(out, slide_id, ".geojson", single=False)) as part:
        part.write_text("{}")
    files = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 1 and files[0].parts[0] == "out" and ".." not in files[0].parts
    assert str(files[0]).isprintable()


def test_a_link_that_another_user_has_made_is_not_written_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("secrets.token_hex", lambda _: "told")  # nobody can tell it
    (tmp_path / "precious").write_text("precious")
    (tmp_path / ".told.part.csv").symlink_to(tmp_path / "precious")
    with pytest.raises(ExportError, match="File exists"), atomic_write(tmp_path / "x.csv") as part:
        part.write_text("mine")
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_folder_is_not_made_under_the_name_of_a_file(tmp_path: Path):
    with pytest.raises(ExportError, match=r"rows.csv': it ends in .csv, as a file does, .*; name a folder, or a x"):
        require_folder(tmp_path / "rows.csv", or_file="a x")
    assert list(tmp_path.iterdir()) == []
    for name in ("run.2026-11", "v1.2", "slide.svs", "cells.zarr"):
        require_folder(tmp_path / name)
    (tmp_path / "old.csv").mkdir()
    require_folder(tmp_path / "old.csv")


def test_nothing_is_written_into_the_table_of_a_store(tmp_path: Path):
    (tmp_path / "slides.lance" / "_versions").mkdir(parents=True)
    for write in (require_folder, require_file):
        for place in ("slides.lance/maps", "slides.lance/maps/b.csv"):
            with pytest.raises(ExportError, match=r"slides\.lance is a table of a store; name another place"):
                write(tmp_path / place)
    require_file(tmp_path / "x.lance" / "a.csv")  # a folder that only has such a name


def test_a_picture_is_named_as_one(tmp_path: Path):
    for name in ("map", "map.csv", "map.svs"):
        with pytest.raises(ExportError, match=r"--out .* (ends in|has no ending).*; expected a picture, such as .*png"):
            require_picture(tmp_path / name, option="--out")
    require_picture(tmp_path / "map.jpeg", option="--out")


@pytest.mark.parametrize(
    ("chosen", "name", "told"),
    [
        ("csv", "rows.parquet", r"ends in .parquet; csv writes one file, which ends in .csv, such as .*rows.csv"),
        ("parquet", "rows", r"has no ending; parquet writes one file, which ends in .parquet"),
        ("slides", "rows.h5ad", r"which ends in .csv or .parquet or .json"),
        ("anndata", "", r"is a folder; anndata writes one file, such as .*tiles.h5ad"),
        ("png", "maps.jpg", r"as a file does, and a folder is written; name a folder, or a .png file for one slide"),
        ("geojson", "a.csv", r"name a folder, or a .geojson file"),
        ("dicom", "a.dcm", r"name a folder$"),
    ],
)
def test_a_place_is_of_the_kind_that_the_format_writes(tmp_path: Path, chosen, name: str, told: str):
    with pytest.raises(ExportError, match=told):
        require_place(tmp_path / name, chosen)
    assert list(tmp_path.iterdir()) == []
