"""The one program that fits a grid: what shares it does not change what comes out, and it is compiled once."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heads.config import AugmentConfig
from heads.devices import padded
from heads.evaluate import _sampling_weights
from heads.splitting.splits import TRAIN, UNUSED
from heads.training.adamw import fit_on_device, fit_streamed
from heads.training.problem import build_problem, draw_batch, draw_chances
from tests.heads.training.problems import folds_of, grid, make_program, problem_of, two_classes

pytestmark = pytest.mark.slow

EVERYTHING = AugmentConfig(noise=0.2, dropout=0.1, mixup=0.3, interpolate=0.4, extrapolate=0.2)


def on_device(x: np.ndarray) -> jax.Array:
    return jnp.asarray(np.pad(x, ((0, padded(len(x)) - len(x)), *((0, 0),) * (x.ndim - 1))))


def arrays(fitted) -> list[np.ndarray]:
    return [np.asarray(a) for a in jax.tree.leaves(fitted)]


@contextmanager
def compilations() -> Iterator[list[str]]:
    """Names of what is compiled meanwhile."""
    found: list[str] = []

    def heard(event: str, seconds: float, **_) -> None:
        if event.endswith("backend_compile_duration"):
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(heard)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(heard)


def test_a_head_learns_what_can_be_learnt():
    x, targets = two_classes()
    problem = problem_of(x, targets, folds_of(len(x), 1))
    fitted = fit_on_device(make_program(16), problem, grid(), on_device(x))
    kernel, bias = np.asarray(fitted.parameters["kernel"][...])[0, 0, 0], np.asarray(fitted.parameters["bias"][...])
    standard = (x.astype(np.float32) - np.asarray(problem.mean)) / np.asarray(problem.std)
    right = ((standard @ kernel)[:, 0] + bias[0, 0, 0] > 0) == targets[:, 1]
    assert right[np.asarray(problem.parts)[0, : len(x)] == 2].mean() > 0.9


@pytest.mark.parametrize("augment", [AugmentConfig(), EVERYTHING])
def test_streamed_equals_on_device(augment: AugmentConfig):
    x, targets = two_classes()
    problem = problem_of(x, targets, folds_of(len(x), 3))
    program, heads = make_program(16, augment=augment), grid(rates=(1e-3, 1e-2), seeds=(0, 1), augment=augment)
    asked: list[int] = []

    def fetch(rows: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return x[np.minimum(rows, len(x) - 1)]

    for one, other in zip(
        arrays(fit_on_device(program, problem, heads, on_device(x))),
        arrays(fit_streamed(program, problem, heads, fetch)),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert len(asked) >= program.rounds


def test_the_same_key_gives_the_same_head_and_another_seed_another():
    x, targets = two_classes()
    problem, program = problem_of(x, targets, folds_of(len(x), 1)), make_program(16, augment=EVERYTHING)
    first, again, other = (
        arrays(fit_on_device(program, problem, grid(seeds=(seed,), augment=EVERYTHING), on_device(x)))
        for seed in (0, 0, 1)
    )
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_a_head_of_a_grid_is_the_head_alone():
    """A seed, learning rate and fold come out as if nothing else had been fitted beside them."""
    x, targets = two_classes()
    parts = folds_of(len(x), 3)
    program = make_program(16)
    together = fit_on_device(
        program, problem_of(x, targets, parts), grid(rates=(1e-3, 1e-2), seeds=(0, 1)), on_device(x)
    )
    alone = fit_on_device(program, problem_of(x, targets, parts), grid(rates=(1e-2,), seeds=(1,)), on_device(x))
    for a, b in zip(arrays(together.parameters), arrays(alone.parameters), strict=True):
        np.testing.assert_allclose(a[1, :, 1], b[0, :, 0], rtol=2e-4, atol=2e-5)


def test_a_fold_is_not_touched_by_rows_that_it_does_not_train_on():
    """Vectors of a fold's test rows may be anything: neither its batches, mixing included, nor its scaling see them."""
    x, targets = two_classes()
    parts = folds_of(len(x), 3)
    broken = x.copy()
    held_out = parts[0] == 2
    broken[held_out] = np.float16(60_000)
    flipped = np.where(held_out[:, None], ~targets, targets)
    program, heads = make_program(16, augment=EVERYTHING, steps=50), grid(augment=EVERYTHING)
    found = [
        fit_on_device(program, problem_of(v, t, parts[:1]), heads, on_device(v))
        for v, t in ((x, targets), (broken, flipped))
    ]
    for a, b in zip(arrays(found[0].parameters), arrays(found[1].parameters), strict=True):
        np.testing.assert_array_equal(a, b)


