"""The cache of a row-by-row scan: what it keeps, and that it stays within its bytes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from embedstore.slides.readers.row_cache import RowCache

TILE = np.zeros((10, 10), np.uint8)


def test_what_the_scan_has_left_behind_goes():
    cache = RowCache(1000)
    cache.begin(0, 0)
    cache.put((0, 0, 0), TILE, bottom=10, soon=False)
    cache.put((0, 0, 1), TILE, bottom=20, soon=False)
    cache.begin(0, 10)
    assert cache.get((0, 0, 0)) is None
    assert cache.get((0, 0, 1)) is TILE
    assert cache.held_bytes == 100
    cache.begin(0, 0)  # a new scan
    assert cache.held_bytes == 0


def test_of_a_tile_that_a_later_row_needs_only_those_rows_are_kept():
    cache, tile = RowCache(1000), np.arange(100, dtype=np.uint8).reshape(10, 10)
    cache.begin((0, 1), 0)
    cache.put((0, 1, 0, 0), tile, bottom=10, soon=True)
    cache.put((0, 1, 0, 0), tile, bottom=10, soon=False, rows=3)
    kept = cache.get((0, 1, 0, 0))
    np.testing.assert_array_equal(kept, tile[7:])
    assert kept.base is None
    assert cache.held_bytes == 30


def test_a_full_cache_keeps_what_it_has_for_the_next_row_and_takes_what_comes_soon():
    cache = RowCache(200)
    cache.begin(0, 0)
    for column in range(3):
        cache.put((0, column, 0), TILE, bottom=10, soon=False)
    assert cache.get((0, 2, 0)) is None
    cache.put((0, 3, 0), TILE, bottom=10, soon=True)
    assert cache.get((0, 3, 0)) is TILE
    assert cache.held_bytes == 200


@given(st.lists(st.tuples(st.sampled_from("bpd"), st.integers(0, 5), st.integers(1, 40), st.booleans()), max_size=60))
def test_bytes_are_counted_and_bounded(steps):
    cache = RowCache(600)
    for what, column, size, soon in steps:
        key = (0, column, size % 3)
        if what == "b":
            cache.begin(0, size)
        elif what == "p":
            cache.put(key, np.zeros((size, 10), np.uint8), bottom=size, soon=soon)
        else:
            cache.drop(key)
        held = sum(tile.nbytes for tile, _ in cache._tiles.values())
        assert cache.held_bytes == held <= 600
