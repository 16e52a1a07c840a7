"""One scenario on both faces: labels are added, withdrawn, undone, compared, written, read and removed."""

import getpass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import embedstore
from embedstore.errors import (
    ConfigError,
    EmbedStoreError,
    LabelError,
    LabelFormatError,
    NotAllowedError,
    SlideNotInStoreError,
    TaskNotFoundError,
)
from tests.client.served import served
from tests.client.served_by import connect_by
from tests.export.prediction_scene import grid, make_store

ME = getpass.getuser()
#: What differs from one store to the other.
OWN = ("change", "undoes", "undone_by", "at", "key", "created_at", "since", "first", "last", "added_at")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory):
    """Two stores with the same slides, opened in its folder and by a service."""
    folder = tmp_path_factory.mktemp("labelling")
    for name in ("here", "there"):
        make_store(folder / name, {"a.svs": grid(4, 3), "sub/b.svs": grid(3, 2)})
    with served(str(folder / "there" / "store")) as socket, connect_by(socket) as remote:
        yield embedstore.open(folder / "here" / "store"), remote


def label(store: Any, folder: Path) -> dict[str, Any]:
    labels, collection = store.labels, store.collection()
    tiles = collection.tiles(slide_id="a.svs")["tile_id"]
    first = labels.add("cells", [{"tile_id": tile, "label": "yes"} for tile in tiles[:3]])
    second = labels.add("cells", pa.table({"slide_id": ["sub/b.svs"], "x": [10.0], "y": [20.0], "label": ["no"]}))
    square = {"type": "Polygon", "coordinates": [[[0, 0], [300, 0], [300, 300], [0, 300], [0, 0]]]}
    area = labels.add("cells", [{"slide_id": "a.svs", "label": "no", "geometry": square}], author=ME)
    again = labels.add("cells", [{"tile_id": np.int64(tiles[0]), "label": "no"}])
    whole = labels.add("stain", [{"patient": "P1", "label": "blue"}, {"slide_id": "a.svs", "label": "red"}])
    withdrawn = labels.withdraw("cells", places=[{"tile_id": tiles[1]}])
    by_key = labels.withdraw("cells", labels.table("cells")["key"][:1])
    undone = labels.undo("cells")
    (folder / "drawn.csv").write_text("slide_id,x,y,label\na.svs,5,6,yes\na.svs,700,300,no\n")
    read = labels.read(folder / "drawn.csv", task="drawn")
    tried = labels.read(folder / "drawn.csv", task="tried", dry_run=True, class_map={"yes": "maybe"})
    written = labels.export(folder / "qupath", task="cells", origin="level0")
    table = labels.export(folder / "drawn-out.csv", task="drawn", author=ME)
    result = {
        "changes": [
            (change.task, change.author, change.added, change.withdrawn, change.undoes is None, change.notes)
            for change in (first, second, area, again, whole, withdrawn, by_key, undone)
        ],
        "tasks": labels.tasks,
        "summary": [without_own(row) for row in labels.summary("cells")],
        "all": len(labels.summary()),
        "table": sorted(str(without_own(row)) for row in labels.table("cells")),
        "history": [without_own(row) for row in labels.history("cells")],
        "disagreements": [without_own(row) for row in labels.disagreements("cells")],
        "agreement": labels.agreement("cells").to_pylist(),
        "read": (read.replaced, read.conflicts, "maybe" in repr(tried), labels.count("drawn", label="yes")),
        "files": sorted((file.path.relative_to(folder), file.labels) for file in (*written, *table)),
        "filtered": collection.tiles(where="label.cells = 'yes'")["tile_id"],
        "removed": labels.remove("drawn", slide_id="a.svs", label="no"),
        "left": labels.count("drawn"),
    }
    back = store.labels.read(folder / "qupath", task="back", origin="level0")
    result["back"] = (len(back.files), labels.count("back"))
    return result


def without_own(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in OWN and not name.endswith("_at")}


@pytest.mark.slow
def test_both_faces_label_alike(stores, tmp_path: Path):
    results = []
    for number, store in enumerate(stores):
        (tmp_path / str(number)).mkdir()
        results.append(label(store, tmp_path / str(number)))
    for name, expected in results[0].items():
        assert results[1][name] == expected, name


@pytest.mark.parametrize(
    ("kind", "ask"),
    [
        (TaskNotFoundError, lambda labels: labels.table("none")),
        (TaskNotFoundError, lambda labels: labels.summary("none")),
        (TaskNotFoundError, lambda labels: labels.remove("none")),
        (SlideNotInStoreError, lambda labels: labels.add("t", [{"slide_id": "c.svs", "label": "x"}])),
        (EmbedStoreError, lambda labels: labels.add("t", [{"slide_id": "a.svs", "colour": 3, "label": "x"}])),
        (LabelFormatError, lambda labels: labels.add("t", "a.svs")),
        (LabelError, lambda labels: labels.undo("t")),
        (ConfigError, lambda labels: labels.withdraw("t")),
        (EmbedStoreError, lambda labels: labels.read("nowhere.csv", task="t")),
        (ConfigError, lambda labels: labels.read(__file__, task="t", colour="red")),
    ],
)
def test_both_faces_refuse_the_same_labels(stores, kind: type, ask):
    for store in stores:
        with pytest.raises(kind) as refused:
            ask(store.labels)
        assert len(str(refused.value)) > 20


def test_labels_over_http_are_of_the_caller(stores):
    with pytest.raises(NotAllowedError, match=f"of whom the token names, {ME}, not of bob"):
        stores[1].labels.add("t", [{"slide_id": "a.svs", "label": "x"}], author="bob")


def test_several_files_are_taken_in_together_or_not_at_all(stores, tmp_path: Path):
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("slide_id,x,y,label\na.svs,5,6,yes\n")
    bad.write_text("slide_id,x,y,label\nz.svs,5,6,yes\n")
    for store in stores:
        with pytest.raises(EmbedStoreError, match=r"z\.svs"):
            store.labels.read([good, bad], task="both")
        assert "both" not in store.labels.tasks
