"""Changes of labels: what is added, withdrawn and undone, by several authors, and never lost."""

import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from embedstore.errors import LabelError
from embedstore.store import Label, LabelChange, SlideRow, Store
from embedstore.store import labels as module
from embedstore.store.compaction import compact
from embedstore.store.label import label_rows
from embedstore.store.label_changes import EVERYONE, plan_addition, with_all_columns
from embedstore.store.removal import remove_slides
from embedstore.store.schema import LABEL_ROWS, LABELS
from embedstore.store.table import Table
from tests.marks import slow

TASK = "t"


def label(name: str, x: float = 0, author: str = "anna", **values) -> Label:
    return Label(
        **{"task": TASK, "label": name, "kind": "point", "slide_id": "a", "x": x, "y": 0.0, "author": author, **values}
    )


def add(store: Store, *labels: Label, author: str = "anna") -> LabelChange:
    return store.labels.add(TASK, labels, author=author)


def standing(store: Store) -> list[tuple]:
    rows = store.labels.table(task=TASK).to_pylist()
    return sorted((row["author"], row["x"], row["label"]) for row in rows)


def key_of(store: Store, author: str = "anna", x: float = 0) -> str:
    (key,) = [r["key"] for r in store.labels.table(task=TASK).to_pylist() if (r["author"], r["x"]) == (author, x)]
    return key


# -- adding ---------------------------------------------------------------------------------


def test_another_class_replaces_the_authors_own_and_nobody_elses(store: Store):
    add(store, label("x", 0), label("x", 1))
    add(store, label("y", 0, "ben"), author="ben")
    change = add(store, label("y", 0))
    assert (change.added, change.withdrawn) == (1, 1)
    assert standing(store) == [("anna", 0, "y"), ("anna", 1, "x"), ("ben", 0, "y")]
    assert [(each.author, each.added, each.withdrawn) for each in store.labels.changes(TASK).values()] == [
        ("anna", 2, 0), ("ben", 1, 0), ("anna", 1, 1),
    ]  # fmt: skip


def test_the_same_class_again_changes_nothing(store: Store):
    add(store, label("x", 0))
    versions = Table(store.uri, "labels").open().version
    again = add(store, label("x", 0), label("x", -0.0))
    assert (again.id, again.added, again.withdrawn) == (None, 0, 0)
    assert Table(store.uri, "labels").open().version == versions


def test_two_classes_for_one_place_are_refused_as_a_whole(store: Store):
    with pytest.raises(LabelError, match=r"1 of 3 labels .* point of slide a at 1, 0: 'x' and 'y'"):
        add(store, label("x", 0), label("x", 1), label("y", 1))
    assert standing(store) == []


def test_an_authors_label_from_a_file_is_replaced_too_and_keeps_its_part_of_the_split(store: Store):
    held = label("x", 0, source="/f.csv", split="train", patient="p")
    store.labels.replace(TASK, [held], author="anna", sources=["/f.csv"])
    assert add(store, label("x", 0)).id is None
    change = add(store, label("y", 0))
    (row,) = store.labels.table(task=TASK).to_pylist()
    assert (row["label"], row["source"], row["split"], row["patient"]) == ("y", "", "train", "p")
    store.labels.undo(TASK, change.id, author="anna")
    (row,) = store.labels.table(task=TASK).to_pylist()
    assert (row["label"], row["source"], row["key"]) == ("x", "/f.csv", held.key)


@pytest.mark.parametrize("seed", range(20))
def test_an_addition_is_planned_as_label_by_label(seed: int):
    """Against a loop over labels, among places with several older labels, parts of a split and patients."""
    draw = random.Random(seed)

    def drawn(x: int, **values) -> Label:
        said = {"split": draw.choice([None, "train", "test"]), "patient": draw.choice([None, "p", "q"])}
        return label(draw.choice("xy"), x, **said, **values)

    held = [drawn(draw.randrange(6), source=f"/{i}") for i in range(12)]
    rows = with_all_columns(label_rows(held))
    withdrawn = pa.array([draw.choice([None, None, "c"]) for _ in held], pa.string())
    rows = rows.set_column(LABEL_ROWS.get_field_index("withdrawn_change"), "withdrawn_change", withdrawn)
    given = [drawn(x) for x in draw.sample(range(8), 5)]
    plan = plan_addition(label_rows([*given, *draw.sample(given, 2)]))(rows)

    add, withdraw, kept = {each.x: each for each in given}, [], set()
    for i, (old, change) in enumerate(zip(held, withdrawn.to_pylist(), strict=True)):
        if change is not None or old.x not in {each.x for each in given}:
            continue
        new = next(each for each in given if each.x == old.x)
        says_more = new.split not in (None, old.split) or new.patient not in (None, old.patient)
        if old.x not in kept and new.label == old.label and not says_more:
            kept.add(old.x)
            del add[old.x]
            continue
        withdraw.append(i)
        if old.x in add:
            before = add[old.x]
            add[old.x] = replace(before, split=before.split or old.split, patient=before.patient or old.patient)
    assert plan.withdraw.tolist() == withdraw
    assert Label.from_table(plan.add) == list(add.values())
    assert plan.add.equals(label_rows(list(add.values())))


