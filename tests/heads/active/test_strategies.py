"""Query strategies on planted groups of vectors."""

import numpy as np
import pytest

from heads.active.strategies import POOL_STRATEGIES, Pool, choose_first, choose_tiles, uncertainty_of

DIM, OF_GROUP = 16, 30


def pool_of(groups: int = 5, *, marked: int | None = None, seed: int = 0) -> tuple[Pool, np.ndarray]:
    """Tight groups of vectors, of three slides in turn; uncertainty grows with the row. And the group of each row."""
    rng = np.random.default_rng(seed)
    centres = np.linalg.qr(rng.normal(size=(DIM, DIM)))[0][:groups]
    group = np.repeat(np.arange(groups), OF_GROUP)
    rng.shuffle(group)
    vectors = centres[group] + 0.02 * rng.normal(size=(len(group), DIM))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    known = centres[:0] if marked is None else centres[[marked]]
    n = len(group)
    return Pool(
        vectors=vectors,
        slide=(np.arange(n) % 3).astype(np.int32),
        patient=np.minimum(np.arange(n) % 3, 1).astype(np.int32),
        marked=known.astype(np.float32),
        uncertainty=np.linspace(0, 1, n, dtype=np.float32),
    ), group


def choose(pool: Pool, n: int, strategy, *, seed: int = 0, per_slide: int = 1000, per_patient: int = 1000):
    rng = np.random.default_rng(seed)
    return choose_tiles(pool, n, strategy, rng=rng, per_slide=per_slide, per_patient=per_patient).tolist()


@pytest.mark.parametrize("strategy", sorted(POOL_STRATEGIES))
def test_every_strategy_chooses_no_tile_twice_and_keeps_to_the_limits(strategy):
    pool, _ = pool_of()
    chosen = choose(pool, 40, strategy)
    assert len(chosen) == len(set(chosen)) == 40
    assert choose(pool, 40, strategy) == chosen
    limited = choose(pool, 40, strategy, per_slide=5, per_patient=7)
    assert np.bincount(pool.slide[limited]).max() <= 5 and np.bincount(pool.patient[limited]).max() <= 7
    assert len(limited) == 12  # five of the one patient's slide, seven of the other's two
    everything = choose(pool, 1000, strategy)
    assert len(everything) == len(pool)
    empty = Pool(**{name: value[:0] for name, value in vars(pool).items()})
    assert choose(empty, 3, strategy) == []


@pytest.mark.parametrize("strategy", ["diverse", "typical"])
def test_one_of_each_group_and_none_of_that_which_is_labelled(strategy):
    pool, group = pool_of(groups=5)
    assert set(group[choose(pool, 5, strategy)]) == set(range(5))
    pool, group = pool_of(groups=5, marked=2)
    assert set(group[choose(pool, 4, strategy)]) == {0, 1, 3, 4}


def test_typical_tiles_are_near_their_group_and_the_largest_group_comes_first():
    pool, group = pool_of(groups=3)
    rows = np.concatenate([np.flatnonzero(group == 0)[:4], np.flatnonzero(group > 0)])
    small = Pool(**{name: value[rows] if name != "marked" else value for name, value in vars(pool).items()})
    chosen = choose(small, 3, "typical")
    assert group[rows[chosen]][-1] == 0
    outlier = small.vectors.copy()
    outlier[7] = -outlier[7]
    lonely = Pool(**{**vars(small), "vectors": outlier})
    assert 7 in choose(lonely, 4, "diverse") and 7 not in choose(lonely, 3, "typical")


def test_uncertain_tiles_are_those_of_the_largest_entropy_and_of_all_groups():
    pool, group = pool_of(groups=5)
    n = len(pool)
    assert choose(pool, 3, "uncertainty") == [n - 1, n - 2, n - 3]
    both = choose(pool, 5, "uncertain-diverse", seed=1)
    assert both[0] == n - 1 and min(both) >= n - round(n / 4) and len(set(group[both])) == 5


def test_uncertainty_is_the_share_of_the_largest_entropy():
    assert uncertainty_of(np.array([[0.5, 0.5], [1, 0], [0.9, 0.1]], np.float32), multi_label=False) == pytest.approx(
        [1, 0, 0.469], abs=1e-3
    )
    assert uncertainty_of(np.full((1, 4), 0.25, np.float32), multi_label=False) == pytest.approx([1])
    assert uncertainty_of(np.array([[1, 0.5], [0, 1]], np.float32), multi_label=True) == pytest.approx([1, 0], abs=1e-6)


def test_first_of_an_order_with_at_most_so_many_of_a_slide():
    slide = np.array([0, 0, 0, 1, 0, 1, 2], np.int32)
    assert choose_first(4, slide, 2).tolist() == [0, 1, 3, 5]
    assert choose_first(7, slide, 1).tolist() == [0, 3, 6]
