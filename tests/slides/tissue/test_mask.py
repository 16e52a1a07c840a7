"""Shares of tissue in tiles are exact."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from embedstore.slides import mask_shares, tile_grid


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
