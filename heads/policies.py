"""Policies of augmentation that a search tries when the user leaves the choice to validation data."""

from heads.config import AugmentConfig

#: None; and each kind of arithmetic on vectors.
ARITHMETIC = (
    AugmentConfig(),
    AugmentConfig(noise=0.5),
    AugmentConfig(dropout=0.3),
    AugmentConfig(mixup=0.4),
    AugmentConfig(interpolate=0.5),
    AugmentConfig(extrapolate=0.5),
)
VIEWS = (AugmentConfig(views=0.7),)
LEARNED = (AugmentConfig(learned=0.7),)


def search_policies(*, views: bool, learned: bool) -> tuple[AugmentConfig, ...]:
    """What `--augment search` tries.

    Args:
        views: The collection has stored views.
        learned: There is a latent augmenter of its extractor.
    """
    return ARITHMETIC + (VIEWS if views else ()) + (LEARNED if learned else ())