# -- withdrawing ----------------------------------------------------------------------------


def test_a_withdrawn_label_counts_no_more_and_says_who_withdrew_it(store: Store):
    add(store, label("x", 0), label("x", 1))
    change = store.labels.withdraw(TASK, [key_of(store)], author="anna")
    assert (change.added, change.withdrawn) == (0, 1)
    assert standing(store) == [("anna", 1, "x")]
    assert [row["labels"] for row in store.labels.summary()] == [1]
    (row,) = [row for row in Table(store.uri, "labels").rows() if row["withdrawn_change"]]
    assert (row["withdrawn_by"], row["withdrawn_at"], row["label"]) == ("anna", change.at, "x")
    with pytest.raises(LabelError, match="1 of 2 labels do not stand"):
        store.labels.withdraw(TASK, [row["key"], key_of(store, x=1)], author="anna")
    assert standing(store) == [("anna", 1, "x")]


@pytest.mark.parametrize("by_place", [False, True])
def test_somebody_elses_label_is_withdrawn_only_where_the_author_is_named(store: Store, by_place: bool):
    add(store, label("x", 0))

    def withdraw(**whose: str) -> LabelChange:
        if by_place:
            return store.labels.withdraw_at(TASK, [label("any", 0)], author="ben", **whose)
        return store.labels.withdraw(TASK, [key_of(store)], author="ben", **whose)

    for whose in ({}, {"of": "carl"}):
        with pytest.raises(LabelError, match="labels there are those of anna"):
            withdraw(**whose)
    assert withdraw(of="anna").author == "ben"
    store.labels.undo(TASK, author="ben")
    assert withdraw(of=EVERYONE).withdrawn == 1
    assert standing(store) == []


def test_places_without_a_label_are_passed_over_unless_none_has_one(store: Store):
    add(store, label("x", 0))
    with pytest.raises(LabelError, match="none of the 1 place"):
        store.labels.withdraw_at(TASK, [label("any", 5)], author="anna")
    assert store.labels.withdraw_at(TASK, [label("any", 0), label("any", 5)], author="anna").withdrawn == 1


# -- undoing --------------------------------------------------------------------------------


def test_an_undo_takes_back_the_last_change_and_then_the_one_before(store: Store):
    add(store, label("x", 0))
    add(store, label("y", 0), label("y", 1))
    store.labels.undo(TASK, author="anna")
    assert standing(store) == [("anna", 0, "x")]
    last = store.labels.undo(TASK, author="anna")
    assert standing(store) == []
    with pytest.raises(LabelError, match="'anna' has made no change of task 't' that could be undone"):
        store.labels.undo(TASK, author="anna")
    assert store.labels.undo(TASK, last.id, author="ben").undoes == last.id  # redone, by another
    assert standing(store) == [("anna", 0, "x")]


def test_an_undone_label_has_its_first_time(store: Store):
    first = add(store, label("x", 0)).at
    store.labels.withdraw(TASK, [key_of(store)], author="anna")
    store.labels.undo(TASK, author="anna")
    assert store.labels.table(task=TASK).column("created_at").to_pylist() == [first]


def test_what_came_later_stops_an_undo(store: Store):
    first = add(store, label("x", 0), label("x", 1)).id
    later = add(store, label("y", 1)).id
    with pytest.raises(LabelError, match=rf"{first} cannot be undone: 1 later change.*the last one {later} by anna"):
        store.labels.undo(TASK, first, author="anna")
    undo = store.labels.undo(TASK, later, author="anna").id
    with pytest.raises(LabelError, match=f"undone already, by {undo}"):
        store.labels.undo(TASK, later, author="anna")
    store.labels.undo(TASK, first, author="anna")
    with pytest.raises(LabelError, match=f"{undo} cannot be undone: what it left is not there any more"):
        store.labels.undo(TASK, undo, author="anna")
    with pytest.raises(LabelError, match="no change 'nothing' of task 't'"):
        store.labels.undo(TASK, "nothing", author="anna")


