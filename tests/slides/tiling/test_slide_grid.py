"""The grid: covers, never overlaps, stays inside."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedstore.config import TilingConfig
from embedstore.errors import TilingError
from embedstore.slides import edge_and_stride, tile_grid

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


def test_nearly_equal_resolution_is_not_resampled():
    tiling = TilingConfig(tile_px=256, mpp=0.5)
    assert edge_and_stride(tiling, 0.499, 1.0) == (256, 256)
    assert edge_and_stride(tiling, 0.25, 2.0005) == (512, 512)
    assert edge_and_stride(tiling, 0.26, 1.0) == (492, 492)
    assert edge_and_stride(TilingConfig(tile_px=256, mpp=0.5, stride_px=128), 0.25, 1.0) == (512, 256)
