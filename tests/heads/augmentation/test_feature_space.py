"""Augmentation of vectors: what each kind does, jitted as eager, and nothing where its strength is zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from heads.augmentation.feature_space import (
    KINDS,
    Partners,
    Strengths,
    augment,
    dropout,
    extrapolate,
    interpolate,
    mixup,
    noise,
)
from heads.config import AugmentConfig

pytestmark = pytest.mark.slow

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (512, 6))
OTHER = jax.random.normal(jax.random.key(2), (512, 6)) + 5
TARGETS = jnp.eye(2)[jnp.arange(512) % 2][None]
PARTNERS = Partners(OTHER, OTHER[::-1], TARGETS[:, ::-1])
ALL = AugmentConfig(noise=0.3, dropout=0.2, mixup=0.4, interpolate=0.5, extrapolate=0.5, views=0.5)


def test_noise_is_of_the_strength_asked_for():
    assert float((noise(X, 0.3, key=KEY) - X).std()) == pytest.approx(0.3, rel=0.05)


def test_dropout_takes_its_share_to_the_mean_and_keeps_sums():
    out = dropout(jnp.ones((200, 100)), 0.25, key=KEY)
    assert float((out == 0).mean()) == pytest.approx(0.25, abs=0.02)
    assert float(out.mean()) == pytest.approx(1, abs=0.02)


def test_interpolation_lies_between_and_extrapolation_beyond():
    between, beyond = interpolate(X, OTHER, 0.5, key=KEY), extrapolate(X, OTHER, 0.5, key=KEY)
    share, past = (between - X) / (OTHER - X), (beyond - X) / (X - OTHER)
    for found in (share, past):
        np.testing.assert_allclose(found.max(1), found.min(1), atol=1e-3)  # one λ a vector
        assert float(found.min()) >= 0 and float(found.max()) <= 0.5 + 1e-3
        assert float(found.mean()) == pytest.approx(0.25, abs=0.02)


def test_mixup_mixes_targets_as_it_mixes_vectors():
    x, targets = mixup(X, TARGETS, PARTNERS.any, PARTNERS.any_targets, 0.4, key=KEY)
    share = ((x - PARTNERS.any) / (X - PARTNERS.any)).mean(1)
    np.testing.assert_allclose(targets.sum(-1), 1, rtol=1e-6)
    expected = share[None, :, None] * TARGETS + (1 - share)[None, :, None] * PARTNERS.any_targets
    np.testing.assert_allclose(targets, expected, atol=1e-4)
    assert float(share.min()) >= 0.5 - 1e-4  # each stays nearest to itself


@pytest.mark.parametrize("kind", KINDS)
def test_a_strength_of_zero_changes_nothing(kind: str):
    x, targets = augment(X, TARGETS, PARTNERS, Strengths.of(AugmentConfig()), frozenset({kind}), key=KEY)
    np.testing.assert_allclose(x, X, atol=1e-6)
    np.testing.assert_allclose(targets, TARGETS, atol=1e-6)


def test_jitted_equals_eager_and_the_same_key_gives_the_same():
    kinds = frozenset(KINDS)
    eager = augment(X, TARGETS, PARTNERS, Strengths.of(ALL), kinds, key=KEY)
    jitted = jax.jit(augment, static_argnums=4)(X, TARGETS, PARTNERS, Strengths.of(ALL), kinds, key=KEY)
    for a, b in zip(eager, jitted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    other, _ = augment(X, TARGETS, PARTNERS, Strengths.of(ALL), kinds, key=jax.random.key(9))
    assert float(jnp.abs(other - eager[0]).max()) > 0.1
