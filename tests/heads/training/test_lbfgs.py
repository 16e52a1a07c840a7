"""Linear heads at their optimum, beside scikit-learn's LogisticRegression on the same objective."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from heads.augmentation.feature_space import Strengths
from heads.config import AugmentConfig
from heads.splitting.splits import TRAIN, UNUSED
from heads.training.grid import make_grid
from heads.training.lbfgs import fit_lbfgs
from heads.training.minimise import _lowest
from heads.training.problem import build_problem
from tests.heads.training.problems import folds_of, grid, make_program, problem_of, two_classes

pytestmark = pytest.mark.slow
STRENGTHS = (1e-3, 1e-1, 1.0)


def lowest(along) -> float:
    """Where a function of a line is lowest, by the search."""
    slope = jax.grad(along)
    at = jax.vmap(lambda t: (along(t), slope(t), jax.grad(slope)(t)))
    return float(_lowest(at, 1)[0])


@pytest.mark.parametrize(("classes", "weights"), [(2, True), (2, False), (4, True)])
def test_optimum_is_scikit_learns(classes: int, weights: bool):
    x, targets = two_classes(500, classes=classes)
    parts = folds_of(len(x), 3)
    columns = 1 if classes == 2 else classes
    fitted = fit_lbfgs(
        make_program(16, columns=columns, steps=500),
        problem_of(x, targets, parts, class_weights=weights), grid(rates=STRENGTHS), x,
    )  # fmt: skip
    kernels = np.asarray(fitted.parameters["kernel"][...])
    for f, fold in enumerate(parts):
        rows = fold == TRAIN
        own = StandardScaler().fit_transform(x[rows].astype(np.float64))
        for c, strength in enumerate(STRENGTHS):
            reference = LogisticRegression(
                C=strength, class_weight="balanced" if weights else None, tol=1e-8, max_iter=5000
            ).fit(own, targets[rows].argmax(1))
            np.testing.assert_allclose(kernels[0, f, c].T, reference.coef_, atol=1e-3)


def test_copies_of_a_row_share_its_loss_as_scikit_learn_weighs_them():
    x, targets = two_classes(300, classes=3)
    rng = np.random.default_rng(1)
    copies = np.stack([x, *(x + rng.normal(size=x.shape) for _ in range(2))], axis=1).astype(np.float16)
    shares = np.array([[1, 0, 0], [0.2, 0.4, 0.4], [0, 0, 1]])
    parts = folds_of(len(x), 2)
    problem = problem_of(copies, targets, parts, class_weights=False)
    fitted = fit_lbfgs(make_program(16, columns=3, steps=500), problem, grid(rates=STRENGTHS), copies, shares)
    kernels = np.asarray(fitted.parameters["kernel"][...])
    assert kernels.shape[:3] == (3, 2, 3) and fitted.score.shape == (3, 2, 3)
    for (p, share), (f, fold) in itertools.product(enumerate(shares), enumerate(parts)):
        rows = fold == TRAIN
        scaler = StandardScaler().fit(copies[rows].reshape(-1, 16).astype(np.float64))
        own = scaler.transform(copies[rows].reshape(-1, 16).astype(np.float64))
        weights = np.tile(share, rows.sum())
        for c, strength in enumerate(STRENGTHS):
            reference = LogisticRegression(C=strength, tol=1e-8, max_iter=5000)
            reference.fit(own, np.repeat(targets[rows].argmax(1), 3), sample_weight=weights)
            np.testing.assert_allclose(kernels[p, f, c].T, reference.coef_, atol=1e-3)


def test_correlated_dimensions_do_not_slow_it_down():
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 40)) + 0.01 * rng.normal(size=(400, 40))
    targets = np.eye(2, dtype=bool)[(mixed[:, 0] + rng.normal(size=400) > 0).astype(int)]
    x = mixed.astype(np.float16)
    problem = problem_of(x, targets, folds_of(400, 1))
    fitted = fit_lbfgs(make_program(40, steps=200), problem, grid(rates=(0.1,)), x)
    assert int(fitted.best_step[0, 0, 0]) < 40


@pytest.mark.parametrize(
    "along",
    [
        lambda t: (t - 0.01) ** 2,
        lambda t: (t - 3.0) ** 2 + (t - 3.0) ** 4,
        lambda t: jnp.logaddexp(0.0, -5 * t) + 0.01 * t**2,  # flat beyond: Newton's step from 1 is long
        lambda t: jnp.logaddexp(0.0, -40 * t) + jnp.logaddexp(0.0, 40 * (t - 1.2)) + 1e-4 * t**2,  # bends sharply
        lambda t: jnp.abs(t - 0.3) ** 1.2,
    ],
)
def test_the_search_along_a_line_ends_near_the_lowest_point(along):
    found = minimize_scalar(lambda t: float(along(t)), bounds=(0, 10), method="bounded", options={"xatol": 1e-6})
    fall, most = float(along(0.0) - along(lowest(along))), float(along(0.0)) - found.fun
    assert 0.9 * most < fall <= most + 1e-5


@pytest.mark.parametrize(
    ("slopes", "at"),
    [((0.05, -2.4, 17.1, -1.04), (3.2, 3.3, 5.87, -1.14)), ((-2.21, 116.8, -1.96, 1.86), (0.85, 4.61, 0.89, 5.47))],
)
def test_a_search_that_would_end_uphill_ends_where_it_last_fell(slopes, at):
    slopes, at = jnp.array(slopes), jnp.array(at)

    def along(t):
        return jnp.logaddexp(0.0, slopes * (t - at)).sum()

    assert float(along(lowest(along))) < 0.2 * float(along(0.0))


def test_tasks_of_two_and_of_four_classes_fit_together_as_they_do_alone():
    x, four = two_classes(400, classes=4)
    two = np.stack([four[:, :2].any(1), four[:, 2:].any(1)], axis=1)
    known = np.arange(400) % 3 > 0, np.ones(400, bool)
    parts, options = folds_of(400, 2), {"class_weights": True, "balanced_sampling": False, "seed": 0}
    problem = build_problem(x, [two, four], known, parts, [False, False], **options)
    both = replace(make_program(16, columns=4, steps=500), losses=frozenset({"softmax", "sigmoid"}))
    strengths = [Strengths.of(AugmentConfig())]
    fitted = fit_lbfgs(both, problem, make_grid(2, STRENGTHS, (0.0,), strengths, (0,)), x)
    kernels = np.asarray(fitted.parameters["kernel"][...])
    for task, (targets, of_task, columns) in enumerate([(two, known[0], 1), (four, known[1], 4)]):
        alone = build_problem(x, [targets], [of_task], np.where(of_task, parts, UNUSED), [False], **options)
        alone = alone._replace(mean=problem.mean, std=problem.std, shift=problem.shift, scale=problem.scale)
        optimum = fit_lbfgs(make_program(16, columns=columns, steps=500), alone, grid(rates=STRENGTHS), x)
        own = kernels[:, :, task * 3 : task * 3 + 3, :, :columns]
        np.testing.assert_allclose(own, np.asarray(optimum.parameters["kernel"][...]), atol=2e-3)
        assert not kernels[:, :, task * 3 : task * 3 + 3, :, columns:].any()
