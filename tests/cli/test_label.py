"""`embedstore label` as it is typed."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cli.main import app
from embedstore.errors import LabelError, TaskNotFoundError
from embedstore.store import Store
from tests.labels.annotated import feature, make_store, polygon, square, write_geojson


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path / "store")


def label(store: Store, verb: str, *args: object, fails: bool = False) -> Result:
    result = CliRunner().invoke(app, ["label", verb, *map(str, args), "--store", store.uri])
    assert (result.exit_code != 0) == fails, result.output
    return result


def found(store: Store, verb: str, *args: object) -> Any:
    return json.loads(label(store, verb, *args, "--json").stdout)


def annotations(folder: Path) -> Path:
    write_geojson(folder / "a.geojson", feature(polygon(square(0, 0, 300)), "Tumor"), feature(polygon(square(0, 0, 9))))
    write_geojson(folder / "b.geojson", feature({"type": "Point", "coordinates": [5, 5]}, "Mitosis"))
    return folder


def test_import_tells_what_came_and_what_was_skipped(store: Store, tmp_path: Path):
    args = (annotations(tmp_path / "q"), "--task", "t", "--class-map", "Tumor=tumour", "--negative", "normal")
    dry = label(store, "import", *args, "--dry-run")
    assert store.labels.table().to_pylist() == []
    assert "would be imported" in dry.stderr
    result = label(store, "import", *args, "--author", "anna")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["class", "kind", "labels", "slides"], ["Mitosis", "point", "1", "1"], ["normal", "rest", "2", "2"],
        ["tumour", "area", "1", "1"],
    ]  # fmt: skip
    assert "a.geojson: skipped 1 without a class" in result.stderr
    assert "4 labels of 2 file(s) imported, 0 old ones withdrawn, task t" in result.stderr
    rows = found(store, "ls")
    assert {(row["task"], row["author"], Path(row["source"]).name) for row in rows} == {
        ("t", "anna", "a.geojson"), ("t", "anna", "b.geojson"),
    }  # fmt: skip
    assert "Mitosis" in label(store, "ls", "--task", "t").stdout


def test_conflicts_are_printed_and_in_the_json(store: Store, tmp_path: Path):
    one = write_geojson(tmp_path / "b.geojson", feature(polygon(square(0, 0, 300)), "x"))
    label(store, "import", one, "--task", "t", "--author", "ben")
    two = write_geojson(tmp_path / "b.json", feature(polygon(square(0, 0, 300)), "y"))
    result = label(store, "import", two, "--task", "t", "--author", "anna")
    assert "1 place(s) have labels of two classes; all are kept" in result.stderr
    again = found(store, "import", two, "--task", "t", "--author", "anna")
    assert (again["labels"], again["replaced"], len(again["conflicts"])) == (1, 0, 1)
    assert again["files"][0]["slides"] == ["b.svs"]


def test_export_and_import_come_to_the_same(store: Store, tmp_path: Path):
    label(store, "import", annotations(tmp_path / "q"), "--task", "t", "--negative", "normal")
    out = tmp_path / "out"
    written = label(store, "export", "--task", "t", "--out", out).stdout.split()
    assert written == [str(out / "b.svs.geojson"), str(out / "sub" / "a.mrxs.geojson")]
    label(store, "import", out, "--task", "again")
    shown = [
        [
            (row["label"], row["kind"], row["slide_id"], row["geometry"], row["x"])
            for row in store.labels.table(task=task).to_pylist()
        ]
        for task in ("t", "again")
    ]
    assert sorted(shown[0], key=str) == sorted(shown[1], key=str)
    only = found(store, "export", "--task", "t", "--slide", "b.svs", "--out", tmp_path / "b.geojson")
    assert only == [{"path": str(tmp_path / "b.geojson"), "labels": 2}]


def test_rm_takes_what_is_named(store: Store, tmp_path: Path):
    label(store, "import", annotations(tmp_path / "q"), "--task", "t", "--author", "anna")
    assert label(store, "rm", "--task", "t", fails=True).exception  # nobody said yes
    assert len(store.labels.table().to_pylist()) == 2
    assert found(store, "rm", "--task", "t", "--class", "Tumor", "--author", "anna", "--yes")["removed"] == 1
    assert label(store, "rm", "--task", "t", "--yes").stdout == "1 label(s) of task t removed\n"
    assert store.labels.table().to_pylist() == []
    assert "has no labels yet" in label(store, "ls").stderr
    assert found(store, "ls") == []


def test_errors_come_out_as_they_are(store: Store, tmp_path: Path):
    files = annotations(tmp_path / "q")
    for args, error in (
        (("import", files, "--task", "t", "--only", "x"), LabelError),
        (("export", "--task", "t", "--out", tmp_path / "o"), TaskNotFoundError),
        (("rm", "--task", "t", "--yes"), TaskNotFoundError),
        (("ls", "--task", "t"), TaskNotFoundError),
    ):
        assert isinstance(label(store, *args, fails=True).exception, error)
    for wrong in ("Tumor", "=x", "x="):
        assert (
            "expected OLD=NEW" in label(store, "import", files, "--task", "t", "--class-map", wrong, fails=True).stderr
        )
    label(store, "import", files, "--task", "t", "--author", "anna")
    nobody = label(store, "export", "--task", "t", "--author", "ben", "--out", tmp_path / "o", fails=True)
    assert isinstance(nobody.exception, LabelError)


def test_labels_one_by_one_their_history_and_where_authors_disagree(store: Store):
    at = ("--slide", "b.svs", "--at", 100, 200)
    tile = store.collection("toy").tiles(columns=["tile_id"], limit=1).column(0)[0].as_py()
    assert (
        "1 label(s) added, 0 withdrawn, task t; change "
        in label(store, "add", "--task", "t", "--class", "x", *at, "--author", "anna").stdout
    )
    added = found(store, "add", "--task", "t", "--class", "x", "--tile", tile, "--tile", tile, "--author", "ben")
    assert (added["added"], added["withdrawn"]) == (1, 0)
    found(store, "add", "--task", "t", "--class", "y", *at, "--author", "ben")
    told = found(store, "disagreements", "--task", "t")
    assert told["agreement"] == [{"author": "anna", "other": "ben", "places": 1, "equal": 0.0, "kappa": 0.0}]
    assert [(row["x"], row["label_anna"], row["label_ben"]) for row in told["places"]] == [(100.0, "x", "y")]
    shown = label(store, "disagreements", "--task", "t")
    assert "label_anna" in shown.stdout and "geometry" not in shown.stdout
    assert "1 place(s) with different classes, 1 shown" in shown.stderr

    refused = label(store, "withdraw", "--task", "t", *at, "--author", "carl", fails=True)
    assert isinstance(refused.exception, LabelError)
    withdrawn = found(store, "withdraw", "--task", "t", *at, "--author", "carl", "--of", "*")
    assert (withdrawn["added"], withdrawn["withdrawn"]) == (0, 2)
    assert found(store, "undo", "--task", "t", "--author", "carl")["undoes"] == withdrawn["change"]
    again = label(store, "undo", "--task", "t", "--change", added["change"], "--author", "ben")
    assert "0 label(s) added, 1 withdrawn" in again.stdout
    history = found(store, "history", "--task", "t")
    assert [(row["author"], row["added"], row["withdrawn"]) for row in history] == [
        ("anna", 1, 0), ("ben", 1, 0), ("ben", 1, 0), ("carl", 0, 2), ("carl", 2, 0), ("ben", 0, 1),
    ]  # fmt: skip
    assert added["change"] in label(store, "history").stdout


@pytest.mark.parametrize("place", [(), ("--slide", "b.svs", "--tile", 5)])
def test_a_label_wants_one_place(store: Store, place: tuple):
    assert (
        "expected either --tile, or a place"
        in label(store, "add", "--task", "t", "--class", "x", *place, fails=True).output
    )
