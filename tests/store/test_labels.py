"""The table of labels: who says what, again, otherwise, and no more."""

from pathlib import Path

import pytest

from embedstore.errors import TaskNotFoundError
from embedstore.store import Label, SlideRow, Store
from embedstore.store import labels as module
from embedstore.store.compaction import compact
from embedstore.store.removal import remove_slides

SAID = {"task": "t", "author": "anna", "source": "/f.geojson"}


def point(label: str, x: float, *, slide_id: str = "a.svs", **said) -> Label:
    return Label(kind="point", label=label, x=x, y=0.0, slide_id=slide_id, **{**SAID, **said})


def held(store: Store) -> list[tuple]:
    return sorted(
        (row["task"], row["author"], row["source"], row["label"], row["x"]) for row in store.labels.table().to_pylist()
    )


def replace(store: Store, *labels: Label, task: str = "t", author: str = "anna", sources=("/f.geojson",)) -> int:
    return store.labels.replace(task, labels, author=author, sources=sources).withdrawn


def test_importing_a_file_again_changes_nothing(store: Store):
    assert replace(store, point("x", 1), point("y", 2.5)) == 0
    before = held(store)
    assert replace(store, point("x", 1.0), point("y", 2.5)) == 0
    assert held(store) == before


def test_what_a_file_says_no_more_goes_and_nothing_else(store: Store):
    others = [
        point("x", 1, author="ben"), point("x", 1, source="/g.geojson"), point("x", 1, task="other"),
    ]  # fmt: skip
    store.labels.record([*others, point("x", 1), point("y", 2)])
    assert replace(store, point("y", 2), point("z", 3)) == 1
    kept = [(other.task, other.author, other.source, "x", 1.0) for other in others]
    assert held(store) == sorted([*kept, ("t", "anna", "/f.geojson", "y", 2.0), ("t", "anna", "/f.geojson", "z", 3.0)])


def test_a_crash_before_the_commit_leaves_what_was_there(store: Store, monkeypatch: pytest.MonkeyPatch):
    store.labels.record([point("x", 1), point("y", 2)])

    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "written_rows", dies)
    with pytest.raises(KeyboardInterrupt):
        replace(store, point("y", 2), point("z", 3))
    assert [row[3] for row in held(store)] == ["x", "y"]
    monkeypatch.undo()
    assert replace(store, point("y", 2), point("z", 3)) == 1
    assert [row[3] for row in held(store)] == ["y", "z"]


def test_labels_of_another_source_are_not_taken_for_a_replacement(store: Store):
    with pytest.raises(ValueError, match="1 labels are of another task, author or source"):
        replace(store, point("x", 1, source="/other"))
    assert store.labels.table().to_pylist() == []


def test_a_ready_made_tile_has_one_label_of_ingest_and_as_many_of_people_as_they_give(store: Store):
    tile = {"task": "t", "slide_id": "f", "name": "a.png"}
    store.labels.record([Label(label="x", **tile)])
    store.labels.record([Label(label="y", **tile)])  # ingested again with another labels.csv
    people = [Label(label=name, author="anna", source="/t.csv", **tile) for name in ("x", "z")]
    store.labels.record(people)
    assert sorted((row["author"], row["label"]) for row in store.labels.table().to_pylist()) == [
        ("anna", "x"), ("anna", "z"), ("ingest", "y"),
    ]  # fmt: skip


def test_remove_takes_what_meets_all_that_is_given(store: Store):
    labels = [
        point("x", 1), point("x", 1, slide_id="b.svs"), point("y", 1), point("x", 1, author="ben"),
        point("x", 1, task="o'ther"),
    ]  # fmt: skip
    store.labels.record(labels)
    assert store.labels.remove("t", label="x", slide_id="a.svs", author="anna") == 1
    assert store.labels.remove("t", label="nothing") == 0
    assert len(store.labels.table().to_pylist()) == 4
    assert store.labels.remove("o'ther") == 1
    assert store.labels.remove("t", source="/f.geojson") == 3
    assert store.labels.table().to_pylist() == []


def test_summary_counts_by_task_class_kind_author_and_source(store: Store):
    store.labels.record([point("x", 1), point("x", 2, slide_id="b.svs"), point("y", 1), point("x", 1, task="u")])
    rows = store.labels.summary()
    assert [(r["task"], r["label"], r["kind"], r["author"], r["labels"], r["slides"]) for r in rows] == [
        ("t", "x", "point", "anna", 2, 2), ("t", "y", "point", "anna", 1, 1), ("u", "x", "point", "anna", 1, 1),
    ]  # fmt: skip
    assert all(row["first"] <= row["last"] for row in rows)
    assert len(store.labels.summary(task="u")) == 1
    assert store.labels.tasks() == ["t", "u"]
    with pytest.raises(TaskNotFoundError, match=r"no label of task 'v'.*labels of t, u"):
        store.labels.of_task("v")


def test_a_store_without_labels_answers_with_none(store: Store):
    assert (store.labels.tasks(), store.labels.summary(), store.labels.remove("t")) == ([], [], 0)
    with pytest.raises(TaskNotFoundError, match="labels of no task"):
        store.labels.of_task("t")


def test_conflicts_are_told_within_the_new_and_with_what_stays(store: Store):
    store.labels.record([point("x", 1, author="ben"), point("x", 2), point("x", 3, author="ben")])
    new = [point("y", 1), point("y", 2), point("y", 4), point("z", 4), point("x", 3), point("z", 3, slide_id="b.svs")]
    told = store.labels.conflicts("t", new, author="anna", sources=["/f.geojson"])
    assert told == [
        "point of slide a.svs at 1, 0: x (ben, /f.geojson) and y (anna, /f.geojson)",
        "point of slide a.svs at 4, 0: y (anna, /f.geojson) and z (anna, /f.geojson)",
    ]  # at 2, anna's own old label would go; at 3 both say x


def test_conflicts_of_patients_and_whole_slides(store: Store):
    new = [
        Label(kind="patient", label="x", patient="p", **SAID), Label(kind="patient", label="y", patient="p", **SAID),
        Label(kind="slide", label="x", slide_id="a", patient="p", **SAID),
        Label(kind="slide", label="y", slide_id="a", **SAID),
    ]  # fmt: skip
    told = store.labels.conflicts("t", new, author="anna", sources=["/f.geojson"])
    assert [line.split(":")[0] for line in told] == ["patient p", "slide of slide a"]


def test_a_removed_slide_takes_its_patient_along_unless_another_is_left(store: Store):
    store.ledger.admit_columns([{"patient": "p"}])
    slides = [("secret-a", "secret-p1"), ("secret-b", "secret-p1"), ("c", "p2"), ("secret-d", "p2")]
    store.ledger.record(
        [SlideRow(slide_id=name, path="", kind="wsi", metadata={"patient": patient}) for name, patient in slides], []
    )
    labels = [Label(kind="patient", label="x", patient=patient, **SAID) for patient in ("secret-p1", "p2")]
    store.labels.record([*labels, *(point("x", 1, slide_id=name) for name, _ in slides)])
    remove_slides(store, ["secret-a"])
    assert sorted(row["patient"] or row["slide_id"] for row in store.labels.table().to_pylist()) == [
        "c", "p2", "secret-b", "secret-d", "secret-p1",
    ]  # fmt: skip
    remove_slides(store, ["secret-b", "secret-d"])
    assert sorted(row["patient"] or row["slide_id"] for row in store.labels.table().to_pylist()) == ["c", "p2"]
    compact(store, keep_s=0)
    files = [path for path in Path(store.uri).rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"secret-" in path.read_bytes()]
