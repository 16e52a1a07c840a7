"""Losses and validation scores beside references."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score

from heads.networks.losses import loss_and_weight, mask_logits
from heads.training.validation import score

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(300, 3)).astype(np.float32)
CLASSES = RNG.integers(3, size=300)
TARGETS = np.eye(3, dtype=np.float32)[CLASSES]
ONES = jnp.ones((2, 3))
HERE = jnp.ones(3, bool)
BOTH = frozenset({"softmax", "sigmoid"})


def mean_loss(logits, targets, weights=ONES, present=HERE, softmax=True, focal=0.0, kinds=BOTH) -> float:
    loss, weight = loss_and_weight(
        jnp.asarray(logits), jnp.asarray(targets), weights, present, jnp.asarray(softmax), focal, kinds
    )
    return float(loss.sum() / weight.sum())


def test_softmax_is_cross_entropy():
    assert mean_loss(LOGITS, TARGETS) == pytest.approx(log_loss(CLASSES, jax.nn.softmax(LOGITS)), rel=1e-5)


def test_class_weights_are_sample_weights():
    weights = np.array([0.5, 1.0, 4.0], np.float32)
    found = mean_loss(LOGITS, TARGETS, jnp.stack([jnp.ones(3), jnp.asarray(weights)]))
    expected = log_loss(CLASSES, jax.nn.softmax(LOGITS), sample_weight=weights[CLASSES])
    assert found == pytest.approx(expected, rel=1e-5)


def test_one_column_is_logistic_regression():
    found = mean_loss(LOGITS[:, :1], TARGETS[:, :1], jnp.ones((2, 1)), jnp.ones(1, bool), False)
    assert found == pytest.approx(log_loss(CLASSES == 0, jax.nn.sigmoid(LOGITS[:, 0])), rel=1e-5)


def test_several_classes_are_sums_of_binary_cross_entropies():
    several = (RNG.random((300, 3)) < 0.4).astype(np.float32)
    loss, _ = loss_and_weight(jnp.asarray(LOGITS), jnp.asarray(several), ONES, HERE, jnp.asarray(False), 0.0, BOTH)
    np.testing.assert_allclose(loss, optax.sigmoid_binary_cross_entropy(LOGITS, several).sum(1), rtol=1e-5)


def test_focal_loss_is_optax_s():
    found, _ = loss_and_weight(
        jnp.asarray(LOGITS[:, :1]), jnp.asarray(TARGETS[:, :1]), jnp.ones((2, 1)), jnp.ones(1, bool),
        jnp.asarray(False), 2.0, frozenset({"sigmoid"}),
    )  # fmt: skip
    expected = optax.sigmoid_focal_loss(jnp.asarray(LOGITS[:, 0]), jnp.asarray(TARGETS[:, 0]), gamma=2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("focal", [0.0, 2.0])
@pytest.mark.parametrize("softmax", [True, False])
def test_gradients_are_finite_where_a_head_is_sure(softmax: bool, focal: float):
    sure = jnp.asarray([[60.0, -60.0, -60.0], [-60.0, 60.0, -60.0]])
    gradient = jax.grad(
        lambda x: loss_and_weight(x, jnp.eye(3)[:2], ONES, HERE, jnp.asarray(softmax), focal, BOTH)[0].sum()
    )(sure)
    assert bool(jnp.isfinite(gradient).all())


def test_a_task_of_fewer_columns_is_the_same_task():
    present = jnp.array([True, True, False])
    masked = mask_logits(jnp.asarray(LOGITS), present)
    targets = np.eye(3, dtype=np.float32)[CLASSES % 2]
    narrow = mean_loss(LOGITS[:, :2], targets[:, :2], jnp.ones((2, 2)), jnp.ones(2, bool))
    assert mean_loss(masked, targets, present=present) == pytest.approx(narrow, rel=1e-5)


@pytest.mark.parametrize("ties", [False, True])
def test_scores_are_scikit_learns(ties: bool):
    logits = np.round(LOGITS) if ties else LOGITS
    counted = RNG.random(300) < 0.8

    def found(metric: str) -> float:
        one = score(
            metric, jnp.asarray(logits), jnp.asarray(TARGETS), jnp.asarray(counted), ONES, HERE, jnp.asarray(True), BOTH
        )
        return 1 - float(one)

    p = np.asarray(jax.nn.softmax(logits), np.float64)[counted]
    auroc = roc_auc_score(CLASSES[counted], p / p.sum(1, keepdims=True), multi_class="ovr")
    assert found("auroc") == pytest.approx(auroc, abs=2e-3 if ties else 1e-5)  # ties in float32 and float64 differ
    if not ties:
        said = logits[counted].argmax(1)
        assert found("balanced_accuracy") == pytest.approx(balanced_accuracy_score(CLASSES[counted], said), abs=1e-6)
