"""The table of labels: imported again, counted, compared, removed; and tables that an older version made."""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pytest
import shapely

from embedstore.config import JoinConfig
from embedstore.errors import TaskNotFoundError
from embedstore.labels import join_labels
from embedstore.store import Label, Labels, SlideRow, Store
from embedstore.store import label_changes as module
from embedstore.store.compaction import compact
from embedstore.store.label import INGEST
from embedstore.store.removal import remove_slides
from embedstore.store.schema import LABELS
from embedstore.store.table import Table
from tests.labels.toy_labels import locations

#: The columns that labels had when only folders of ready-made tiles gave them.
OLD = ("key", "task", "slide_id", "name", "label", "split", "patient", "author", "source", "created_at")
SQUARE = shapely.to_wkb(shapely.box(0, 0, 10, 10))


def tile(label: str, name: str = "x.png", slide_id: str = "a", **values) -> Label:
    return Label(**{"task": "t", "label": label, "slide_id": slide_id, "name": name, "author": "ann", **values})


def held(labels: Labels, *columns: str) -> list[tuple]:
    return sorted(tuple(row[name] for name in columns) for row in labels.table().to_pylist())


@pytest.fixture
def old(store: Store) -> Store:
    """A store whose labels an older version wrote."""
    schema = pa.schema([LABELS.field(name) for name in OLD])
    table = Table(store.uri, "labels")
    table.create(schema)
    at = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
    rows = [
        {**dict.fromkeys(OLD), "key": key, "task": "t", "slide_id": slide, "name": name, "label": label,
         "patient": patient, "author": "ingest", "source": "labels.csv", "created_at": at}
        for key, slide, name, label, patient in
        [("1", "a", "x.png", "tumour", "p1"), ("2", "a", "y.png", "normal", "p1"), ("3", "b", "x.png", "tumour", "p2")]
    ]  # fmt: skip
    table.upsert("key", rows)
    return store


# -- writing --------------------------------------------------------------------------------


def test_a_label_comes_back_with_who_when_and_from_where(store: Store):
    before = dt.datetime.now(dt.UTC)
    store.labels.record([Label(task="t", label="tumour", kind="area", slide_id="a", geometry=SQUARE, author="ann",
                               source="a.geojson", split="train", patient="p")])  # fmt: skip
    (row,) = store.labels.table().to_pylist()
    assert {name: row[name] for name in LABELS.names if name not in ("key", "created_at")} == {
        "task": "t", "kind": "area", "slide_id": "a", "name": None, "x": None, "y": None, "edge_l0": None,
        "geometry": SQUARE, "label": "tumour", "split": "train", "patient": "p", "author": "ann", "source": "a.geojson",
    }  # fmt: skip
    assert before <= row["created_at"] <= dt.datetime.now(dt.UTC)


def test_the_same_label_twice_is_one_label(store: Store):
    for _ in range(2):
        store.labels.record([tile("tumour"), tile("tumour"), tile("tumour", kind="point", name=None, x=1.0, y=2.0)])
    assert held(store.labels, "kind", "label") == [("point", "tumour"), ("tile", "tumour")]


def test_what_a_folder_says_of_a_tile_is_written_over(store: Store):
    store.labels.record([tile("tumour", author=INGEST)])
    store.labels.record([tile("normal", author=INGEST)])
    assert held(store.labels, "label") == [("normal",)]


@pytest.mark.parametrize(
    "change",
    [
        {"label": "normal"}, {"task": "u"}, {"slide_id": "b"}, {"x": 2.0}, {"y": 1.0}, {"edge_l0": 9.0},
        {"author": "bob"}, {"source": "other"}, {"patient": "p"}, {"kind": "area"},
        {"geometry": shapely.to_wkb(shapely.box(0, 0, 10, 11))},
    ],
)  # fmt: skip
def test_labels_that_differ_in_one_thing_are_both_kept(store: Store, change: dict):
    one = {"task": "t", "label": "tumour", "kind": "rest", "slide_id": "a", "x": 1.0, "y": 2.0, "edge_l0": 8.0,
           "geometry": SQUARE, "author": "ann", "source": "f"}  # fmt: skip
    store.labels.record([Label(**one), Label(**{**one, **change})])
    assert len(store.labels.table().to_pylist()) == 2