def test_each_fold_standardises_by_its_own_training_rows():
    x, targets = two_classes()
    parts = folds_of(len(x), 3)
    problem = problem_of(x, targets, parts)
    for f, fold in enumerate(parts):
        own = x[fold == TRAIN].astype(np.float64)
        mean = np.asarray(problem.mean) + np.asarray(problem.shift)[0, f] * np.asarray(problem.std)
        std = np.asarray(problem.scale)[0, f] * np.asarray(problem.std)
        np.testing.assert_allclose(mean, own.mean(0), rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(std, own.std(0), rtol=1e-3)


def test_a_second_fit_compiles_nothing_and_a_few_labels_more_neither():
    x, targets = two_classes(700)
    program, heads, counts = make_program(16), grid(), []
    for n in (690, 690, 700):
        vectors, problem = on_device(x[:n]), problem_of(x[:n], targets[:n], folds_of(n, 3))
        jax.block_until_ready((vectors, problem))
        with compilations() as found:
            jax.block_until_ready(fit_on_device(program, problem, heads, vectors))
        counts.append(len(found))
    assert counts[0] > 0
    assert counts[1:] == [0, 0]


def test_heads_stop_by_validation_and_keep_their_best():
    x, targets = two_classes(200, 64)
    noise = np.random.default_rng(0).permutation(targets)  # nothing to learn: the best look is an early one
    problem = problem_of(x, noise, folds_of(len(x), 1))
    fitted = fit_on_device(make_program(64, steps=2000, patience=3), problem, grid(rates=(3e-2,)), on_device(x))
    assert int(fitted.best_step[0, 0, 0]) <= 300
    assert float(fitted.score[0, 0, 0]) < 1.5


def test_several_tasks_have_heads_of_their_own():
    x, targets = two_classes(classes=3)
    binary = np.stack([targets[:, 0], ~targets[:, 0]], axis=1)
    known = np.arange(len(x)) % 2 == 0
    problem = build_problem(
        x, [targets, binary], [np.ones(len(x), bool), known], folds_of(len(x), 1), [False, False],
        class_weights=True, balanced_sampling=False, seed=0,
    )  # fmt: skip
    assert np.asarray(problem.present).tolist() == [[True] * 3, [True, False, False]]
    assert np.asarray(problem.softmax).tolist() == [True, False]
    assert not np.asarray(problem.known)[1, 1]


def test_balanced_sampling_draws_classes_equally():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 4)).astype(np.float16)
    targets = np.eye(2, dtype=bool)[(np.arange(1000) < 50).astype(int)]
    problem = problem_of(x, targets, np.full((1, 1000), TRAIN, np.int8), balanced_sampling=True)
    drawn = draw_batch(problem.groups, 20_000, jnp.float32(0), jnp.float32(0), 1, key=jax.random.key(0))
    rare = targets[np.asarray(drawn.rows), 1]
    assert rare.mean() == pytest.approx(0.5, abs=0.02)
    assert (targets[np.asarray(drawn.same), 1] == rare).all()
    assert len(np.unique(np.asarray(drawn.rows)[rare])) == 50


@pytest.mark.parametrize("several", [False, True])
def test_the_effect_of_balanced_sampling_is_known(several: bool):
    """Of each fold: heads take it out of their logits, so that probabilities are those of the classes as they come."""
    rng = np.random.default_rng(0)
    common = rng.random(3000) < 0.2
    rare = common & (rng.random(3000) < 0.3)
    targets = np.stack([common, rare] if several else [~common, common & ~rare, rare], axis=1)
    x, parts = rng.normal(size=(3000, 4)).astype(np.float16), folds_of(3000, 5)
    parts[0, :1000] = np.where(rare[:1000], UNUSED, parts[0, :1000])  # a fold with fewer of a class than others
    problem = problem_of(x, targets, parts, several=several, balanced_sampling=True)
    drawn = draw_batch(problem.groups, 200_000, jnp.float32(0), jnp.float32(0), 1, key=jax.random.key(0))
    chances = draw_chances(problem.groups)
    assert chances.sum() == pytest.approx(1, abs=1e-6)
    assert (chances[:3000] > 0).tolist() == (parts == TRAIN).any(axis=0).tolist() and not chances[3000:].any()
    for fold in parts[[0, 3]]:
        trained, rows = fold == TRAIN, np.asarray(drawn.rows)
        seen, natural = targets[rows[trained[rows]]].mean(axis=0), targets[trained].mean(axis=0)
        absence, presence = _sampling_weights(targets[trained], chances[:3000][trained], False)
        np.testing.assert_allclose(presence, seen / natural, rtol=0.05)
        np.testing.assert_allclose(absence, (1 - seen) / (1 - natural), rtol=0.05)


def test_a_latent_augmentation_is_of_the_tile_and_not_of_its_view():
    x, targets = two_classes(400)
    problem = problem_of(x, targets, folds_of(400, 1))
    drawn = draw_batch(problem.groups, 20_000, jnp.float32(0.8), jnp.float32(0.4), 3, key=jax.random.key(0))
    learned, view = np.asarray(drawn.learned), np.asarray(drawn.view)
    assert learned.mean() == pytest.approx(0.4, abs=0.02)
    assert (view[learned] == 0).all()
    assert (view[~learned] > 0).mean() == pytest.approx(0.8, abs=0.02)


def test_views_are_drawn_as_often_as_asked():
    x, targets = two_classes(400)
    views = np.stack([x, x + np.float16(1), x + np.float16(2)], axis=1)
    problem = problem_of(views, targets, folds_of(400, 1))
    augment = AugmentConfig(views=1.0)
    seen = []

    def fetch(rows: np.ndarray) -> np.ndarray:
        seen.append(rows % 3)
        return views.reshape(-1, 16)[np.minimum(rows, 1199)]

    fit_streamed(make_program(16, augment=augment, views=3), problem, grid(augment=augment), fetch)
    assert set(np.unique(np.concatenate(seen))) == {1, 2}
