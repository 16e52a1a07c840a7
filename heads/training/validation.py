"""Scores of heads on their validation rows while they are fitted, in JAX; smaller is better.

What is reported of a head is computed by `heads.evaluation.metrics`.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float16, Int

from heads.networks.losses import loss_and_weight, mask_logits
from heads.networks.models import Network, Parameters, apply, standardise
from heads.training.grid import Grid, Program, stream_moments
from heads.training.problem import Problem


def score(
    metric: str,
    logits: Float[Array, "n k"],
    targets: Float[Array, "n k"],
    counted: Bool[Array, " n"],
    weights: Float[Array, "2 k"],
    present: Bool[Array, " k"],
    softmax: Bool[Array, ""],
    kinds: frozenset[str],
) -> Float[Array, ""]:
    """Score of one head on its validation rows.

    Args:
        metric: `loss` (weighted cross-entropy), `balanced_accuracy` or `auroc` (macro over classes; as 1 − it).
        counted: Rows that count; the others are padding.
    """
    if metric == "loss":
        loss, weight = loss_and_weight(logits, targets, weights, present, softmax, 0.0, kinds)
        return jnp.where(counted, loss, 0.0).sum() / jnp.maximum(jnp.where(counted, weight, 0.0).sum(), 1e-9)
    positive = (targets > 0.5) & counted[:, None] & present[None]
    negative = (targets <= 0.5) & counted[:, None] & present[None]
    if metric == "balanced_accuracy":
        return 1 - _balanced_accuracy(logits, positive, negative, softmax)
    margin = jnp.where(softmax, logits - _others(logits), logits)
    defined = positive.any(0) & negative.any(0)
    return 1 - _mean(_auroc(margin, positive, negative), defined)


def _mean(values: Float[Array, " k"], defined: Bool[Array, " k"]) -> Float[Array, ""]:
    return jnp.where(defined, values, 0.0).sum() / jnp.maximum(defined.sum(), 1)


def _balanced_accuracy(
    logits: Float[Array, "n k"], positive: Bool[Array, "n k"], negative: Bool[Array, "n k"], softmax: Bool[Array, ""]
) -> Float[Array, ""]:
    """Mean recall of the classes that occur; with sigmoids, mean of each class's sensitivity and specificity."""
    decided = jnp.where(softmax, logits >= logits.max(-1, keepdims=True), logits > 0)
    sensitivity = (decided & positive).sum(0) / jnp.maximum(positive.sum(0), 1)
    specificity = (~decided & negative).sum(0) / jnp.maximum(negative.sum(0), 1)
    has_positive, has_negative = positive.any(0), negative.any(0)
    both = _mean((sensitivity + specificity) / 2, has_positive & has_negative)
    return jnp.where(softmax, _mean(sensitivity, has_positive), both)


def _auroc(
    margin: Float[Array, "n k"], positive: Bool[Array, "n k"], negative: Bool[Array, "n k"]
) -> Float[Array, " k"]:
    """Area under the ROC curve of each class, by midranks (Mann & Whitney 1947)."""
    counted = positive | negative
    ordered = jnp.sort(jnp.where(counted, margin, jnp.inf), axis=0)
    rank = jnp.stack(
        [
            jnp.searchsorted(ordered[:, k], margin[:, k], side="left")
            + jnp.searchsorted(ordered[:, k], margin[:, k], side="right")
            for k in range(margin.shape[-1])
        ],
        axis=1,
    )
    n_pos, n_neg = positive.sum(0), negative.sum(0)
    rank_sum = jnp.where(positive, (rank + 1) / 2, 0.0).sum(0)
    return (rank_sum - n_pos * (n_pos + 1) / 2) / jnp.maximum(n_pos * n_neg, 1)


def _others(logits: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """log Σ exp of the other classes' logits: p = sigmoid(logit − this), so that ranks are those of probabilities."""
    k = logits.shape[-1]
    if k == 1:
        return jnp.zeros_like(logits)
    masked = jnp.where(jnp.eye(k, dtype=bool)[None], -jnp.inf, logits[:, None, :])
    top = masked.max(-1)
    return top + jnp.log(jnp.exp(masked - top[..., None]).sum(-1))


#: Rows of one matrix product where validation rows go through all heads of a fold.
BLOCK_ROWS = 2048


def validate(
    program: Program, problem: Problem, grid: Grid, parameters: Parameters
) -> Float[Array, "streams folds heads"]:
    """Score of every head on its fold's validation rows."""
    validated = jax.vmap(partial(_validate_fold, program, problem, grid), in_axes=(1, 0, 0, 0, 1, 1), out_axes=1)
    standards = stream_moments(problem, len(jax.tree.leaves(parameters)[0]))
    return validated(parameters, problem.valid_x, problem.valid_rows, problem.weights, *standards)


def _validate_fold(
    program: Program,
    problem: Problem,
    grid: Grid,
    parameters: Parameters,
    vectors: Float16[Array, "n dim"],
    rows: Int[Array, " n"],
    weights: Float[Array, "tasks 2 k"],
    shift: Float[Array, "streams dim"],
    scale: Float[Array, "streams dim"],
) -> Float[Array, "streams heads"]:
    logits = fold_logits(program.network, parameters, (vectors, problem.mean, problem.std), shift, scale)
    at = jnp.maximum(rows, 0)

    def of_head(logits: Float[Array, "n k"], task: Int[Array, ""]) -> Float[Array, ""]:
        present, targets = problem.present[task], problem.targets[task][at].astype(jnp.float32)
        counted = (rows >= 0) & problem.known[task][at]
        return score(
            program.metric, mask_logits(logits, present), targets, counted, weights[task], present,
            problem.softmax[task], program.losses,
        )  # fmt: skip

    return jax.vmap(jax.vmap(of_head), in_axes=(0, None))(logits, grid.task)


def fold_logits(
    network: Network,
    parameters: Parameters,
    vectors: tuple[Float16[Array, "n dim"], Float[Array, " dim"], Float[Array, " dim"]],
    shift: Float[Array, "streams dim"],
    scale: Float[Array, "streams dim"],
) -> Float[Array, "streams heads n k"]:
    """Logits of a fold's heads for stored vectors, block by block.

    Args:
        parameters: (streams, heads, …) each.
        vectors: Stored vectors (n, dim), with the mean and standard deviation that standardise them.
        shift, scale: (streams, dim), on top of that.
    """
    stored, mean, std = vectors
    n = len(stored)
    block = min(BLOCK_ROWS, n)
    blocks = jnp.pad(stored, ((0, -n % block), (0, 0))).reshape(-1, block, stored.shape[-1])

    def of_block(block: Float16[Array, "block dim"]) -> Float[Array, "streams heads block k"]:
        x = standardise(block, mean, std)
        heads = jax.vmap(lambda p, shift, scale: apply(network, p, x, shift, scale, None), in_axes=(0, None, None))
        return jax.vmap(heads)(parameters, shift, scale)

    logits = jax.lax.map(of_block, blocks)  # (blocks, streams, heads, block, k)
    return jnp.moveaxis(logits, 0, 2).reshape(*logits.shape[1:3], -1, logits.shape[-1])[:, :, :n]
