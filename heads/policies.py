"""Policies of augmentation that a search tries when the user leaves the choice to validation data."""

from heads.config import AugmentConfig

#: None; and each kind of arithmetic on vectors.
ARITHMETIC = (
    AugmentConfig(),
    AugmentConfig(noise=0.3),
    AugmentConfig(noise=1.0),
    AugmentConfig(dropout=0.3),
    AugmentConfig(mixup=0.4),
    AugmentConfig(interpolate=0.5),
    AugmentConfig(extrapolate=0.5),
)
VIEWS = (AugmentConfig(views=0.5), AugmentConfig(views=0.8))
LEARNED = (AugmentConfig(learned=0.5), AugmentConfig(learned=0.8))


def search_policies(*, views: bool, learned: bool) -> tuple[AugmentConfig, ...]:
    """What `--augment search` tries.

    Args:
        views: The collection has stored views.
        learned: There is a latent augmenter of its extractor.
    """
    return ARITHMETIC + (VIEWS if views else ()) + (LEARNED if learned else ())
