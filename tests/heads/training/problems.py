"""Problems posed by hand: vectors of two or more classes, and the programs that fit them."""

import numpy as np
from numpy.typing import NDArray

from heads.augmentation.feature_space import Strengths, active_kinds
from heads.config import AugmentConfig
from heads.networks.models import make_network
from heads.splitting.splits import TEST, TRAIN, VALID
from heads.training.grid import Grid, Program, make_grid
from heads.training.problem import Problem, build_problem


def two_classes(n: int = 600, dim: int = 16, *, classes: int = 2, seed: int = 0):
    """Vectors (n, dim) float16 with means that differ by class and scales that differ by dimension, and targets."""
    rng = np.random.default_rng(seed)
    of = rng.integers(classes, size=n)
    means = rng.normal(size=(classes, dim))
    x = (rng.normal(size=(n, dim)) + means[of]) * rng.uniform(0.2, 5, dim) + rng.normal(size=dim) * 3
    return x.astype(np.float16), np.eye(classes, dtype=bool)[of]


def folds_of(n: int, folds: int) -> NDArray[np.int8]:
    """Parts (folds, n): each row tested once and validated once; with one fold, a holdout."""
    fold = np.arange(n) % max(folds, 5)
    return np.stack([np.where(fold == f, TEST, np.where(fold == f + 1, VALID, TRAIN)) for f in range(folds)]).astype(
        np.int8
    )


def problem_of(x, targets, parts, *, several: bool = False, **options) -> Problem:
    asked = {"class_weights": True, "balanced_sampling": False, "seed": 0} | options
    return build_problem(x, [targets], [np.ones(len(x), bool)], parts, [several], **asked)


def make_program(dim: int, *, columns: int = 1, model: str = "linear", augment: AugmentConfig | None = None, **options):
    asked = {"batch": 64, "steps": 200, "every": 50, "patience": 100, "metric": "loss", "focal": 0.0, "views": 1}
    return Program(
        network=make_network(model, dim=dim, classes=columns, hidden=16, dropout=0.2),
        model=model, dim=dim, columns=columns, hidden=16, dropout=0.2,
        losses=frozenset({"sigmoid" if columns == 1 else "softmax"}),
        kinds=(active_kinds(augment or AugmentConfig()),), **(asked | options),
    )  # fmt: skip


def grid(rates=(1e-2,), decays=(0.0,), seeds=(0,), augment: AugmentConfig | None = None) -> Grid:
    return make_grid(1, rates, decays, [Strengths.of(augment or AugmentConfig())], seeds)
