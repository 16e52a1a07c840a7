"""Parameters of views: within their ranges, each tile's own, the same again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedstore.config import ViewConfig
from embedstore.views import PARAMETERS, draw_parameters, unchanged

IDS = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=6, unique=True)


def column(drawn: np.ndarray, name: str) -> np.ndarray:
    return drawn[..., PARAMETERS.index(name)]


@given(ids=IDS, count=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
def test_a_tiles_views_are_its_own(ids, count, seed):
    """Whatever else is drawn, in whatever order, and however many views are asked for."""
    config = ViewConfig(count=count, seed=seed)
    drawn = draw_parameters(np.array(ids, np.int64), config)
    assert drawn.shape == (len(ids), count, len(PARAMETERS)) and drawn.dtype == np.float32
    np.testing.assert_array_equal(draw_parameters(np.array(ids[::-1], np.int64), config), drawn[::-1])
    alone = draw_parameters(np.array(ids[:1], np.int64), ViewConfig(count=count + 3, seed=seed))
    np.testing.assert_array_equal(alone[0, :count], drawn[0])


def test_another_tile_and_another_seed_have_other_views():
    ids = np.arange(-50, 50)
    drawn = draw_parameters(ids, ViewConfig()).reshape(len(ids), -1)
    again = draw_parameters(ids, ViewConfig(seed=1)).reshape(len(ids), -1)
    assert len(np.unique(np.concatenate([drawn, again]), axis=0)) == 200
    views = draw_parameters(ids, ViewConfig()).reshape(-1, len(PARAMETERS))
    assert len(np.unique(views, axis=0)) == len(views)


@pytest.mark.parametrize("config", [ViewConfig(count=16), ViewConfig(count=16, crop=0.8, stain=0.3, blur=5, jpeg=90)])
def test_parameters_keep_to_their_ranges_and_fill_them(config):
    drawn = draw_parameters(np.arange(1000), config)
    ranges = {
        "crop": (0, config.crop), "crop_x": (0, 1), "crop_y": (0, 1), "mirror": (0, 1), "turns": (0, 3),
        "haematoxylin_gain": (-config.stain, config.stain), "haematoxylin_shift": (-config.stain, config.stain),
        "eosin_gain": (-config.stain, config.stain), "eosin_shift": (-config.stain, config.stain),
        "blur": (0, config.blur), "contrast": (-config.contrast, config.contrast),
        "brightness": (-config.brightness, config.brightness), "jpeg": (0, 100 - config.jpeg),
    }  # fmt: skip
    assert list(ranges) == list(PARAMETERS)
    for name, (low, high) in ranges.items():
        values = column(drawn, name)
        assert low - 1e-6 <= values.min() <= low + 0.02 * (high - low), name
        assert high - 0.02 * (high - low) <= values.max() <= high + 1e-6, name


@pytest.mark.parametrize(
    ("name", "chance"),
    [("crop", 0.5), ("contrast", 0.5), ("brightness", 0.5), ("blur", 0.25), ("jpeg", 0.25), ("mirror", 0.5)],
)
def test_each_step_happens_with_its_probability(name, chance):
    drawn = column(draw_parameters(np.arange(4000), ViewConfig(count=1, jpeg=1)), name)
    # Five standard deviations of a binomial of 4,000.
    assert abs((drawn != 0).mean() - chance) < 5 * np.sqrt(chance * (1 - chance) / 4000) + 0.003


def test_turns_are_even_and_parameters_go_their_own_ways():
    drawn = draw_parameters(np.arange(4000), ViewConfig(count=1))[:, 0]
    counts = np.bincount(column(drawn, "turns").astype(int))
    assert len(counts) == 4 and abs(counts - 1000).max() < 140
    together = ("mirror", "turns", "haematoxylin_gain", "haematoxylin_shift", "eosin_gain", "eosin_shift", "blur")
    related = np.corrcoef([column(drawn, name) for name in together])
    assert np.abs(related - np.eye(len(together))).max() < 0.08


def test_what_is_switched_off_stays_zero():
    off = ViewConfig(count=8, crop=0, stain=0, brightness=0, contrast=0, blur=0, jpeg=100)
    drawn = draw_parameters(np.arange(100), off)
    moved = [name for name in PARAMETERS if column(drawn, name).any()]
    assert moved == ["mirror", "turns"]


def test_unchanged_is_all_zero():
    assert unchanged().shape == (len(PARAMETERS),) and not unchanged().any()


def test_views_of_a_tile_are_those_of_every_version():
    """Stored views are drawn again by their tile's id: these numbers may never change."""
    drawn = draw_parameters(np.array([7, -8]), ViewConfig(count=2, seed=3))
    expected = [
        [0.04827, 0.82296, 0.73257, 0, 2, -0.08674, -0.04103, 0.00613, -0.02155, 0, 0, 0, 58],
        [0.01987, 0.26023, 0.64889, 1, 3, -0.08703, 0.05386, 0.00138, 0.03038, 0, 0, -0.04123, 0],
    ]
    np.testing.assert_allclose(drawn[[0, 1], [0, 1]], expected, atol=1e-5)
