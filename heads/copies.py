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


def share_views(config: FitConfig, views: int) -> NDArray[np.float64]:
    """How often each of a row's stored vectors, the original first, is drawn in each policy, (policies, views).

    Latent augmentations, which are made of the original as they are drawn, are left out.
    """
    shares = np.zeros((len(config.policies), views))
    for share, policy in zip(shares, config.policies, strict=True):
        share[:] = policy.views / max(views - 1, 1)
        share[0] = 1 - policy.views if views > 1 else 1
    return shares


def lay_copies(
    config: FitConfig, vectors: NDArray[Any], augmenter: Augmenter | None
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Vectors (n, copies, dim), the original first, and how much each copy counts in each policy, (policies, copies).

    Of a share of `learned` that is on beside `views`, latent augmentations are of the original.

    Args:
        vectors: (n, dim), or with stored views (n, 1 + views, dim).
    """
    stored = vectors if vectors.ndim == 3 else vectors[:, None]
    drawn, learned = count_copies(config, 0), np.array([[policy.learned] for policy in config.policies])
    shares = share_views(config, stored.shape[1]) * (1 - learned)
    if not drawn:
        return stored, shares
    shares = np.hstack([shares, np.repeat(learned / drawn, drawn, axis=1)])
    assert augmenter is not None, "a policy has learned on, and there is no augmenter"
    bank, rng = np.asarray(augmenter.latent.bank), np.random.default_rng(config.seed)
    made = [augmenter.augment(stored[:, 0], bank[rng.integers(0, len(bank), len(stored))]) for _ in range(drawn)]
    most = np.finfo(stored.dtype).max  # an extractor's vectors may lie near it
    added = np.stack(made, axis=1).clip(-most, most).astype(stored.dtype)
    return np.concatenate([stored, added], axis=1), shares
