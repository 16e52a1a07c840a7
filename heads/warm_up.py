"""Compile what the first fit of a collection waits for, on vectors that mean nothing."""

import numpy as np

from heads.bags import Bags
from heads.config import FitConfig
from heads.devices import prepare_jax
from heads.evaluate import evaluate_head
from heads.examples import Examples
from heads.splitting.splits import make_split
from heads.training.training import train

#: Up to 256 examples share a program; they need five groups, for five folds.
EXAMPLES = 60


def warm_up(dim: int) -> None:
    """Fit a linear head of two classes to a few random vectors, as the first marks of a task would be.

    A fit of up to 256 tiles of as many dimensions, and its predictions, then compile nothing: 0.1 s instead of 3.
    """
    prepare_jax()
    config = FitConfig(bootstrap=0)
    rng = np.random.default_rng(0)
    of = np.arange(EXAMPLES) % 2
    targets = np.stack([of == 0, of == 1], axis=1)
    vectors = (rng.normal(size=(EXAMPLES, dim)) + of[:, None]).astype(np.float16)
    group = np.arange(EXAMPLES, dtype=np.int32)
    examples = Examples(
        version=0,
        ids=np.arange(EXAMPLES),
        bags=Bags.single(np.arange(EXAMPLES)),
        tasks=("",),
        classes=(("0", "1"),),
        targets=(targets,),
        known=(np.ones(EXAMPLES, bool),),
        group=group,
        group_names=tuple(map(str, group)),
        split=make_split(config.split, groups=group, strata=targets, classes=("0", "1")),
    )
    evaluate_head(config, examples, train(config, examples, vectors), 0)
