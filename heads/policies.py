"""Policies of augmentation: what is taken where the user leaves it open, and what a search tries.

They follow from `benchmarks/paper.py`: a tile's views and latent augmentations raise linear heads at every number of
labels, most with few, and heads of a hidden layer with few; arithmetic on vectors does next to nothing.
"""

from heads.config import AugmentConfig
from heads.copies import DRAWS, MOST_VECTORS

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


def default_policy(rows: int, *, views: int, learned: bool) -> AugmentConfig:
    """What heads of some rows are fitted with where nothing is asked for.

    As many copies of a row as a fit to the optimum takes: with many rows, which are the less in need of them, none.

    Args:
        views: Stored views of a labelled tile.
        learned: There is one latent augmenter of their extractor.
    """
    for policy, there, copies in (
        (BOTH, views and learned, views + DRAWS), (VIEWS, views, views), (LEARNED, learned, DRAWS)
    ):  # fmt: skip
        if there and rows * (1 + copies) <= MOST_VECTORS:
            return policy
    return NONE


def search_policies(*, views: bool, learned: bool) -> tuple[AugmentConfig, ...]:
    """What `--augment search` tries: no augmentation; with them, shares of views and latent augmentations; else each
    kind of arithmetic.

    Args:
        views: The collection has stored views.
        learned: There is one latent augmenter of its extractor.
    """
    tried: tuple[AugmentConfig, ...] = (AugmentConfig(views=0.4), VIEWS) if views else ()
    tried += (AugmentConfig(learned=0.4), LEARNED) if learned else ()
    tried += (BOTH,) if views and learned else ()
    return (NONE, *(tried or ARITHMETIC))
