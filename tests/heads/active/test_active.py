"""Suggestions and mistakes of a small store, half of whose tiles are labelled, some of them wrongly."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embedstore.errors import ConfigError, HeadMismatchError, LabelError, QueryError
from embedstore.store import Collection, Label, Store
from heads.active import find_mistakes, suggest_tiles
from heads.active.found import decisions
from heads.config import MistakesConfig, SuggestConfig
from heads.head import Head
from tests.collection_records import collection_record
from tests.heads.active.scene import CARELESS, SLIDES, TILES, make_active_store, number
from tests.heads.scene import COLLECTION, DIM, EDGE
from tests.marks import slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_active_store(tmp_path_factory.mktemp("active"))


def suggest(store: Store, head: str | None = "folds", *, task: str | None = None, **settings):
    fitted = None if head is None else Head.from_stored(store.heads.get(head))
    return suggest_tiles(store, store.collection(COLLECTION), SuggestConfig(**settings), task=task, head=fitted)


def mistakes(store: Store, head: str = "folds", **settings):
    return find_mistakes(store, store.heads.get(head), MistakesConfig(**settings))


def labelled_ids(store: Store) -> set[int]:
    tiles = store.collection(COLLECTION).tiles(columns=["tile_id", "x", "y"]).to_pylist()
    return {row["tile_id"] for row in tiles if number(row["x"], row["y"]) < TILES // 2}


@pytest.mark.parametrize("strategy", ["uncertain-diverse", *map(slow, ("typical", "uncertainty", "diverse", "random"))])
def test_what_is_labelled_is_not_suggested_and_slides_have_an_even_share(store: Store, strategy):
    found = suggest(store, n=16, strategy=strategy)
    rows = found.table.to_pylist()
    assert len(rows) == 16 and not {row["tile_id"] for row in rows} & labelled_ids(store)
    assert max(Counter(row["slide_id"] for row in rows).values()) <= 4  # twice 16 / 8
    assert max(Counter(row["patient"] for row in rows).values()) <= 8
    assert [row["rank"] for row in rows] == list(range(1, 17))
    assert found.notes[0].startswith("96 tiles of 8 slides have no label yet; 96 were looked at")
    assert suggest(store, n=16, strategy=strategy).table == found.table
    assert all(row["reason"] and row["predicted"] in ("normal", "tumour") for row in rows)
    assert all(0 <= row["uncertainty"] <= 1 and 0 < row["probability"] <= 1 for row in rows)


def test_uncertain_tiles_are_more_uncertain_than_random_ones(store: Store):
    certain = np.mean(suggest(store, n=10, strategy="random").table["uncertainty"].to_numpy())
    for strategy in ("uncertainty", "uncertain-diverse"):
        assert np.mean(suggest(store, n=10, strategy=strategy).table["uncertainty"].to_numpy()) > 0.2 + certain


def test_a_filter_and_limits_hold_and_a_short_answer_says_why(store: Store):
    found = suggest(store, n=20, where="slide_id IN ('s01.svs', 's02.svs')", per_slide=3)
    assert Counter(found.table["slide_id"].to_pylist()) == {"s01.svs": 3, "s02.svs": 3}
    assert "6 of 20 tiles were found, with at most 3 a slide" in found.notes[1]
    few = suggest(store, n=20, where=f"slide_id = 's01.svs' AND x = 0 AND y = {2 * EDGE}")
    assert len(few.table) == 1 and "1 of 20 tiles were found: no more that pass" in few.notes[1]
    none = suggest(store, n=20, where="x < 0")
    assert not len(none.table)
    assert none.notes == ("0 of 20 tiles were found: no more that pass are without a label",)
    small = suggest(store, n=4, pool=16)
    assert "96 tiles of 8 slides have no label yet; 16 were looked at" in small.notes[0]


def test_where_no_task_is_named_nothing_is_said_of_labels_that_there_are(store: Store):
    found = suggest_tiles(store, store.collection(COLLECTION), SuggestConfig(n=4))
    total = len(store.collection(COLLECTION))
    assert found.notes[0].startswith(f"{total} tiles of 8 slides were asked for, labelled or not; --task leaves out ")


def test_without_a_head_what_only_a_head_knows_is_null(store: Store):
    found = suggest(store, None, n=8)
    assert "typical" in found.title and found.table["probability"].null_count == 8
    assert {row["tile_id"] for row in found.table.to_pylist()} & labelled_ids(store)  # of no task
    of_task = suggest(store, None, task="tissue", n=8, strategy="diverse")
    assert not {row["tile_id"] for row in of_task.table.to_pylist()} & labelled_ids(store)
    assert len(suggest(store, None, task="not yet", n=8).table) == 8
    # a slide's label says little of its tiles
    assert "192 tiles of 8 slides have no label" in suggest(store, None, task="grade", n=8).notes[0]


def test_near_to_marks_are_tiles_like_those_of_the_rarest_class(store: Store):
    found = suggest(store, n=12, strategy="nearest-to-marks")
    assert not {row["tile_id"] for row in found.table.to_pylist()} & labelled_ids(store)
    assert "labelled tumour" in found.table["reason"][0].as_py()
    assert found.table["predicted"].to_pylist().count("tumour") >= 10
    other = suggest(store, None, task="tissue", n=12, strategy="nearest-to-marks", label="normal")
    assert "labelled normal" in other.table["reason"][0].as_py() and len(other.table) == 12


def test_what_cannot_be_suggested_is_told(store: Store, tmp_path: Path):
    with pytest.raises(ConfigError, match="uncertainty asks what a head is uncertain of"):
        suggest(store, None, strategy="uncertainty")
    with pytest.raises(ConfigError, match="name the task"):
        suggest(store, None, strategy="nearest-to-marks")
    with pytest.raises(LabelError, match="no class 'stroma'"):
        suggest(store, None, task="tissue", strategy="nearest-to-marks", label="stroma")
    with pytest.raises(ConfigError, match="label goes with the strategy"):
        SuggestConfig(label="tumour")
    with pytest.raises(ConfigError, match="n is 0"):
        SuggestConfig(n=0)
    empty = Store.create(tmp_path / "empty")
    Collection.create(empty.uri, COLLECTION, collection_record(DIM))
    with pytest.raises(QueryError, match="has no tiles"):
        suggest(empty, None)


def test_mistakes_are_found_by_networks_that_have_not_seen_the_label(store: Store):
    found = mistakes(store)
    rows = found.table.to_pylist()
    first = rows[:SLIDES]
    assert {(row["x"], row["y"], row["authors"]) for row in first} == {(0, 0, CARELESS)}
    assert {row["slide_id"] for row in first} == {f"s{i:02}.svs" for i in range(SLIDES)}
    assert {row["part"] for row in rows} == {"test"}
    support = [row["label_probability"] for row in rows]
    assert support == sorted(support) and support[0] < 0.1
    assert all(row["label"] != row["predicted"] for row in rows)
    assert (
        f"of {SLIDES * TILES // 2} labelled tiles" in found.notes[0]
        and len(found.notes) == 1
        and "asked for" not in found.notes[0]
    )


def test_an_ensemble_that_has_seen_a_label_is_surer_of_it(store: Store):
    stored = store.heads.get("folds")
    head = Head.from_stored(stored)
    row = mistakes(store).table.to_pylist()[0]
    tile = store.collection(COLLECTION).tile(row["tile_id"])
    assert tile is not None
    by_all = head.probabilities(np.array([tile.vector], np.float16))[0, head.classes.index(row["label"])]
    assert by_all > row["label_probability"]


def test_parts_and_classes_narrow_the_list(store: Store):
    assert {row["label"] for row in mistakes(store, label="tumour").table.to_pylist()} == {"tumour"}
    assert {row["predicted"] for row in mistakes(store, predicted="tumour").table.to_pylist()} == {"tumour"}
    assert "are of what was asked for" in mistakes(store, predicted="tumour").notes[0]
    assert len(mistakes(store, n=3).table) == 3
    assert len(mistakes(store, where="slide_id = 's03.svs'", n=1).table) == 1
    assert {row["part"] for row in mistakes(store, "holdout", part="test").table.to_pylist()} == {"test"}
    assert any("fitted to their labels" in note for note in mistakes(store, "holdout").notes)


def test_a_tile_labelled_since_is_new(store: Store):
    at = {"slide_id": "s00.svs", "x": 0.0, "y": 2.0 * EDGE, "edge_l0": float(EDGE)}
    before = {row["tile_id"] for row in mistakes(store, n=1000).table.to_pylist()}
    for label in ("tumour", "normal"):
        store.labels.record([Label(task="tissue", label=label, author="eve", source=f"{label}.csv", **at)])
        new = [row for row in mistakes(store, n=1000, part="new").table.to_pylist() if row["tile_id"] not in before]
        store.labels.remove("tissue", author="eve")
        if new:
            assert new[0]["authors"] == "eve" and new[0]["y"] == 2 * EDGE
            break
    else:
        pytest.fail("one of the two labels is a mistake")


def test_what_has_no_mistakes_is_told(store: Store):
    with pytest.raises(LabelError, match="knows no class 'stroma'; it tells apart normal, tumour"):
        mistakes(store, label="stroma")
    with pytest.raises(LabelError, match="no tile of collection 'toy' that passes"):
        mistakes(store, where="x < 0")
    stored = store.heads.get("folds")
    with pytest.raises(HeadMismatchError, match="'folds' classifies a slide, not tiles"):
        find_mistakes(store, replace(stored, level="slide"), MistakesConfig())
    head = replace(Head.from_stored(stored), level="patient")
    with pytest.raises(HeadMismatchError, match="'folds' classifies a patient, not tiles"):
        suggest_tiles(store, store.collection(COLLECTION), SuggestConfig(), head=head)


def test_of_several_classes_at_once_all_are_named_or_none(store: Store):
    head = replace(Head.from_stored(store.heads.get("folds")), multi_label=True, positive=None)
    labels, probability = decisions(head, np.array([[0.2, 0.3], [0.9, 0.8], [0.1, 0.6]], np.float32))
    assert labels.to_pylist() == ["", "normal; tumour", "tumour"]
    assert probability.to_pylist() == [None, pytest.approx(0.9), pytest.approx(0.6)]
