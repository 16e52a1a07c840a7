"""Rocchio's feedback, and means of directions."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from embedstore.errors import ConfigError, VectorError
from embedstore.search.queries.query import Query, away_from, mean_direction, more_like, unit_rows
from tests.search.queries.query_scene import unit

E = np.eye(4, dtype=np.float32)
finite = st.floats(-100, 100, width=32)


def query(vector: np.ndarray, title: str = "q", *, tile_ids: tuple[int, ...] = (), **values: object) -> Query:
    return Query(vector=vector, title=title, tile_ids=np.array(tile_ids, np.int64), **values)  # type: ignore[arg-type]


def test_a_negative_at_a_right_angle_by_hand():
    moved = away_from(query(E[0]), [query(E[1])], weight=0.5)
    np.testing.assert_allclose(moved.vector, np.array([2, -1, 0, 0]) / 5**0.5, atol=1e-6)
    assert moved.vector.dtype == np.float32


def test_negatives_are_averaged():
    moved = away_from(query(E[0]), [query(E[1]), query(E[2])], weight=1.0)
    np.testing.assert_allclose(moved.vector, np.array([1, -0.5, -0.5, 0]) / 1.5**0.5, atol=1e-6)


@given(arrays(np.float32, (4, 6), elements=finite), st.floats(0, 2))
def test_the_moved_query_is_less_like_the_negatives(rows, weight):
    assume((np.linalg.norm(rows, axis=1) > 1e-2).all())
    vectors = unit(rows).astype(np.float32)
    first, negatives = query(vectors[0]), [query(row) for row in vectors[1:]]
    mean = vectors[1:].mean(axis=0)
    assume(np.linalg.norm(vectors[0] - weight * mean) > 1e-2)
    moved = away_from(first, negatives, weight=weight)
    assert np.linalg.norm(moved.vector) == pytest.approx(1, abs=1e-5)
    assert moved.vector @ mean <= vectors[0] @ mean + 1e-4


def test_negatives_are_left_out_of_what_is_found_but_their_slides_are_not_the_querys():
    first = query(E[0], "tile 1", tile_ids=(5, 1), slides=("a",), picture=Path("x.png"), tiles=({"tile_id": 1},))
    moved = away_from(first, [query(E[1], "tile 2", tile_ids=(2,), slides=("b",)), query(E[2], "w", tile_ids=(5, 9))])
    assert moved.tile_ids.tolist() == [1, 2, 5, 9]
    assert moved.tile_ids.dtype == np.int64
    assert (moved.slides, moved.picture, moved.tiles) == (("a",), Path("x.png"), ({"tile_id": 1},))
    assert moved.title == "tile 1, not tile 2 and w"
    assert away_from(first, [query(E[1])] * 3).title == "tile 1, not 3 others"


def test_no_examples_change_nothing():
    first = query(E[0])
    assert away_from(first, []) is first
    assert more_like(first, []) is first


def test_feedback_is_the_mean_of_the_positives_minus_a_share_of_the_mean_of_the_negatives():
    moved = away_from(more_like(query(E[0]), [query(E[1])]), [query(E[2])], weight=0.5)
    np.testing.assert_allclose(moved.vector, np.array([2**0.5, 2**0.5, -1, 0]) / 5**0.5, atol=1e-6)


def test_further_positives_are_left_out_with_the_query_and_their_slides_are_its():
    first = query(E[0], "tile 1", tile_ids=(5, 1), slides=("a",), tiles=({"tile_id": 1},))
    more = [query(E[1], "tile 2", tile_ids=(2,), slides=("b", "a"), tiles=({"tile_id": 2},)), query(E[2], "an image")]
    moved = more_like(first, more)
    assert (moved.tile_ids.tolist(), moved.slides) == ([1, 2, 5], ("a", "b"))
    assert moved.tiles == ({"tile_id": 1}, {"tile_id": 2})
    assert moved.title == "tile 1, and tile 2 and an image"
    with pytest.raises(VectorError, match="the further example short has 3; expected queries of one collection"):
        more_like(first, [query(E[0, :3], "short")])
    with pytest.raises(VectorError, match="tile 1, and w: its vectors have no direction in common"):
        more_like(first, [query(-E[0], "w")])


def test_weight_0_keeps_the_direction():
    np.testing.assert_array_equal(away_from(query(E[0]), [query(E[1])], weight=0).vector, E[0])


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_a_weight_that_is_none_is_refused(weight):
    with pytest.raises(ConfigError, match="weight of negatives"):
        away_from(query(E[0]), [query(E[1])], weight=weight)


def test_nothing_left_is_said():
    with pytest.raises(VectorError, match=r"nothing is left of tile 1 without tile 2: with weight 1"):
        away_from(query(E[0], "tile 1"), [query(E[0], "tile 2")], weight=1.0)


def test_a_negative_of_another_collection_is_refused():
    with pytest.raises(VectorError, match="q has 4 values, and the negative other has 3"):
        away_from(query(E[0]), [query(E[0, :3], "other")])


@given(arrays(np.float32, (5, 6), elements=finite))
def test_unit_rows_have_length_1_or_stay_0(rows):
    assume((np.abs(rows).max(axis=1) > 1e-3).all())
    rows[3] = 0
    found = unit_rows(rows)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 1, 0, 1], atol=1e-5)
    np.testing.assert_allclose(found[0], unit(rows[0]), atol=1e-5)


def test_the_mean_of_opposites_has_no_direction():
    with pytest.raises(VectorError, match="these: its vectors have no direction in common"):
        mean_direction(E[0] - E[0], 2, what="these")
    with pytest.raises(VectorError, match="these: a vector holds NaN or infinity"):
        mean_direction(np.array([np.nan, 1]), 2, what="these")
