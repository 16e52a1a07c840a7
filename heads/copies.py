"""Augmentation for a fit that sees all rows at every step: a row's stored views and latent augmentations beside it.

Where batches are drawn, `views` and `learned` are how often a copy is drawn instead of the original. Here they are how
much the losses of the copies count: what drawing converges to, without its noise.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from heads.augmenter import Augmenter
from heads.config import FitConfig

#: Most vectors, copies and all, that are fitted to the optimum unless that is asked for: it reads all at every step.
MOST_VECTORS = 50_000
#: Latent augmentations of a row, of transforms that are drawn once.
DRAWS = 4


def count_copies(config: FitConfig, views: int) -> int:
    """How many vectors stand for a row, of which `views` are stored, the original among them."""
    return views + (DRAWS if config.uses("learned") else 0)


def lay_copies(
    config: FitConfig, vectors: NDArray[Any], augmenter: Augmenter | None
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Vectors (n, copies, dim), the original first, and how much each copy counts in each policy, (policies, copies).

    Of a share of `learned` that is on beside `views`, latent augmentations are of the original.

    Args:
        vectors: (n, dim), or with stored views (n, 1 + views, dim).
    """
    stored = vectors if vectors.ndim == 3 else vectors[:, None]
    views, drawn = stored.shape[1] - 1, count_copies(config, 0)
    shares = np.zeros((len(config.policies), 1 + views + drawn))
    for share, policy in zip(shares, config.policies, strict=True):
        share[0] = (1 - policy.views) * (1 - policy.learned)
        share[1 : 1 + views] = policy.views * (1 - policy.learned) / max(views, 1)
        share[1 + views :] = policy.learned / max(drawn, 1)
    if not drawn:
        return stored, shares
    assert augmenter is not None, "a policy has learned on, and there is no augmenter"
    bank, rng = np.asarray(augmenter.latent.bank), np.random.default_rng(config.seed)
    made = [augmenter.augment(stored[:, 0], bank[rng.integers(0, len(bank), len(stored))]) for _ in range(drawn)]
    most = np.finfo(stored.dtype).max  # an extractor's vectors may lie near it
    added = np.stack(made, axis=1).clip(-most, most).astype(stored.dtype)
    return np.concatenate([stored, added], axis=1), shares