@pytest.mark.parametrize("step", ["_stored", "_change"])
def test_an_undo_of_what_is_removed_meanwhile_finds_no_change(store: Store, monkeypatch, step: str):
    change = add(store, label("x", 0)).id
    other = Store(store.uri)

    def removed_before(*given, **named):
        if step == "_change" or len(given) == 1:  # not while the history is read
            other.labels.remove(TASK)
        return getattr(module.Labels, step)(store.labels, *given, **named)

    monkeypatch.setattr(store.labels, step, removed_before)
    with pytest.raises(LabelError, match=f"no change '{change}' of task 't'"):
        store.labels.undo(TASK, change, author="anna")


def test_an_import_is_a_change_that_can_be_undone(store: Store):
    old, new = [label(name, x, source="/f") for name, x in (("x", 0), ("y", 1))], [label("z", 1, source="/f")]
    store.labels.replace(TASK, old, author="anna", sources=["/f"])
    change = store.labels.replace(TASK, new, author="anna", sources=["/f"])
    assert (change.added, change.withdrawn) == (1, 2)
    assert store.labels.replace(TASK, new, author="anna", sources=["/f"]).id is None
    store.labels.undo(TASK, author="anna")
    assert standing(store) == [("anna", 0, "x"), ("anna", 1, "y")]
    assert store.labels.replace(TASK, new, author="anna", sources=["/f"]).id is not None
    assert standing(store) == [("anna", 1, "z")]


@pytest.mark.parametrize("seed", [0, slow(1), slow(2)])
def test_any_order_of_changes_is_as_on_a_list(store: Store, seed: int):
    """Against a model: {(author, place): class}, and before and after of each change."""
    draw, state, made = random.Random(seed), {}, []
    for _ in range(30):
        author, verb = draw.choice(["anna", "ben"]), draw.choice(["add", "add", "withdraw", "undo", "undo"])
        if verb == "add":
            given = {(author, x): draw.choice("xyz") for x in draw.sample(range(4), draw.randint(1, 3))}
            change = add(store, *(label(name, x, author) for (_, x), name in given.items()), author=author)
            after = {at: name for at, name in given.items() if state.get(at) != name}
            assert (change.id is None) == (not after)
        elif verb == "withdraw":
            own = [at for at in state if at[0] == author]
            if not own:
                continue
            chosen = draw.sample(own, draw.randint(1, len(own)))
            keys = [key_of(store, *at) for at in chosen]
            change, after = store.labels.withdraw(TASK, keys, author=author), dict.fromkeys(chosen)
        elif not made:
            continue
        else:
            target = draw.choice(made[-4:])
            later = made[made.index(target) + 1 :]
            undone = {each["undoes"] for each in made if each["id"] not in _undone(made)} - {None}
            blocked = target["id"] in undone or any(
                each["after"].keys() & target["after"].keys() and not each["undoes"] and each["id"] not in undone
                for each in later
            )
            if blocked or any(state.get(at) != name for at, name in target["after"].items()):
                with pytest.raises(LabelError, match=r"cannot be undone|undone already"):
                    store.labels.undo(TASK, target["id"], author=author)
                continue
            change, after = store.labels.undo(TASK, target["id"], author=author), target["before"]
        if after:
            before = {at: state.get(at) for at in after}
            made.append({"id": change.id, "before": before, "after": after, "undoes": change.undoes})
            state = {at: name for at, name in (state | after).items() if name}
        assert standing(store) == sorted((*at, name) for at, name in state.items())
    assert list(store.labels.changes(TASK)) == [each["id"] for each in made]


def _undone(made: list[dict]) -> set[str]:
    undone: set[str] = set()
    for each in reversed(made):
        if each["undoes"] and each["id"] not in undone:
            undone.add(each["undoes"])
    return undone


# -- together -------------------------------------------------------------------------------


