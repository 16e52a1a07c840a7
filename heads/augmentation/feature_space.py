"""Augmentation in feature space: what is done to a batch of stored vectors inside the training step.

Each kind is one function, named as in `AugmentConfig`. Kinds that are off cost nothing: they are not traced.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from heads.config import AugmentConfig

KINDS = ("noise", "dropout", "mixup", "interpolate", "extrapolate", "views", "learned")


class Strengths(NamedTuple):
    """An `AugmentConfig` as numbers that a traced program takes."""

    noise: Float[Array, ""]
    dropout: Float[Array, ""]
    mixup: Float[Array, ""]
    interpolate: Float[Array, ""]
    extrapolate: Float[Array, ""]
    views: Float[Array, ""]
    learned: Float[Array, ""]

    @classmethod
    def of(cls, config: AugmentConfig) -> "Strengths":
        numbers: list[Any] = [np.float32(getattr(config, kind)) for kind in KINDS]
        return cls(*numbers)


def active_kinds(*configs: AugmentConfig) -> frozenset[str]:
    """Which kinds any of the configurations uses."""
    return frozenset(kind for kind in KINDS for config in configs if getattr(config, kind))


class Partners(NamedTuple):
    """Vectors to mix with: of the same classes, and of any class; None where no kind in use wants them.

    Both come from places that are trained on in the same folds: what is mixed stays within a fold's training data.
    """

    same: Float[Array, "batch dim"] | None
    any: Float[Array, "batch dim"] | None
    any_targets: Float[Array, "tasks batch k"] | None


def augment(
    x: Float[Array, "batch dim"],
    targets: Float[Array, "tasks batch k"],
    partners: Partners,
    strengths: Strengths,
    kinds: frozenset[str],
    *,
    key: PRNGKeyArray,
) -> tuple[Float[Array, "batch dim"], Float[Array, "tasks batch k"]]:
    """Augment a batch; the same key gives the same batch.

    Args:
        x: Standardised vectors.
        targets: Shares of each class.
        kinds: Which kinds to apply (static); `views` and `learned` have been by then.
    """
    keys = dict(zip(KINDS, jax.random.split(key, len(KINDS)), strict=True))
    if "interpolate" in kinds:
        assert partners.same is not None
        x = interpolate(x, partners.same, strengths.interpolate, key=keys["interpolate"])
    if "extrapolate" in kinds:
        assert partners.same is not None
        x = extrapolate(x, partners.same, strengths.extrapolate, key=keys["extrapolate"])
    if "mixup" in kinds:
        assert partners.any is not None and partners.any_targets is not None
        x, targets = mixup(x, targets, partners.any, partners.any_targets, strengths.mixup, key=keys["mixup"])
    if "noise" in kinds:
        x = noise(x, strengths.noise, key=keys["noise"])
    if "dropout" in kinds:
        x = dropout(x, strengths.dropout, key=keys["dropout"])
    return x, targets


def noise(x: Float[Array, "n dim"], strength: Float[Array, ""], *, key: PRNGKeyArray) -> Float[Array, "n dim"]:
    """Gaussian noise, in standard deviations of each dimension."""
    return x + strength * jax.random.normal(key, x.shape, x.dtype)


def dropout(x: Float[Array, "n dim"], rate: Float[Array, ""], *, key: PRNGKeyArray) -> Float[Array, "n dim"]:
    """Dimensions set to their mean (zero, as vectors are standardised); the others grow, so that sums stay."""
    return jnp.where(jax.random.uniform(key, x.shape) < rate, 0.0, x / (1 - rate))


def interpolate(
    x: Float[Array, "n dim"], same: Float[Array, "n dim"], most: Float[Array, ""], *, key: PRNGKeyArray
) -> Float[Array, "n dim"]:
    """z + λ(z' − z), λ uniform in [0, most], z' of the same class (DeVries & Taylor 2017, arXiv 1702.05538)."""
    share = most * jax.random.uniform(key, (len(x), 1))
    return x + share * (same - x)


def extrapolate(
    x: Float[Array, "n dim"], same: Float[Array, "n dim"], most: Float[Array, ""], *, key: PRNGKeyArray
) -> Float[Array, "n dim"]:
    """z + λ(z − z'), λ uniform in [0, most], z' of the same class (DeVries & Taylor 2017)."""
    return interpolate(x, same, -most, key=key)


def mixup(
    x: Float[Array, "n dim"],
    targets: Float[Array, "tasks n k"],
    other: Float[Array, "n dim"],
    other_targets: Float[Array, "tasks n k"],
    alpha: Float[Array, ""],
    *,
    key: PRNGKeyArray,
) -> tuple[Float[Array, "n dim"], Float[Array, "tasks n k"]]:
    """λz + (1 − λ)z' with the same of the targets, λ from Beta(α, α) (Zhang et al. 2018, arXiv 1710.09412)."""
    share = jax.random.beta(key, jnp.maximum(alpha, 1e-3), jnp.maximum(alpha, 1e-3), (len(x),))
    share = jnp.where(alpha > 0, jnp.maximum(share, 1 - share), 1.0)
    mixed = share[:, None] * x + (1 - share)[:, None] * other
    return mixed, share[None, :, None] * targets + (1 - share)[None, :, None] * other_targets
