"""Bags: some of them, some of their rows, and their means."""

import numpy as np

from heads.bags import Bags

BAGS = Bags.of_rows([np.array([4, 5, 9]), np.array([0]), np.array([7, 8])])


def parts(bags: Bags) -> list[list[int]]:
    return [rows.tolist() for rows in np.split(bags.rows, bags.start[1:-1])]


def test_some_bags_and_some_rows():
    assert parts(BAGS.take(np.array([2, 0]))) == [[7, 8], [4, 5, 9]]
    assert len(BAGS.take(np.array([], int))) == 0
    kept = BAGS.where(np.array([True, False, True, False, True, True]))
    assert parts(kept) == [[4, 9], [], [7, 8]]
    assert parts(kept.take(np.flatnonzero(kept.sizes))) == [[4, 9], [7, 8]]


def test_thinned_bags_keep_so_many_of_their_rows_in_order():
    bags = Bags.of_rows([np.arange(100), np.arange(200, 203)])
    thin = bags.thinned(10, seed=1)
    assert thin.sizes.tolist() == [10, 3]
    assert (np.diff(thin.rows[:10]) > 0).all() and set(thin.rows[:10]) < set(range(100))
    assert parts(thin) == parts(bags.thinned(10, seed=1)) != parts(bags.thinned(10, seed=2))


def test_means_of_bags():
    vectors = np.arange(12).reshape(6, 2).astype(np.float16)
    np.testing.assert_allclose(BAGS.means(vectors), [[2, 3], [6, 7], [9, 10]])
