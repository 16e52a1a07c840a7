"""`embedstore export`."""

import json
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner, Result

from cli.export import FORMATS, LAYOUTS, command
from embedstore.errors import ExportError
from embedstore.export import ExportFormat
from embedstore.export_format import LayoutName
from tests.export.prediction_scene import add_folder, grid, make_store
from tests.store.predicted import facts, predict, two


@pytest.fixture
def store(tmp_path: Path) -> str:
    store = make_store(tmp_path, {"sub/a.svs": grid(2, 1), "b.svs": grid(3, 1)})
    predict(store, facts(), {"sub/a.svs": two([0.1, 0.9]), "b.svs": two([0.2, 0.8, 0.6])})
    return store.uri


def export(*args: object) -> Result:
    result = CliRunner().invoke(command, [str(each) for each in args])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_file_a_slide_is_named_on_stdout(store: str, tmp_path: Path):
    out = tmp_path / "out"
    done = export("-s", store, "--head", "lesion", "--format", "geojson", "--out", out)
    assert done.stdout.split() == [str(out / "b.svs.geojson"), str(out / "sub" / "a.svs.geojson")]
    assert "2 slide(s), 5 objects in 2 file(s)" in done.stderr
    file = json.loads((out / "sub" / "a.svs.geojson").read_text())
    assert file["embedstore"]["origin"] == "bounds" and len(file["features"]) == 2


def test_options_of_geojson_are_heeded(store: str, tmp_path: Path):
    out = tmp_path / "b.geojson"
    chosen = ("--slide", "b.svs", "--merge", "--min-probability", 0.7, "--origin", "level0")
    export("-s", store, "--head", "lesion", "--format", "geojson", "--out", out, *chosen)
    file = json.loads(out.read_text())
    assert file["embedstore"]["origin"] == "level0"
    assert [each["properties"]["objectType"] for each in file["features"]] == ["annotation"] * 2


@pytest.mark.slow
def test_heat_maps_of_missing_slide_files_are_noted(store: str, tmp_path: Path):
    done = export("-s", store, "--head", "lesion", "--format", "png", "--out", tmp_path, "--picture-px", 200, "--json")
    printed = json.loads(done.stdout)
    assert [Path(each["path"]).read_bytes()[:4] for each in printed["files"]] == [b"\x89PNG"] * 2
    assert len(printed["notes"]) == 2 and "drawn on blank paper" in done.stderr


def test_a_format_may_be_that_of_the_ending(store: str, tmp_path: Path):
    export("-s", store, "--head", "lesion", "--out", tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text().startswith('"tile_id","slide_id"')


@pytest.mark.parametrize(
    ("form", "name", "rows"), [("csv", "x.csv", 5), ("parquet", "x.parquet", 5), ("slides", "s.json", 2)]
)
def test_tables_are_one_file(store: str, tmp_path: Path, form: str, name: str, rows: int):
    out = tmp_path / "new" / name
    done = export("-s", store, "--head", "lesion", "--format", form, "--out", out)
    assert done.stdout.strip() == str(out) and out.stat().st_size > 0
    assert f"2 slide(s), {rows} rows in 1 file(s)" in done.stderr
    with pytest.raises(ExportError, match=f"is a folder; {form} writes one file"):
        export("-s", store, "--head", "lesion", "--format", form, "--out", tmp_path)


def test_embeddings_go_out_without_a_head(store: str, tmp_path: Path):
    done = export("-s", store, "-c", "toy", "--format", "parquet", "--out", tmp_path / "x.parquet", "--json")
    assert json.loads(done.stdout)["files"][0]["rows"] == 5
    both = export("-s", store, "-c", "toy", "--head", "lesion", "--format", "csv", "--out", tmp_path / "x.csv")
    assert both.exit_code == 2 and "a head knows its collection" in both.stderr


def test_folders_of_tiles_are_skipped_unless_named(store: str, tmp_path: Path):
    from embedstore.store import Store

    add_folder(Store.open(store), "patches", ("x.png",))
    predict(Store.open(store), facts(), {"patches": two([0.9])})
    done = export("-s", store, "--head", "lesion", "--format", "geojson", "--out", tmp_path / "out")
    assert "'patches' is a folder of ready-made tiles, which geojson cannot show" in done.stderr
    assert len(done.stdout.split()) == 2
    with pytest.raises(ExportError, match="'patches' is a folder of ready-made tiles"):
        export("-s", store, "--head", "lesion", "--format", "png", "--out", tmp_path, "--slide", "patches")


def test_it_offers_every_format_of_the_library():
    assert get_args(ExportFormat) == FORMATS


def test_a_layout_is_a_folder_of_slides_and_goes_on_where_it_stopped(store: str, tmp_path: Path):
    out = tmp_path / "job"
    done = export("-s", store, "--layout", "trident", "--out", out, "--slide", "b.svs")
    assert Path(done.stdout.strip()).is_relative_to(out) and "1 slide(s), 3 tiles; 0 stood there already" in done.stderr
    again = json.loads(export("-s", store, "--layout", "trident", "--out", out, "--json").stdout)
    assert [(slide["slide_id"], slide["stood"]) for slide in again["slides"]] == [("b.svs", True), ("sub/a.svs", False)]
    Path(again["slides"][0]["path"]).write_text("theirs")
    failed = export("-s", store, "--layout", "trident", "--out", out)
    assert failed.exit_code == 3 and "failed  b.svs: " in failed.stderr and "stands there already" in failed.stderr


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((), "give --format, or --layout"),
        (("--format", "csv", "--layout", "clam"), "are two exports; give one of them"),
        (("--layout", "clam", "--merge"), "leave out --merge"),
        (("--layout", "clam", "--class", "tumour"), "leave out --class"),
        (("--format", "csv", "--column", "patient"), "--column is of --layout"),
    ],
)
def test_a_format_and_a_layout_exclude_each_other(store: str, tmp_path: Path, given: tuple[str, ...], says: str):
    refused = export("-s", store, "--out", tmp_path / "x", *given)
    assert refused.exit_code == 2 and says in refused.stderr


def test_layouts_of_the_command_line_are_those_of_the_library():
    assert get_args(LayoutName) == LAYOUTS