def test_importing_a_file_again_replaces_what_it_said(store: Store):
    mine = [tile("tumour", "x.png", source="f"), tile("normal", "y.png", source="f")]
    others = [tile("fat", source="g"), tile("fat", author="bob", source="f"), tile("fat", task="u", source="f")]
    assert store.labels.replace("t", mine, author="ann", sources=["f"]).withdrawn == 0
    store.labels.record(others)
    kept = held(store.labels, "task", "author", "source", "name", "label")
    assert (
        store.labels.replace("t", mine, author="ann", sources=["f"]).withdrawn == 0
    )  # the same again: nothing has gone
    assert held(store.labels, "task", "author", "source", "name", "label") == kept
    assert store.labels.replace("t", [tile("normal", "x.png", source="f")], author="ann", sources=["f"]).withdrawn == 2
    assert held(store.labels, "task", "author", "source", "name", "label") == [
        ("t", "ann", "f", "x.png", "normal"), ("t", "ann", "g", "x.png", "fat"), ("t", "bob", "f", "x.png", "fat"),
        ("u", "ann", "f", "x.png", "fat"),
    ]  # fmt: skip
    assert store.labels.replace("t", [], author="ann", sources=["f", "g"]).withdrawn == 2
    assert held(store.labels, "author", "source") == [("ann", "f"), ("bob", "f")]


def test_nothing_is_replaced_by_no_file(store: Store):
    store.labels.record([tile("tumour", source="f")])
    assert store.labels.replace("t", [], author="ann", sources=[]).withdrawn == 0
    assert len(store.labels.table().to_pylist()) == 1


@pytest.mark.parametrize("change", [{"task": "u"}, {"author": "bob"}, {"source": "g"}])
def test_only_what_the_files_say_can_replace_it(store: Store, change: dict):
    with pytest.raises(ValueError, match="1 labels are of another task, author or source"):
        store.labels.replace("t", [tile("tumour", **{"source": "f", **change})], author="ann", sources=["f"])
    assert store.labels.table().to_pylist() == []


def test_a_replacement_that_is_interrupted_leaves_the_old(store: Store, monkeypatch: pytest.MonkeyPatch):
    store.labels.replace("t", [tile("tumour", source="f")], author="ann", sources=["f"])

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Table, "revise", killed)
        with pytest.raises(KeyboardInterrupt):
            store.labels.replace("t", [tile("normal", source="f")], author="ann", sources=["f"])
    assert held(store.labels, "label") == [("tumour",)]
    assert store.labels.replace("t", [tile("normal", source="f")], author="ann", sources=["f"]).withdrawn == 1
    assert held(store.labels, "label") == [("normal",)]


def test_labels_from_a_clock_that_is_ahead_are_replaced_too(store: Store, monkeypatch: pytest.MonkeyPatch):
    ahead = dt.datetime.now(dt.UTC) + dt.timedelta(hours=3)
    with monkeypatch.context() as patched:
        patched.setattr(module, "now", lambda: ahead)
        store.labels.replace("t", [tile("tumour", source="f")], author="ann", sources=["f"])
    assert store.labels.replace("t", [tile("normal", source="f")], author="ann", sources=["f"]).withdrawn == 1
    assert held(store.labels, "label") == [("normal",)]


def test_names_with_quotes_are_names(store: Store):
    odd = "O'Hara's \"file\"; --"
    store.labels.record([tile("it's", slide_id=odd, author=odd, source=odd)])
    assert store.labels.replace("t", [], author=odd, sources=["x"]).withdrawn == 0
    assert len(store.labels.table(task="t", slide_id=odd).to_pylist()) == 1
    assert store.labels.remove("t", label="it's", author=odd, source=odd, slide_id=odd) == 1


# -- removing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "left"),
    [
        ({}, 1), ({"label": "tumour"}, 3), ({"slide_id": "b"}, 3), ({"author": "bob"}, 3), ({"source": "g"}, 3),
        ({"label": "tumour", "author": "bob"}, 4), ({"label": "tumour", "author": "ann"}, 3), ({"label": "fat"}, 4),
    ],
)  # fmt: skip
def test_labels_that_meet_all_that_is_given_are_removed(store: Store, chosen: dict, left: int):
    store.labels.record(
        [tile("tumour"), tile("normal", slide_id="b", source="g"), tile("normal", author="bob"), tile("fat", task="u")]
    )
    assert store.labels.remove("t", **chosen) == 4 - left
    assert len(store.labels.table().to_pylist()) == left
    assert len(store.labels.table(task="u").to_pylist()) == 1


