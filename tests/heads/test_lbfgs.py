"""Linear heads at their optimum, beside scikit-learn's LogisticRegression on the same objective."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from heads.lbfgs import fit_lbfgs
from heads.splits import TRAIN
from tests.heads.posed import folds_of, grid, problem_of, program_of, two_classes

pytestmark = pytest.mark.slow
STRENGTHS = (1e-3, 1e-1, 1.0)


@pytest.mark.parametrize(("classes", "weights"), [(2, True), (2, False), (4, True)])
def test_optimum_is_scikit_learns(classes: int, weights: bool):
    x, targets = two_classes(500, classes=classes)
    parts = folds_of(len(x), 3)
    columns = 1 if classes == 2 else classes
    fitted = fit_lbfgs(
        program_of(16, columns=columns, steps=500),
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


def test_correlated_dimensions_do_not_slow_it_down():
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 40)) + 0.01 * rng.normal(size=(400, 40))
    targets = np.eye(2, dtype=bool)[(mixed[:, 0] + rng.normal(size=400) > 0).astype(int)]
    x = mixed.astype(np.float16)
    problem = problem_of(x, targets, folds_of(400, 1))
    fitted = fit_lbfgs(program_of(40, steps=200), problem, grid(rates=(0.1,)), x)
    assert int(fitted.best_step[0, 0, 0]) < 40
