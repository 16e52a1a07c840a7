"""Samples posed by hand: classes, patients and vectors of candidates that tell them apart well or not at all."""

import numpy as np
from numpy.typing import NDArray

from heads.bags import Bags
from heads.config import SplitConfig
from heads.examples import Examples
from heads.splitting.splits import make_split


def examples_of(classes: NDArray[np.intp], group: NDArray[np.intp], *, names=("a", "b"), folds: int = 3) -> Examples:
    n = len(classes)
    targets = np.eye(len(names), dtype=bool)[classes]
    split = make_split(SplitConfig(folds=folds), groups=group, strata=targets, classes=names)
    return Examples(
        version=1, ids=np.arange(n), bags=Bags.single(np.arange(n)), tasks=("t",), classes=(tuple(names),),
        targets=(targets,), known=(np.ones(n, bool),), group=group.astype(np.int32),
        group_names=tuple(map(str, range(int(group.max()) + 1))), split=split,
    )  # fmt: skip


def sample(n: int = 300, *, classes: int = 2, patients: int = 20, seed: int = 0) -> Examples:
    """Each patient has tiles of every class."""
    rng = np.random.default_rng(seed)
    names = tuple("abcdef"[:classes])
    return examples_of(rng.integers(classes, size=n), np.arange(n) % patients, names=names)


def vectors_of(examples: Examples, *, signal: float, dim: int = 16, seed: int = 0) -> NDArray[np.float16]:
    """Noise, and `signal` along a direction a class."""
    rng = np.random.default_rng(seed)
    classes = examples.targets[0].argmax(axis=1)
    directions = np.linalg.qr(rng.normal(size=(dim, dim)))[0][: classes.max() + 1]
    return (rng.normal(size=(len(classes), dim)) + signal * directions[classes]).astype(np.float16)