def test_nothing_is_removed_from_no_table(store: Store):
    assert store.labels.remove("t") == 0
    store.labels.forget(["a"], patients=["p"])
    store.labels.tidy(keep_s=0)
    assert store.labels.table().to_pylist() == [] and store.labels.tasks() == [] and store.labels.summary() == []
    assert store.labels.table(columns=["task", "x"]).column_names == ["task", "x"]


def test_a_patient_is_forgotten_with_the_last_slide(store: Store):
    facts = [SlideRow(slide_id=s, path=s, kind="wsi", metadata={"patient": p}) for s, p in
             [("a", "p1"), ("b", "p1"), ("c", "p2")]]  # fmt: skip
    store.ledger.record(facts, [])
    store.labels.record(
        [Label(task="t", label="tumour", kind="patient", patient=p, author="ann") for p in ("p1", "p2")]
    )
    store.labels.record([Label(task="t", label="tumour", kind="slide", slide_id=s, author="ann") for s in "abc"])
    remove_slides(store, ["a"])
    assert {row["slide_id"] for row in store.labels.table().to_pylist() if row["kind"] == "slide"} == {"b", "c"}
    assert {row["patient"] for row in store.labels.table().to_pylist() if row["kind"] == "patient"} == {"p1", "p2"}
    remove_slides(store, ["b"])
    assert {row["patient"] for row in store.labels.table().to_pylist() if row["kind"] == "patient"} == {"p2"}
    remove_slides(store, ["c"])
    assert store.labels.table().to_pylist() == []


def test_a_patient_whom_only_labels_name_is_forgotten_with_the_last_slide(store: Store):
    store.ledger.record([SlideRow(slide_id=s, path=s, kind="tiles") for s in "ab"], [])
    store.labels.record([tile("tumour", slide_id=s, patient=p, name=f"{p}.png") for s, p in
                         [("a", "p1"), ("a", "p2"), ("b", "p2")]])  # fmt: skip
    store.labels.record([Label(task="u", label="good", kind="patient", patient=p) for p in ("p1", "p2", "p3")])
    remove_slides(store, ["a"])
    assert {row["patient"] for row in store.labels.table(task="u").to_pylist()} == {"p2", "p3"}
    remove_slides(store, ["b"])
    assert {row["patient"] for row in store.labels.table(task="u").to_pylist()} == {"p3"}  # who never had a slide here


def test_a_patient_known_to_the_ledger_stays_for_a_slide_whose_labels_name_it(store: Store):
    facts = [SlideRow(slide_id="a", path="a", kind="wsi", metadata={"patient": "p"}),
             SlideRow(slide_id="b", path="b", kind="tiles")]  # fmt: skip
    store.ledger.record(facts, [])
    store.labels.record([tile("tumour", slide_id="b", patient="p"),
                         Label(task="u", label="good", kind="patient", patient="p")])  # fmt: skip
    remove_slides(store, ["a"])
    assert len(store.labels.table(task="u").to_pylist()) == 1


# -- reading --------------------------------------------------------------------------------


def test_tasks_are_listed_and_one_that_is_not_there_names_them(store: Store):
    with pytest.raises(TaskNotFoundError, match=r"'t'.*no task; `embedstore label import FILE --task t`"):
        store.labels.of_task("t")
    store.labels.record([tile("tumour", task=task) for task in ("lesion", "grade", "lesion")])
    assert store.labels.tasks() == ["grade", "lesion"]
    assert store.labels.of_task("grade").num_rows == 1
    with pytest.raises(TaskNotFoundError, match=r"no label of task 'lession'.*has labels of grade, lesion"):
        store.labels.of_task("lession")


def test_the_summary_counts_labels_and_slides(store: Store):
    store.labels.record([tile("tumour", f"{i}.png", slide, source="f") for slide in "ab" for i in range(3)])
    store.labels.record([tile("normal", source="f"), Label(task="s", label="poor", kind="patient", patient="p")])
    rows = store.labels.summary()
    assert [(r["task"], r["label"], r["kind"], r["author"], r["source"], r["labels"], r["slides"]) for r in rows] == [
        ("s", "poor", "patient", "ingest", "", 1, 0), ("t", "normal", "tile", "ann", "f", 1, 1),
        ("t", "tumour", "tile", "ann", "f", 6, 2),
    ]  # fmt: skip
    assert all(row["first"] <= row["last"] for row in rows)
    assert [row["task"] for row in store.labels.summary(task="s")] == ["s"]


