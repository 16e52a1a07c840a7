"""Losses of heads: softmax and sigmoid tasks side by side in one program; `heads.tasks` says which task is which."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

_NEVER = -1e9


def mask_logits(raw: Float[Array, "*n k"], present: Bool[Array, " k"]) -> Float[Array, "*n k"]:
    """Logits, about −∞ in columns that a task does not have: the tasks of a program share an array."""
    return jnp.where(jnp.broadcast_to(present, raw.shape), raw, _NEVER)


def loss_and_weight(
    logits: Float[Array, "n k"],
    targets: Float[Array, "n k"],
    weights: Float[Array, "2 k"],
    present: Bool[Array, " k"],
    softmax: Bool[Array, ""],
    focal: float,
    kinds: frozenset[str],
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """Weighted cross-entropy of each row and its weight; the mean is sum(loss) / sum(weight).

    Args:
        logits: As `mask_logits` gives them.
        targets: Shares of each class.
        weights: Weights of the absence and of the presence of each class.
        present: Columns that the task has.
        softmax: Whether classes exclude each other; else each column is a sigmoid.
        focal: Exponent of the focal loss (Lin et al. 2017, arXiv 1708.02002); 0 is cross-entropy.
        kinds: Which of `softmax` and `sigmoid` the program's tasks need (static).
    """
    terms = []
    if "softmax" in kinds:
        terms.append(_softmax_terms(logits, targets, weights[1], focal))
    if "sigmoid" in kinds:
        terms.append(_sigmoid_terms(logits, targets, weights, present, focal))
    if len(terms) == 1:
        return terms[0]
    (softmax_loss, softmax_weight), (sigmoid_loss, sigmoid_weight) = terms
    return jnp.where(softmax, softmax_loss, sigmoid_loss), jnp.where(softmax, softmax_weight, sigmoid_weight)


def _softmax_terms(
    logits: Float[Array, "n k"], targets: Float[Array, "n k"], weights: Float[Array, " k"], focal: float
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    log_p = jax.nn.log_softmax(logits)
    weighted = targets * weights[None]
    return -(weighted * _focus(log_p, focal) * log_p).sum(-1), weighted.sum(-1)


def _sigmoid_terms(
    logits: Float[Array, "n k"],
    targets: Float[Array, "n k"],
    weights: Float[Array, "2 k"],
    present: Bool[Array, " k"],
    focal: float,
) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    minus_log_no = jax.nn.softplus(logits)
    minus_log_yes = minus_log_no - logits
    of_yes, of_no = (jnp.where(present, weight, 0.0)[None] for weight in (weights[1], weights[0]))
    yes, no = targets * of_yes, (1 - targets) * of_no
    loss = yes * _focus(-minus_log_yes, focal) * minus_log_yes + no * _focus(-minus_log_no, focal) * minus_log_no
    return loss.sum(-1), (yes + no).sum(-1)


def _focus(log_p: Float[Array, "n k"], focal: float) -> Float[Array, "n k"] | float:
    """(1 − p)^focal; the floor keeps its gradient finite where p is 1."""
    return jnp.maximum(-jnp.expm1(log_p), 1e-6) ** focal if focal else 1.0