@pytest.mark.slow
def test_several_who_label_at_once_all_succeed(store: Store):
    """Two tabs of one author at one place, and another author: no label is lost and none is double."""
    add(store, label("x", 9))
    faults: list[BaseException] = []

    def work(author: str, tab: int) -> None:
        own = Store.open(store.uri)
        try:
            for i in range(4):
                own.labels.add(TASK, [label(f"{tab}-{i}", 0, author), label("x", 10 * tab + i, author)], author=author)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=at) for at in (("anna", 1), ("anna", 2), ("ben", 3))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    held = standing(store)
    assert len({(author, x) for author, x, _ in held}) == len(held) == 1 + 12 + 2
    changes = store.labels.changes(TASK).values()
    assert sum(each.added - each.withdrawn for each in changes) == len(held)
    assert sum(each.added for each in changes) == 1 + 24


def test_many_changes_are_compacted(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "TIDY_FRAGMENTS", 3)
    for x in range(8):
        add(store, label("x", x))
    assert len(Table(store.uri, "labels").open().get_fragments()) <= 4
    assert len(standing(store)) == len(store.labels.changes(TASK)) == 8


# -- removed and older ----------------------------------------------------------------------


def traces(store: Store, text: bytes) -> list[Path]:
    return [path for path in Path(store.uri).rglob("*") if path.is_file() and text in path.read_bytes()]


def test_what_is_removed_takes_its_withdrawn_labels_along(store: Store):
    store.ledger.admit_columns([{"patient": "p"}])
    slides = [
        SlideRow(slide_id=name, path="", kind="wsi", metadata={"patient": f"case-{name}"}) for name in ("secret-a", "b")
    ]
    store.ledger.record(slides, [])
    for name in ("x", "y"):
        add(store, label(name, 0, slide_id="secret-a"), label(name, 0, slide_id="b", patient="case-secret-a"))
        add(store, Label(task=TASK, label=name, kind="patient", patient="case-secret-a", author="anna"))
    add(store, label("x", 0, slide_id="b", patient="case-b"))
    remove_slides(store, ["secret-a"])
    compact(store, keep_s=0)
    assert not traces(store, b"secret-a")
    assert standing(store) == [("anna", 0, "x")]


def test_rm_takes_withdrawn_labels_as_well(store: Store):
    add(store, label("secret-class", 0))
    store.labels.withdraw(TASK, [key_of(store)], author="anna")
    assert store.labels.count(TASK) == store.labels.remove(TASK) == 1
    compact(store, keep_s=0)
    assert not traces(store, b"secret-class") and not store.labels.changes()


@pytest.fixture
def old(store: Store) -> Iterator[Store]:
    """A store whose labels a version without changes wrote."""
    table = Table(store.uri, "labels")
    table.create(LABELS)
    table.upsert("key", [label("x", 0, source="/f").row(), label("x", 1, "ben", source="/f").row()])
    yield store


def test_labels_of_an_older_version_are_read_withdrawn_and_undone(old: Store):
    assert standing(old) == [("anna", 0, "x"), ("ben", 1, "x")]
    assert old.labels.changes() == {} and old.labels.table().column_names == LABELS.names
    with pytest.raises(LabelError, match="no change"):
        old.labels.undo(TASK, author="anna")
    assert Table(old.uri, "labels").open().schema.names == LABELS.names  # reading and refusing change nothing
    add(old, label("y", 0))
    assert standing(old) == [("anna", 0, "y"), ("ben", 1, "x")]
    old.labels.undo(TASK, author="anna")
    assert standing(old) == [("anna", 0, "x"), ("ben", 1, "x")]
    assert pa.types.is_timestamp(Table(old.uri, "labels").open().schema.field("withdrawn_at").type)


def test_what_ingest_says_again_stays_withdrawn(store: Store):
    tiles = [Label(task=TASK, label="x", slide_id="f", name=f"{i}.png") for i in range(2)]
    store.labels.record(tiles)
    (withdrawn,) = [each for each in store.labels.table(task=TASK).to_pylist() if each["name"] == "0.png"]
    store.labels.withdraw(TASK, [withdrawn["key"]], author="anna", of="ingest")
    store.labels.record(tiles)
    assert [row["name"] for row in store.labels.table(task=TASK).to_pylist()] == ["1.png"]
    store.labels.record([Label(task=TASK, label="y", slide_id="f", name="0.png")])  # labels.csv says otherwise now
    assert sorted(row["label"] for row in store.labels.table(task=TASK).to_pylist()) == ["x", "y"]
    assert [(each.added, each.withdrawn) for each in store.labels.changes().values()] == [(0, 1)]