# -- conflicts ------------------------------------------------------------------------------


def test_two_classes_of_one_place_are_told_with_who_says_so(store: Store):
    store.labels.record([tile("normal", author="bob", source="g")])
    new = [tile("tumour", source="f"), tile("tumour", "y.png", source="f")]
    assert store.labels.conflicts("t", new, author="ann", sources=["f"]) == [
        "tile of slide a, x.png: normal (bob, g) and tumour (ann, f)"
    ]


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ({"kind": "tile", "slide_id": "a", "x": 512.0, "y": 0.0, "edge_l0": 256.0}, "tile of slide a at 512, 0: "),
        ({"kind": "point", "slide_id": "a", "x": 1.5, "y": 2.0}, "point of slide a at 1.5, 2: "),
        ({"kind": "area", "slide_id": "a", "geometry": SQUARE}, "area of slide a: "),
        ({"kind": "rest", "slide_id": "a"}, "rest of slide a: "),
        ({"kind": "slide", "slide_id": "a"}, "slide of slide a: "),
        ({"kind": "patient", "patient": "p"}, "patient p: "),
    ],
)
def test_the_same_place_in_one_file_is_compared(store: Store, place: dict, told: str):
    new = [Label(task="t", label=label, author="ann", source="f", **place) for label in ("tumour", "normal")]
    (line,) = store.labels.conflicts("t", new, author="ann", sources=["f"])
    assert line == told + "normal (ann, f) and tumour (ann, f)"


def test_agreement_other_places_other_tasks_and_what_is_replaced_are_no_conflict(store: Store):
    store.labels.record([tile("tumour", author="bob"), tile("normal", "y.png"), tile("normal", task="u"),
                         tile("normal", source="f"), tile("normal", slide_id="b")])  # fmt: skip
    assert store.labels.conflicts("t", [tile("tumour", source="f")], author="ann", sources=["f", ""]) == []


# -- tables of older versions ---------------------------------------------------------------


def test_labels_of_an_older_version_are_labels_of_tiles(old: Store):
    assert {(row["kind"], row["x"], row["geometry"]) for row in old.labels.table(task="t").to_pylist()} == {
        ("tile", None, None)
    }
    assert list(old.labels.table().to_pylist()[0]) == LABELS.names
    assert old.labels.table(columns=["name", "kind", "edge_l0"]).column_names == ["name", "kind", "edge_l0"]
    assert [(r["label"], r["kind"], r["labels"]) for r in old.labels.summary()] == [
        ("normal", "tile", 1), ("tumour", "tile", 2)
    ]  # fmt: skip
    assert old.labels.tasks() == ["t"]
    told = old.labels.conflicts("t", [tile("normal")], author="ann", sources=[""])
    assert told == ["tile of slide a, x.png: normal (ann, ) and tumour (ingest, labels.csv)"]


@pytest.mark.parametrize("widened", [False, True])
def test_labels_of_an_older_version_are_joined(old: Store, widened: bool):
    if widened:
        old.labels.record([tile("fat", task="u")])  # adds the columns; the old rows have nothing in them
    tiles = locations({"a": [(0, 0, 0)] * 2, "b": [(0, 0, 0)]}, names=["y.png", "x.png", "x.png"])
    found = join_labels(tiles, old.labels.table(), {}, task="t", config=JoinConfig())
    assert found.classes == ("normal", "tumour")
    assert found.targets.tolist() == [[True, False], [False, True], [False, True]]
    assert [found.patients[i] for i in found.patient] == ["p1", "p1", "p2"]


def test_slides_are_removed_from_labels_of_an_older_version(old: Store):
    old.ledger.record([SlideRow(slide_id=s, path=s, kind="tiles") for s in "ab"], [])
    remove_slides(old, ["a"])
    assert held(old.labels, "slide_id") == [("b",)]
    old.labels.record([Label(task="u", label="good", kind="patient", patient="p2")])
    remove_slides(old, ["b"])
    assert old.labels.table().to_pylist() == []


def test_labels_of_an_older_version_are_replaced_and_compacted(old: Store):
    compact(old, keep_s=0)
    assert old.labels.replace("t", [], author="ingest", sources=["labels.csv"]).withdrawn == 3
    assert old.labels.table().to_pylist() == []
    assert Path(old.uri, "labels.lance").is_dir()
