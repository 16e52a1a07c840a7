"""Policies of augmentation: the default, and those that a search tries.

They follow from `benchmarks/paper.py` and `augment_default.py`: a tile's views improve most heads, above all with few
labels, and cost some extractors; latent augmentations add little, and arithmetic on vectors does next to nothing.

Where batches are drawn, `views` and `learned` are the shares of draws that take a copy instead of the original. A fit
that sees all rows at every step has the copies beside the originals; there they are the weights of the copies' losses,
which is what drawing converges to, without its noise.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.store import Collection, Store
from heads.augmentation.augmenter import Augmenter, augmenters_for
from heads.config import AugmentConfig, FitConfig

NONE = AugmentConfig()
#: Each kind of arithmetic on vectors.
ARITHMETIC = (
    AugmentConfig(noise=0.5),
    AugmentConfig(dropout=0.3),
    AugmentConfig(mixup=0.4),
    AugmentConfig(interpolate=0.5),
    AugmentConfig(extrapolate=0.5),
)
VIEWS = AugmentConfig(views=0.8)
LEARNED = AugmentConfig(learned=0.8)
BOTH = AugmentConfig(views=0.8, learned=0.4)
#: Most vectors, copies included, that `auto` fits by L-BFGS, which reads all of them at every step.
MAX_LBFGS_VECTORS = 50_000
#: Standard errors by which a default policy has to beat none. Half of one kept 67 % of what views gain, and a whole one
#: 50 %, with as little harm where they lose (docs/decisions/augment-default.md).
DEFAULT_MARGIN = 0.5
#: Latent augmentations of a row in such a fit; their transforms are drawn once.
DRAWS = 4


def default_policies(rows: int, *, views: int, learned: bool) -> tuple[AugmentConfig, ...]:
    """The policies of tile heads on some rows where the configuration names none: none, and what there is to try.

    Copies are tried only while L-BFGS can fit them all: heads on many rows gain little from copies.

    Args:
        views: Number of stored views of a labelled tile.
        learned: Whether there is one latent augmenter for the vectors.
    """
    for policy, available, copies in ((VIEWS, views, views), (LEARNED, learned, DRAWS)):
        if available and rows * (1 + copies) <= MAX_LBFGS_VECTORS:
            return NONE, policy
    return (NONE,)


def search_policies(*, views: bool, learned: bool) -> tuple[AugmentConfig, ...]:
    """The policies of a search: none, and shares of views and latent augmentations; without these, kinds of arithmetic.

    Args:
        views: Whether the collection has stored views.
        learned: Whether there is one latent augmenter for its vectors.
    """
    tried: tuple[AugmentConfig, ...] = (AugmentConfig(views=0.4), VIEWS) if views else ()
    tried += (AugmentConfig(learned=0.4), LEARNED) if learned else ()
    tried += (BOTH,) if views and learned else ()
    return (NONE, *(tried or ARITHMETIC))


def resolve_search(store: Store, collection: Collection, config: FitConfig) -> FitConfig:
    """The configuration with `"search"` replaced by the policies that suit the collection and the model.

    Raises:
        ConfigError: the optimiser cannot fit a policy of the search.
    """
    if not config.searches:
        return config
    if not config.fits_tiles:
        return config.with_search(search_policies(views=False, learned=False))
    views = store.views(collection.name)
    learned = config.augmenter is not None or len(augmenters_for(store, collection)) == 1
    return config.with_search(search_policies(views=views.exists() and len(views) > 0, learned=learned))


def count_augmented_rows(config: FitConfig, views: int) -> int:
    """The number of vectors of a row, of which `views` are stored, the original among them."""
    return views + (DRAWS if config.uses("learned") else 0)


def view_shares(config: FitConfig, views: int) -> NDArray[np.float64]:
    """(policies, views) share of draws that take each of a row's stored vectors, the original first.

    Latent augmentations, which are made from the original when they are drawn, are left out.
    """
    shares = np.zeros((len(config.policies), views))
    for share, policy in zip(shares, config.policies, strict=True):
        share[:] = policy.views / max(views - 1, 1)
        share[0] = 1 - policy.views if views > 1 else 1
    return shares


def augmented_rows(
    config: FitConfig, vectors: NDArray[Any], augmenter: Augmenter | None
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Vectors (n, copies, dim), the original first, and the weight of each copy in each policy, (policies, copies).

    Latent augmentations are made from the original, also where `views` is on.

    Args:
        vectors: (n, dim), or with stored views (n, 1 + views, dim).
    """
    stored = vectors if vectors.ndim == 3 else vectors[:, None]
    drawn, learned = count_augmented_rows(config, 0), np.array([[policy.learned] for policy in config.policies])
    shares = view_shares(config, stored.shape[1]) * (1 - learned)
    if not drawn:
        return stored, shares
    shares = np.hstack([shares, np.repeat(learned / drawn, drawn, axis=1)])
    assert augmenter is not None, "a policy has learned on, and there is no augmenter"
    bank, rng = np.asarray(augmenter.arrays.bank), np.random.default_rng(config.seed)
    made = [augmenter.augment(stored[:, 0], bank[rng.integers(0, len(bank), len(stored))]) for _ in range(drawn)]
    most = np.finfo(stored.dtype).max  # an extractor's vectors may lie near it
    added = np.stack(made, axis=1).clip(-most, most).astype(stored.dtype)
    return np.concatenate([stored, added], axis=1), shares
