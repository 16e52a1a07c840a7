"""The grid: covers, never overlaps, stays inside; shares of tissue are exact."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedstore.errors import TilingError
from embedstore.slides import mask_shares, tile_grid

lengths = st.integers(1, 120)
edges = st.integers(1, 90)
origins = st.tuples(st.integers(0, 50), st.integers(0, 50))


@given(origin=origins, size=st.tuples(lengths, lengths), edge=edges)
def test_tiles_cover_all_that_whole_tiles_can_and_never_overlap(origin, size, edge):
    grid = tile_grid(origin, size, edge_l0=edge, stride_l0=edge)
    times = np.zeros((size[1], size[0]), int)
    inside = grid - np.asarray(origin)
    assert ((inside >= 0) & (inside <= np.asarray(size) - edge)).all()
    np.add.at(times, (inside[:, 1], inside[:, 0]), 1)
    times = times.cumsum(0).cumsum(1)  # tiles begun above and to the left ...
    times[edge:, :] -= times[:-edge, :].copy() if edge < size[1] else 0  # ... less those that ended there
    times[:, edge:] -= times[:, :-edge].copy() if edge < size[0] else 0
    covered = np.zeros_like(times)
    covered[: size[1] // edge * edge, : size[0] // edge * edge] = 1
    np.testing.assert_array_equal(times, covered)


@given(origin=origins, size=st.tuples(lengths, lengths), edge=edges, stride=edges)
def test_tiles_come_row_by_row_a_stride_apart_and_inside(origin, size, edge, stride):
    grid = tile_grid(origin, size, edge_l0=edge, stride_l0=stride)
    assert grid.dtype == np.int32
    assert grid.shape[1] == 2
    assert sorted(map(tuple, grid[:, ::-1])) == list(map(tuple, grid[:, ::-1]))
    assert ((grid - np.asarray(origin)) % stride == 0).all()
    assert (grid + edge <= np.asarray(origin) + size).all()
    fits = [max(0, (length - edge) // stride + 1) if length >= edge else 0 for length in size]
    assert len(grid) == fits[0] * fits[1]


@pytest.mark.parametrize(("edge", "stride"), [(0, 5), (5, 0), (-1, 5)])
def test_a_grid_of_nothing_is_an_error(edge, stride):
    with pytest.raises(TilingError, match="expected 1 or more"):
        tile_grid((0, 0), (10, 10), edge_l0=edge, stride_l0=stride)


@given(data=st.data(), scale=st.integers(1, 7), edge=st.integers(1, 40))
def test_shares_are_those_of_counting_pixels(data, scale, edge):
    rows, columns = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    seed = data.draw(st.integers(0, 1 << 16))
    mask = np.random.default_rng(seed).random((rows, columns)) < 0.5
    full = np.kron(mask, np.ones((scale, scale), bool))
    grid = tile_grid((3, 5), (columns * scale, rows * scale), edge_l0=edge, stride_l0=max(1, edge // 2))
    shares = mask_shares(mask, grid, edge_l0=edge, origin_l0=(3, 5), scale_l0=(scale, scale))
    counted = [full[y - 5 : y - 5 + edge, x - 3 : x - 3 + edge].mean() for x, y in grid]
    np.testing.assert_allclose(shares, counted, atol=1e-6)


def test_what_a_tile_has_beyond_the_mask_is_no_tissue():
    shares = mask_shares(np.ones((2, 2), bool), np.array([[-5, 0], [5, 5], [40, 40]], np.int32), edge_l0=10,
                         origin_l0=(0, 0), scale_l0=(5, 5))  # fmt: skip
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.0])
