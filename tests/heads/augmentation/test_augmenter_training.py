"""Training of a latent network: what is kept, how many steps are taken, and how often it compiles."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from embedstore.config import ViewConfig
from embedstore.views import PARAMETERS, draw_parameters
from heads.augmentation import augmenter_training as training
from heads.augmentation.augmenter_fit import augmenter_inputs
from heads.augmentation.augmenter_training import TrainedAugmenter, train_augmenter
from heads.augmentation.view_pairs import ViewPairs
from heads.config import AugmenterConfig
from heads.splitting.splits import TEST, TRAIN, VALID
from tests.heads.view_stores import augment

pytestmark = pytest.mark.slow

DIM = 6
VIEWS = ViewConfig(count=2)
CONFIG = AugmenterConfig(
    chunks=2, width=8, heads=2, steps=25, evaluate_every=10, batch=32, learning_rate=1e-2, bootstrap=0
)


def pairs_of(n: int = 60, *, seed: int = 0) -> ViewPairs:
    """Views that are their tile's vector times 0.7, and a little noise; the test part holds what no number should."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, DIM)) + 1
    part = np.select([np.arange(n) % 5 == 0, np.arange(n) % 5 == 1], [TEST, VALID], TRAIN).astype(np.int8)
    views = 0.7 * vectors[:, None] + 0.05 * rng.normal(size=(n, 2, DIM))
    views[part == TEST] = np.nan
    return ViewPairs(
        version=1,
        views_version=1,
        vectors=np.where((part == TEST)[:, None], np.nan, vectors).astype(np.float16),
        views=views.astype(np.float16),
        parameters=draw_parameters(np.arange(n), VIEWS),
        part=part,
        group=np.arange(n),
        notes=(),
    )


def trained(config: AugmenterConfig = CONFIG, pairs: ViewPairs | None = None) -> TrainedAugmenter:
    pairs = pairs or pairs_of()
    return train_augmenter(config, pairs, augmenter_inputs(pairs, VIEWS))


def valid_error(made: TrainedAugmenter, pairs: ViewPairs) -> float:
    """Mean squared error of the validation views, in standard deviations."""
    valid = pairs.part == VALID
    own, done = np.repeat(pairs.vectors[valid], 2, axis=0), pairs.parameters[valid].reshape(-1, len(PARAMETERS))
    predicted = np.asarray(augment(made.network, made.arrays, jnp.asarray(own), jnp.asarray(done)))
    return float((((predicted - pairs.views[valid].reshape(-1, DIM)) / np.asarray(made.arrays.std)) ** 2).mean())


def test_it_takes_so_many_steps_and_looks_at_the_end_of_each_round():
    assert [score.step for score in trained().evaluations] == [10, 20, 25]


def test_what_is_kept_is_the_best_look():
    pairs = pairs_of()
    made = trained(replace(CONFIG, learning_rate=0.3), pairs)
    best = max(made.evaluations, key=lambda score: score.explained)
    start = train_augmenter(replace(CONFIG, steps=1, learning_rate=1e-12), pairs, augmenter_inputs(pairs, VIEWS))
    assert made.step == (best.step if best.explained > 0 else 0)
    explained = 1 - valid_error(made, pairs) / valid_error(start, pairs)
    np.testing.assert_allclose(explained, max(best.explained, 0), atol=2e-4)


def test_what_never_gets_better_is_left_as_it_began():
    pairs = pairs_of()
    made = trained(replace(CONFIG, learning_rate=1e4), pairs)
    assert made.step == 0
    vectors = pairs.vectors[pairs.part == TRAIN]
    out = augment(made.network, made.arrays, jnp.asarray(vectors), jnp.asarray(pairs.parameters[: len(vectors), 0]))
    np.testing.assert_array_equal(out, vectors.astype(np.float32))


def test_nothing_of_the_test_part_reaches_it():
    """Its vectors are NaN."""
    made = trained()
    assert made.step > 0 and np.isfinite(made.evaluations[-1].explained) and made.evaluations[-1].explained > 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(made.arrays))


def test_the_same_seed_gives_the_same_numbers():
    one, same, other = (trained(replace(CONFIG, seed=seed)) for seed in (0, 0, 1))
    assert one.evaluations == same.evaluations != other.evaluations


def test_a_few_tiles_more_or_another_rate_compile_nothing():
    trained()
    before = training._round._cache_size()
    trained(pairs=pairs_of(63, seed=1))
    trained(replace(CONFIG, steps=30, learning_rate=1e-3, weight_decay=0.1, identity=0.0, seed=5))
    assert training._round._cache_size() == before


def test_the_identity_term_keeps_tiles_that_nothing_is_done_to():
    pairs = pairs_of()
    nothing = jnp.zeros((10, len(PARAMETERS)))
    vectors = pairs.vectors[pairs.part == TRAIN][:10]

    def drift(identity: float) -> float:
        made = trained(replace(CONFIG, steps=200, identity=identity), pairs)
        return float(np.square(augment(made.network, made.arrays, jnp.asarray(vectors), nothing) - vectors).mean())

    assert drift(3.0) < 0.3 * drift(0.0)
