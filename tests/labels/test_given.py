"""Labels that a person gives as rows: every kind of place, and every kind of mistake."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import shapely

import embedstore
from embedstore import labels as embedstore_labels
from embedstore.errors import (
    ConfigError,
    EmbedStoreError,
    LabelError,
    LabelFormatError,
    SlideNotInStoreError,
    TaskNotFoundError,
)
from embedstore.store import Label, read_tile_locations
from tests.labels.annotated import CORNER, SIZE, make_store, polygon, square


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> embedstore.Store:
    return embedstore.open(make_store(tmp_path_factory.mktemp("given") / "store").uri)


@pytest.fixture
def store(opened: embedstore.Store) -> embedstore.Store:
    """Without labels."""
    for task in opened.labels.history()["task"]:
        opened._tables.labels.remove(task)
    return opened


def places(store: embedstore.Store) -> list[tuple]:
    columns = ("kind", "slide_id", "name", "x", "y", "edge_l0", "patient", "label")
    return sorted(
        (tuple(row[name] for name in columns if row[name] is not None) for row in store.labels.table("t")), key=str
    )


def test_each_place_is_understood(store: embedstore.Store):
    tiles = read_tile_locations(store._tables.collection("toy"))
    first, named = int(tiles.tile_id[0]), int(tiles.tile_id[-1])
    rows = [
        {"label": "a", "tile_id": str(first)},  # as JavaScript must spell it
        {"class": "b", "tile_id": named},
        {"label": "c", "slide_id": "b.svs", "x": 10.5, "y": 20},
        {"label": "d", "slide_id": "b.svs", "x": 0, "y": 0, "edge_l0": 50},
        {"label": "e", "slide_id": "tiles", "name": "n/1.png"},
        {"label": 3, "slide_id": "b"},  # its file name
        {"label": "g", "patient": "007"},
        {"label": "h", "slide_id": "b.svs", "geometry": polygon(square(0, 0, 90))},
        {"label": "i", "slide_id": "b.svs", "geometry": {"type": "Point", "coordinates": [1, 2]}},
        {"label": "j", "slide_id": "b.svs", "geometry": shapely.to_wkb(shapely.box(0, 0, 9, 9))},
        {"label": "k", "slide_id": "b.svs", "kind": "rest"},
    ]
    rows[1]["label"] = rows[1].pop("class")
    change = store.labels.add("t", rows, author="anna")
    assert (change.added, change.withdrawn, change.author, change.task) == (11, 0, "anna", "t")
    assert places(store) == sorted(
        [
            ("tile", "sub/a.mrxs", float(CORNER[0]), float(CORNER[1]), 100.0, "a"),
            ("tile", "tiles", "t/2.png", "b"),
            ("point", "b.svs", 10.5, 20.0, "c"),
            ("tile", "b.svs", 0.0, 0.0, 50.0, "d"),
            ("tile", "tiles", "n/1.png", "e"),
            ("slide", "b.svs", "3"),
            ("patient", "007", "g"),
            ("area", "b.svs", "h"),
            ("point", "b.svs", 1.0, 2.0, "i"),
            ("area", "b.svs", "j"),
            ("rest", "b.svs", "k"),
        ],
        key=str,
    )
    assert {row["author"] for row in store.labels.table("t")} == {"anna"}
    assert {row["source"] for row in store.labels.table("t")} == {""}


@pytest.mark.parametrize("as_table", [pa.table, pd.DataFrame], ids=["arrow", "pandas"])
def test_tables_are_taken_as_lists_are(store: embedstore.Store, as_table: Any):
    rows = {"label": ["a", "b"], "slide_id": ["b.svs", "b.svs"], "x": [1, 2], "y": [3.0, 4.0]}
    assert store.labels.add("t", as_table(rows), author="anna").added == 2
    assert [row[2] for row in places(store)] == [1.0, 2.0]


def test_a_table_of_every_kind_of_place_is_as_its_rows(store: embedstore.Store):
    """Missing values of pandas, text of other types, whole numbers as text, and areas between the others."""
    first = int(read_tile_locations(store._tables.collection("toy")).tile_id[0])
    area = shapely.to_wkb(shapely.box(0, 0, 9, 9))
    rows = [
        {"label": "a", "slide_id": "b.svs", "x": 1.5, "y": 2},
        {"label": "b", "slide_id": "b.svs", "geometry": area},
        {"label": "c", "slide_id": "b.svs", "x": 5, "y": 6, "edge_l0": 7, "split": "train"},
        {"label": "d", "tile_id": first},
        {"label": "e", "slide_id": "b.svs", "geometry": shapely.to_wkb(shapely.box(9, 9, 20, 20))},
        {"label": "f", "patient": "007"},
    ]
    given = embedstore_labels.given_labels(store._tables, rows, task="t", author="anna")
    assert given.column("label").to_pylist() == list("abcdef")
    assert given.column("kind").to_pylist() == ["point", "area", "tile", "tile", "area", "patient"]
    assert given.column("x").to_pylist() == [1.5, None, 5.0, float(CORNER[0]), None, None]
    frame = pd.DataFrame(rows)  # x, y and edge_l0 with NaN
    frame["tile_id"] = pd.array([row.get("tile_id") for row in rows], "Int64")  # floats are not exact
    columns = {name: [row.get(name) for row in rows] for name in frame.columns}
    table = pa.table(columns)
    names = pa.array(columns["slide_id"], pa.large_string())
    table = table.set_column(table.column_names.index("slide_id"), "slide_id", names)
    table = table.set_column(0, "label", table.column("label").dictionary_encode())
    as_text = [{**row, **({"tile_id": str(first)} if "tile_id" in row else {})} for row in rows]
    for other in (frame, table, pa.concat_tables([table.slice(0, 2), table.slice(2)]), as_text):
        assert embedstore_labels.given_labels(store._tables, other, task="t", author="anna").equals(given)


POINT = {"label": "x", "slide_id": "b.svs", "x": 1, "y": 1}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"label": "x"}, "row 2: says no place"),
        ({"label": "", "slide_id": "b.svs"}, "row 2: has no class"),
        ({"label": None, "slide_id": "b.svs", "geometry": polygon(square(0, 0, 9))}, "row 2: has no label"),
        ({"label": "x", "slide_id": "b.svs", "x": 1}, "have no x or no y"),
        ({"label": "x", "slide_id": "b.svs", "x": float("inf"), "y": 1}, "x is 'inf'; expected a number"),
        ({"label": "x", "slide_id": "b.svs", "x": "far", "y": 1}, "x is 'far'; expected a number"),
        ({"label": "x", "slide_id": "b.svs", "x": SIZE[0] + 1, "y": 1}, "lie outside their slides"),
        ({"label": "x", "slide_id": "b.svs", "x": -101, "y": 1, "edge_l0": 100}, "lie outside their slides"),
        ({"label": "x", "slide_id": "b.svs", "x": 1, "y": 1, "edge_l0": 0}, "edge_l0 that is not above 0"),
        ({"label": "x", "slide_id": "tiles", "x": 1, "y": 1}, "folder of ready-made tiles"),
        ({"label": "x", "slide_id": "tiles", "name": "no.png"}, "are in no collection: no.png"),
        ({"label": "x", "slide_id": "c.svs"}, "no slide of the store is called 'c.svs'"),
        ({"label": "x", "patient": "p9"}, "have no slide in the store: p9"),
        ({"label": "x", "tile_id": 5}, "1 of its 1 tiles are not in toy: 5"),
        ({"label": "x", "tile_id": "1e3"}, "tile_id is '1e3'; expected an integer"),
        ({"label": "x" * 201, "slide_id": "b.svs"}, "cannot name a class"),
        ({"label": "x\x1b[2J", "slide_id": "b.svs"}, "cannot name a class"),
        ({"label": "x", "slide_id": "b.svs", "author": "ben"}, "have a field 'author'"),
        ({"label": "x", "slide_id": "b.svs", "edge": 5, "edge_l0": 5}, "both edge_l0 and edge"),
        ({"label": "x", "slide_id": "b.svs", "kind": "blob"}, "have a kind other than"),
        ({"label": "x", "slide_id": "b.svs", "geometry": {"type": "Circle"}}, "row 2: expected a Feature or"),
        ({"label": "x", "slide_id": "b.svs", "geometry": "[[["}, "row 2: expected a geometry as GeoJSON or WKB"),
        ({"label": "x", "slide_id": "b.svs", "geometry": b"\0\1"}, "row 2: expected a geometry as GeoJSON or WKB"),
        ({"label": "x", "slide_id": "b.svs", "geometry": {"type": "MultiPoint", "coordinates": [[1, 1], [2, 2]]}},
         "found one several parts"),
        ({"label": "x", "slide_id": "b.svs", "geometry": {"type": "LineString", "coordinates": [[1, 1], [2, 2]]}},
         "drawn as a line"),
        ({"label": "x", "slide_id": "b.svs", "geometry": polygon(square(9e5, 0, 9))}, "lie outside slide 'b.svs'"),
        ({"label": "x", "geometry": polygon(square(0, 0, 9))}, "row 2: has no slide_id"),
        ("b.svs", "expected rows to be dictionaries, found a str"),
        ({**POINT, "label": "y"}, "1 of 2 labels are about the place of another one"),
    ],
)  # fmt: skip
def test_one_wrong_row_stops_all_and_is_named(store: embedstore.Store, row: Any, told: str):
    with pytest.raises(EmbedStoreError) as raised:
        store.labels.add("t", [POINT, row], author="anna")
    assert told in str(raised.value)
    assert len(store.labels.history()) == 0


@pytest.mark.parametrize("rows", [[], {}, "x", None, 5, [{}]])
def test_no_rows_are_no_labels(store: embedstore.Store, rows: Any):
    with pytest.raises(LabelFormatError):
        store.labels.add("t", rows, author="anna")


def test_names_of_task_and_author_are_required(store: embedstore.Store):
    for task, author in ((" ", "anna"), ("t", " "), ("t", "ingest")):
        with pytest.raises(ConfigError):
            store.labels.add(task, [POINT], author=author)


def test_classes_that_look_alike_are_noted(store: embedstore.Store):
    assert store.labels.add("t", [POINT], author="anna").notes == ()
    (note,) = store.labels.add("t", [{**POINT, "label": "X "}], author="ben").notes
    assert "'X' and 'x'" in note


def test_labels_are_withdrawn_by_place_and_by_key_and_undone(store: embedstore.Store):
    store.labels.add("t", [POINT, {**POINT, "x": 2}], author="anna")
    with pytest.raises(ConfigError, match="either the keys"):
        store.labels.withdraw("t", author="anna")
    with pytest.raises(LabelError, match="--of"):
        store.labels.withdraw("t", places=[{"slide_id": "b.svs", "x": 1, "y": 1}], author="ben")
    store.labels.withdraw("t", places=[{"slide_id": "b.svs", "x": 1, "y": 1}], author="anna")
    (row,) = store.labels.table("t")
    store.labels.withdraw("t", row["key"], author="ben", of="anna")
    store.labels.undo("t", author="ben")
    assert [each["x"] for each in store.labels.table("t")] == [2.0]
    history = store.labels.history("t")
    assert [(each["author"], each["added"], each["withdrawn"]) for each in history] == [
        ("anna", 2, 0), ("anna", 0, 1), ("ben", 0, 1), ("ben", 1, 0),
    ]  # fmt: skip
    assert history["undone_by"] == [None, None, history["change"][3], None]
    assert history["undoes"] == [None, None, None, history["change"][2]]


def test_who_sees_some_slides_reads_and_changes_labels_of_these_alone(store: embedstore.Store):
    tiles = read_tile_locations(store._tables.collection("toy"))
    hidden_tile = int(tiles.tile_id[0])  # of sub/a.mrxs
    rows = [
        POINT,
        {**POINT, "slide_id": "sub/a.mrxs"},
        {"label": "x", "patient": "007"},
        {"label": "x", "patient": "p2"},
    ]
    both = store.labels.add("t", rows, author="anna")
    store.labels.add("hidden", [rows[1]], author="anna")
    seen = store.labels.of_slides({"b.svs", "old.svs"})
    assert seen.tasks == ["t"] and len(seen.table("t")) == 2 == sum(seen.summary()["labels"])
    assert [(each["added"], each["task"]) for each in seen.history()] == [(2, "t")]
    assert len(seen.disagreements("t")) == 0
    with pytest.raises(TaskNotFoundError, match="labels of t;"):
        seen.table("hidden")
    with pytest.raises(LabelError, match="also about slides that are not among yours"):
        seen.undo("t", both.id, author="anna")
    for row in (rows[1], {"label": "y", "tile_id": hidden_tile}, {"label": "y", "patient": "007"}):
        with pytest.raises(EmbedStoreError) as raised:
            seen.add("t", [row], author="anna")
        assert isinstance(raised.value, LookupError) and ".mrxs" not in str(raised.value).replace("sub/a.mrxs'", "")
    (key,) = [row["key"] for row in store.labels.table("t") if row["slide_id"] == "sub/a.mrxs"]
    with pytest.raises(LabelError, match="do not stand"):
        seen.withdraw("t", [key], author="anna")
    assert seen.add("t", [{**POINT, "label": "y"}], author="anna").withdrawn == 1
    assert seen.undo("t", author="anna").added == 1


def test_a_file_read_again_by_who_sees_some_slides_leaves_the_others_alone(store: embedstore.Store, tmp_path: Path):
    file = tmp_path / "t.csv"
    file.write_text("slide_id,x,y,label\nb.svs,1,1,x\nsub/a.mrxs,1001,2001,x\n")
    store.labels.read(file, task="t", author="anna")
    seen = store.labels.of_slides({"b.svs"})
    file.write_text("slide_id,x,y,label\nb.svs,1,1,y\n")
    assert seen.read(file, task="t", author="anna").replaced == 1
    assert sorted(row["label"] for row in store.labels.table("t")) == ["x", "y"]


def test_a_slide_that_is_removed_while_it_is_labelled_leaves_no_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = embedstore.open(make_store(tmp_path / "store").uri)
    rows = [{"label": "x", "slide_id": "sub/a.mrxs"}, {"label": "x", "patient": "007"}, POINT]
    store.labels.add("t", rows, author="anna")
    tables, forget = store._tables, store._tables.ledger.forget

    def labelled_meanwhile(slides: list[str]) -> None:  # by somebody who looked at the slide before
        given = [Label(task="t", label="y", kind="slide", slide_id=slides[0], author="ben")]
        tables.labels.add("t", given, author="ben")
        forget(slides)

    monkeypatch.setattr(tables.ledger, "forget", labelled_meanwhile)
    store.remove(slides=["sub/a.mrxs"])
    assert [row["slide_id"] for row in store.labels.table("t")] == ["b.svs"]

    add = tables.labels.add

    def removed_meanwhile(*args: Any, **named: Any) -> Any:
        forget(["b.svs"])
        return add(*args, **named)

    monkeypatch.setattr(tables.labels, "add", removed_meanwhile)
    with pytest.raises(SlideNotInStoreError, match="left the store while it was labelled"):
        store.labels.add("t", [{**POINT, "label": "y"}, {"label": "x", "slide_id": "old.svs"}], author="ben")
    assert {row["slide_id"] for row in store.labels.table("t")} == {"old.svs"}


def test_a_new_task_that_is_called_almost_like_another_is_told(store: embedstore.Store, tmp_path: Path):
    row = {"label": "a", "slide_id": "b.svs"}
    assert store.labels.add("tumour", [row]).notes == ()
    assert store.labels.add("stroma", [row]).notes == ()
    told = ("'tumor' is a new task, beside 'tumour'; `label undo` takes its labels back",)
    assert store.labels.add("tumor", [row]).notes == told
    assert store.labels.add("tumor", [{**row, "label": "b"}]).notes == ()  # it is new no more
    (tmp_path / "labels.csv").write_text("slide_id,label\nb.svs,a\n")
    assert store.labels.read(tmp_path / "labels.csv", task="stromas").notes == (
        "'stromas' is a new task, beside 'stroma'; `label undo` takes its labels back",
    )
