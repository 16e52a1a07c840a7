"""Predictions: a slide's are replaced at once, never mixed with those of another head, and leave no trace."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedstore.errors import CommitError, ConfigError, LabelError, PredictionsNotFoundError, StoreBusyError
from embedstore.store import (
    Collection,
    CollectionWriter,
    Predictions,
    SlideFragments,
    Store,
    predictions_schema,
    tile_batch,
)
from embedstore.store.compaction import compact
from embedstore.store.prediction_schema import decided_classes, decided_labels, probability_columns
from embedstore.store.removal import remove_slides
from tests.marks import examples

from .predicted import decide, facts, predict, predict_slides, tiles_of, two

Deliver = Callable[..., SlideFragments]


@pytest.fixture
def filled(store: Store, collection: Collection, deliver: Deliver) -> Store:
    """A store with three slides of three, four and five tiles."""
    CollectionWriter(collection).commit([deliver("a", 3), deliver("b", 4), deliver("c", 5)])
    return store


def test_a_tile_has_its_place_its_class_and_a_column_a_class(filled: Store):
    assert predict(filled, facts(), {"a": two([0.1, 0.9, 0.6])}) == 3
    table = filled.predictions("lesion").table()
    assert table.schema.names == [
        "tile_id", "slide_id", "x", "y", "edge_l0", "name", "label", "p_normal", "p_tumour",
    ]  # fmt: skip
    assert table["label"].to_pylist() == ["normal", "tumour", "tumour"]
    assert table["x"].to_pylist() == [0, 512, 1024]
    np.testing.assert_allclose(table["p_tumour"], [0.1, 0.9, 0.6], atol=1e-7)
    assert table["tile_id"].equals(tiles_of(filled, "a")["tile_id"])


def test_rows_are_found_by_sql_and_by_slide(filled: Store):
    predict(filled, facts(), {"a": two([0.1, 0.9, 0.6]), "b": two([0.7, 0.2, 0.95, 0.1])})
    mine = filled.predictions("lesion")
    assert mine.table(where="p_tumour > 0.65", columns=["slide_id", "x"]).to_pylist() == [
        {"slide_id": "a", "x": 512}, {"slide_id": "b", "x": 0}, {"slide_id": "b", "x": 1024},
    ]  # fmt: skip
    assert mine.table(where="p_tumour > 0.8 OR p_tumour < 0.15", slides=["a"]).num_rows == 2
    assert mine.table(slides=[]).num_rows == 0
    assert mine.slides() == {"a": 3, "b": 4}
    with pytest.raises(
        ConfigError, match=r"'lesion' cannot be filtered by 'p_tumor > 1'.*No field named p_tumor.*p_tumour"
    ):
        mine.table(where="p_tumor > 1")


def test_predicting_some_slides_again_leaves_the_others(filled: Store):
    predict(filled, facts(), {"a": two([0.1] * 3), "b": two([0.2] * 4)})
    predict(filled, facts(created_at="later"), {"b": two([0.9] * 4), "c": two([0.8] * 5)})
    mine = filled.predictions("lesion")
    assert mine.slides() == {"a": 3, "b": 4, "c": 5}
    assert set(mine.table(slides=["b"])["label"].to_pylist()) == {"tumour"}
    assert set(mine.table(slides=["a"])["label"].to_pylist()) == {"normal"}


def test_a_slide_without_tiles_left_loses_its_rows(filled: Store):
    predict(filled, facts(), {"a": two([0.1] * 3), "b": two([0.2] * 4)})
    assert filled.predictions("lesion").write(facts(), [], slides=["a"]) == 0
    assert filled.predictions("lesion").slides() == {"b": 4}


def test_another_version_of_the_head_replaces_the_table_whole(filled: Store, caplog: pytest.LogCaptureFixture):
    predict(filled, facts(), {"a": two([0.1] * 3), "b": two([0.2] * 4)})
    other = facts(head_digest="sha256:head-2", classes=("normal", "tumour", "fat"))
    predict(filled, other, {"c": np.full((5, 3), 1 / 3, np.float32)})
    mine = filled.predictions("lesion")
    assert mine.slides() == {"c": 5}
    assert mine.facts() == other
    assert "p_fat" in mine.table().schema.names
    assert "2 slide(s) by another version of head lesion" in caplog.text


def test_nothing_is_visible_before_the_end_and_nothing_is_left_by_a_failure(filled: Store, monkeypatch):
    monkeypatch.setattr("embedstore.store.predictions.FRAGMENT_ROWS", 2)
    made, mine = facts(), filled.predictions("lesion")

    def batches(fail: bool):
        for slide, p in (("a", 0.3), ("b", 0.4)):
            tiles = tiles_of(filled, slide)
            yield tile_batch(made, tiles, two([p] * len(tiles)), decide(made, two([p] * len(tiles))))
            assert not mine.exists() or mine.slides() == {"c": 5}
        if fail:
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        mine.write(made, batches(fail=True), slides=["a", "b"])
    assert not mine.exists() and filled.prediction_names() == []
    predict(filled, made, {"c": two([0.5] * 5)})
    with pytest.raises(RuntimeError, match="out of memory"):
        mine.write(made, batches(fail=True), slides=["a", "b"])
    assert mine.slides() == {"c": 5}
    assert mine.write(made, batches(fail=False), slides=["a", "b"]) == 7
    assert mine.slides() == {"a": 3, "b": 4, "c": 5}
    assert mine.table(slides=["b"])["x"].to_pylist() == [0, 512, 1024, 1536]


def test_rows_of_a_slide_that_was_not_announced_are_refused(filled: Store):
    made = facts()
    stray = tile_batch(made, tiles_of(filled, "b"), two([0.1] * 4), decide(made, two([0.1] * 4)))
    with pytest.raises(CommitError, match=r"1 slide\(s\) that were not given, such as 'b'"):
        filled.predictions("lesion").write(made, [stray], slides=["a"])
    assert not filled.predictions("lesion").exists()


def test_a_second_writer_is_refused_while_one_writes(filled: Store):
    predict(filled, facts(), {"a": two([0.1] * 3)})
    with filled.predictions("lesion").lease(), pytest.raises(StoreBusyError, match="predictions-lesion"):
        predict(filled, facts(), {"a": two([0.9] * 3)})
    with filled.predictions("lesion").lease(), pytest.raises(StoreBusyError):
        remove_slides(filled, ["a"])
    assert filled.collection("toy").slides()["a"] == 3


def test_a_compaction_beside_a_writer_costs_nothing(filled: Store):
    """The writer replaces rows of fragments that the compaction has just merged."""
    for slide, tiles in (("a", 3), ("b", 4), ("c", 5)):
        predict(filled, facts(), {slide: two([0.1] * tiles)})
    mine = filled.predictions("lesion")

    def compacting():
        tiles = tiles_of(filled, "a")
        yield tile_batch(facts(), tiles, two([0.9] * 3), decide(facts(), two([0.9] * 3)))
        Predictions(filled.uri, "lesion").tidy(keep_s=0)

    mine.write(facts(), compacting(), slides=["a"])
    assert mine.slides() == {"b": 4, "c": 5, "a": 3}
    assert mine.table(where="label = 'tumour'").num_rows == 3


def test_readers_are_not_disturbed_by_a_writer(filled: Store):
    predict(filled, facts(), {"a": two([0.1] * 3), "b": two([0.2] * 4)})
    reading = filled.predictions("lesion").batches()
    first = next(reading)
    writer = threading.Thread(target=predict, args=(filled, facts(head_digest="2"), {"c": two([0.9] * 5)}))
    writer.start()
    writer.join()
    assert first.num_rows + sum(batch.num_rows for batch in reading) == 7


def test_many_small_writes_do_not_leave_many_small_files(filled: Store, monkeypatch):
    monkeypatch.setattr("embedstore.store.predictions.TIDY_FRAGMENTS", 2)
    for slide, tiles in (("a", 3), ("b", 4), ("c", 5)):
        predict(filled, facts(), {slide: two([0.1] * tiles)})
    mine = filled.predictions("lesion")
    assert len(mine._table.open().get_fragments()) == 1
    assert mine.slides() == {"a": 3, "b": 4, "c": 5}


def test_heads_of_slides_keep_what_they_looked_at(filled: Store):
    made = facts(head="grade", level="slide")
    predict_slides(filled, made, {"a": two([0.9])[0], "b": two([0.2])[0]}, {"a": np.array([0.1, 0.7, 0.2])})
    assert filled.predictions("grade").table().drop_columns(["p_normal", "p_tumour"]).to_pylist() == [
        {"slide_id": "a", "patient": "P-a", "label": "tumour"},
        {"slide_id": "b", "patient": "P-b", "label": "normal"},
    ]
    looked = filled.predictions("grade", "attention").table()
    np.testing.assert_allclose(looked["attention"], [0.1, 0.7, 0.2], atol=1e-7)
    assert filled.prediction_names() == ["grade"]
    assert filled.predictions("grade", "attention").facts().level == "slide"


def test_removing_slides_takes_their_predictions_off_the_disk(store: Store, collection: Collection, deliver: Deliver):
    CollectionWriter(collection).commit([deliver("secret-slide", 3), deliver("b", 4)])
    predict(store, facts(), {"secret-slide": two([0.1] * 3), "b": two([0.2] * 4)})
    made = facts(head="grade", level="slide")
    predict_slides(store, made, {"secret-slide": two([0.9])[0]}, {"secret-slide": np.ones(3), "b": np.ones(4)})
    assert remove_slides(store, ["secret-slide"]) == {"toy": 3}
    assert store.predictions("lesion").slides() == {"b": 4}
    assert store.predictions("grade").slides() == {}
    assert store.predictions("grade", "attention").slides() == {"b": 4}
    compact(store, keep_s=0)
    traces = [path for path in Path(store.uri).rglob("*") if path.is_file() and b"secret-slide" in path.read_bytes()]
    assert [str(path.relative_to(store.uri)) for path in traces] == []
    assert store.predictions("lesion").table()["slide_id"].to_pylist() == ["b"] * 4


def test_dropping(filled: Store):
    predict(filled, facts(), {"a": two([0.1] * 3)})
    mine = filled.predictions("lesion")
    mine.drop()
    mine.drop()
    assert filled.prediction_names() == [] and not Path(filled.uri, "predictions-lesion.lance").exists()
    with pytest.raises(
        PredictionsNotFoundError, match=r"'lesion' has no predictions in .*embedstore predict --head lesion"
    ):
        mine.facts()
    predict(filled, facts(), {"b": two([0.1] * 4)})
    assert mine.slides() == {"b": 4}


def test_a_name_that_cannot_be_a_table_is_refused(store: Store):
    with pytest.raises(ConfigError, match=r"head name '\.\./x' cannot name a table.*--head"):
        store.predictions("../x")


@pytest.mark.parametrize(
    ("classes", "columns"),
    [
        (("normal", "tumour"), ("p_normal", "p_tumour")),
        (("dense nuclei", "pen-mark"), ("p_dense_nuclei", "p_pen_mark")),
        (("ER+", "ER-"), ("p_ER_plus", "p_ER_minus")),
        (("+", "-"), ("p_plus", "p_minus")),
        (("G1.5", "G1 5", "g1-5"), ("p_G1_5", "p_G1_5_2", "p_g1_5_3")),
        (("Drüse", "腺", "腺癌"), ("p_Druse", "p_腺", "p_腺癌")),
        (("Опухоль", "Норма", "Όγκος", "ОПУХОЛЬ"), ("p_Опухоль", "p_Норма", "p_Όγκος", "p_ОПУХОЛЬ_2")),
        (("Größe", "!", "?"), ("p_Große", "p_class", "p_class_2")),
    ],
)
def test_classes_have_columns_that_sql_takes_without_quotes(classes, columns):
    assert probability_columns(classes) == columns


@settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(classes=st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=6, unique=True))
def test_any_class_can_be_filtered_by_its_column(tmp_path_factory: pytest.TempPathFactory, classes: list[str]):
    import lance

    made = facts(classes=tuple(classes), positive=None, thresholds={})
    schema = predictions_schema(made)
    assert len({column.lower() for column in made.columns.values()}) == len(classes)
    uri = str(tmp_path_factory.mktemp("t") / "t.lance")
    values = {column: pa.array([number / 10], pa.float32()) for number, column in enumerate(made.columns.values())}
    row = pa.table({n: values.get(n, pa.nulls(1, pa.string())) for n in schema.names if n == "label" or n in values})
    dataset = lance.write_dataset(row, uri)
    for number, column in enumerate(made.columns.values()):
        assert dataset.count_rows(f"{column} >= {number / 10 - 0.01} AND {column} < {number / 10 + 0.01}") == 1


def test_several_classes_of_a_place_are_joined():
    decided = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], bool)
    assert decided_labels(("a", "b", "c"), decided).to_pylist() == ["a; c", "", "b"]


@settings(max_examples=examples(100), deadline=None)
@given(
    classes=st.lists(st.text(st.sampled_from("ab; :"), min_size=1, max_size=5), min_size=1, max_size=5, unique=True),
    data=st.data(),
)
def test_joined_classes_are_told_apart_or_refused(classes: list[str], data):
    made = facts(classes=tuple(classes), positive=None, thresholds={}, multi_label=True)
    rows = data.draw(st.lists(st.lists(st.booleans(), min_size=len(classes), max_size=len(classes)), min_size=1))
    decided = np.array(rows, bool)
    table = pa.table({"label": decided_labels(classes, decided)})
    if any("; " in name for name in classes):
        with pytest.raises(LabelError, match="contains '; '"):
            decided_classes(made, table)
    else:
        np.testing.assert_array_equal(decided_classes(made, table), decided)


def test_a_class_that_contains_the_separator_is_read_where_a_place_has_one_class():
    made, decided = facts(classes=("a", "a; b")), np.array([[1, 0], [0, 1]], bool)
    table = pa.table({"label": decided_labels(made.classes, decided)})
    np.testing.assert_array_equal(decided_classes(made, table), decided)


def test_facts_go_to_json_and_back():
    made = facts(classes=("ER+", "ER-"), multi_label=True, thresholds={"ER+": 0.25, "ER-": 0.5})
    assert type(made).from_record(made.as_record()) == made
    assert made.as_record()["columns"] == {"ER+": "p_ER_plus", "ER-": "p_ER_minus"}
    older = {
        **made.as_record(),
        "columns": {"ER+": "p_a", "ER-": "p_b"},
    }  # a table keeps the names that it was made with
    assert type(made).from_record(older).columns == older["columns"]
