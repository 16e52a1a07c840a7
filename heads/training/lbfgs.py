"""Fit linear heads to their optimum: L-BFGS on all training vectors, all folds, tasks and strengths in one program.

The objective is scikit-learn's `LogisticRegression`: C · Σ wᵢ lossᵢ + ½ ‖kernel‖², the bias free, on vectors that are
standardised by each fold's training rows; divided by C · Σ wᵢ, so that all strengths are on one scale. A row with
copies, such as stored views, has the mean of their losses.

Dimensions of an embedding are correlated, and L-BFGS is slow on that: 420 iterations for MobileNetV2 at C = 1. It works
on other coordinates, in which the bound of the loss's Hessian (Böhning 1992) is the identity; the optimum is the same.
They are the principal axes, scaled for each strength: all heads share the one large matrix, so that going from one to
the other is one matrix product for all of them.
They are computed on the host: LAPACK within a JAX program on the CPU was seen to hang (jaxlib 0.10.2).

All heads, policies × folds × (tasks × strengths), are the first axis of every array, and examples are the last one.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Bool, Float, Float16
from numpy.typing import NDArray

from heads.devices import padded
from heads.networks.models import from_arrays, standardise
from heads.splitting.splits import TRAIN
from heads.training.grid import BestHeads, Grid, Program
from heads.training.minimise import Along, Numbers, minimise
from heads.training.problem import Problem
from heads.training.validation import validate

#: Rows that the curvature is estimated from: it only has to be about right.
CURVATURE_ROWS = 8192
#: Logit of a class that a task does not have, as the heads of all tasks have equally many.
_ABSENT = -1e9
_Tree = TypeVar("_Tree")


class _Losses(NamedTuple):
    """What each head minimises: Σ (weight · A(logits) − positive · logits) + ½ ridge ‖kernel‖².

    That is cross-entropy. A is log Σ exp over the classes of a softmax, and the softplus of each logit without one; its
    derivative is the probability.

    Attributes:
        positive: The weight of a row in the column of its class, 0 in the others.
        weight: Without a softmax the weight of a row in each column. With one, that of a row, alike in all columns;
            or a single column.
        ridge: Strength of the penalty.
        start: Logits where all parameters are 0: about −∞ of a class that the task does not have.
        softmax: Whether a head has a softmax.
    """

    positive: Float[Array, "heads k n"]
    weight: Float[Array, "heads k_or_1 n"]
    ridge: Float[Array, " heads"]
    start: Float[Array, "heads k"]
    softmax: Bool[Array, " heads"]


class _Coordinates(NamedTuple):
    """From the coordinates of the search to a kernel: axes @ (stretch · …). Its inputs are (x − shift) / scale."""

    axes: Float[Array, "dim dim"]
    stretch: Float[Array, "heads dim"]
    shift: Float[Array, "heads dim"]
    scale: Float[Array, "heads dim"]


class _Outputs(NamedTuple):
    """What is linear in the parameters, but for the start of the logits."""

    logits: Float[Array, "heads k n"]
    kernel: Float[Array, "heads k dim"]


def fit_lbfgs(
    program: Program, problem: Problem, grid: Grid, vectors: NDArray[Any], shares: NDArray[Any] | None = None, *,
    apart: bool = False,
) -> BestHeads:  # fmt: skip
    """Fit every head of a grid whose `learning_rate` is the strength C; `steps` are the most iterations.

    A stream is a policy of augmentation, as the optimum does not depend on a seed. Validation scores choose among
    strengths; nothing is stopped early.

    Args:
        vectors: (n, dim), one for each row of the problem, or (n, copies, dim), the original first.
        shares: (policies, copies) how much the loss of each copy counts, 1 in all; one policy of originals when None.
        apart: Fit policies one by one, each on the copies that count in it, instead of all in one program.
    """
    vectors = vectors if vectors.ndim == 3 else vectors[:, None]
    shares = np.eye(1, vectors.shape[1]) if shares is None else shares
    trained = np.flatnonzero((np.asarray(problem.parts)[:, : len(vectors)] == TRAIN).any(axis=0))
    padding = padded(len(trained)) - len(trained)
    sample = trained[:: -(-len(trained) // CURVATURE_ROWS)]
    x = (np.asarray(vectors[sample, 0], np.float32) - np.asarray(problem.mean)) / np.asarray(problem.std)
    axes, stretch = _whitening(x, len(trained), np.asarray(grid.learning_rate))

    def fit(policies: slice, copies: NDArray[np.intp] | slice) -> BestHeads:
        moments: dict[str, Any] = {name: np.asarray(getattr(problem, name))[policies] for name in ("shift", "scale")}
        own = problem._replace(**moments)
        stored = np.moveaxis(vectors[trained][:, copies], 1, 0)
        stored = np.pad(stored, ((0, 0), (0, padding), (0, 0))).reshape(-1, stored.shape[-1])
        losses, coordinates = _pose(own, grid, trained, padding, shares[policies, copies], axes, stretch)
        return _fit(program, own, grid, stored, losses, coordinates)

    if not apart:
        return fit(slice(None), slice(None))
    fits = [fit(slice(p, p + 1), np.flatnonzero(share)) for p, share in enumerate(shares)]
    return jax.tree.map(lambda *a: np.concatenate(a), *fits)


def _pose(
    problem: Problem, grid: Grid, trained: NDArray[np.intp], padding: int, shares: NDArray[np.floating],
    axes: NDArray[np.float32], stretch: NDArray[np.float32],
) -> tuple[_Losses, _Coordinates]:  # fmt: skip
    """What all heads minimise on the copies of some rows, and their coordinates; laid out on the host."""
    policy, fold, head = np.indices((len(shares), len(problem.weights), len(grid.task))).reshape(3, -1)
    task = np.asarray(grid.task)[head]
    positive, weight, total = _row_weights(problem, trained, padding)
    of_copies = shares.astype(np.float32)[policy, None, :, None]
    losses: dict[str, Any] = {
        name: (a[fold, task][:, :, None] * of_copies).reshape(len(head), a.shape[2], -1)
        for name, a in (("positive", positive), ("weight", weight))
    }
    losses["ridge"] = 1 / (np.asarray(grid.learning_rate)[head] * total[fold, task])
    losses["start"] = np.where(np.asarray(problem.present), np.float32(0), _ABSENT)[task]
    losses["softmax"] = np.asarray(problem.softmax)[task]
    coordinates: dict[str, Any] = {"axes": axes, "stretch": stretch[head]}
    for name, moment in (("shift", problem.shift), ("scale", problem.scale)):  # may be of one policy, for all
        coordinates[name] = np.asarray(moment)[policy * len(moment) // len(shares), fold]
    return _Losses(**losses), _Coordinates(**coordinates)


def _row_weights(
    problem: Problem, trained: NDArray[np.intp], padding: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """`positive` and `weight` (folds, tasks, k, rows) of `_Losses`, of 1 in all, and what they were in all."""
    targets = np.asarray(problem.targets)[:, trained].transpose(0, 2, 1)  # (tasks, k, rows)
    softmax = np.asarray(problem.softmax)[:, None, None]
    present = np.asarray(problem.present)[:, :, None]
    absence, presence = (np.asarray(problem.weights)[:, :, i, :, None] * present for i in (0, 1))
    positive = targets * presence
    weight = positive + (1 - targets) * absence
    of_row = np.where(softmax, positive, weight).sum(axis=2, keepdims=True)
    weight = of_row if softmax.all() else np.where(softmax, of_row, weight)
    in_train = np.asarray(problem.parts)[:, None, trained] == TRAIN
    counted = (in_train & np.asarray(problem.known)[:, trained])[:, :, None]
    total = np.where(counted, of_row, 0).sum(axis=(2, 3))
    share = np.where(counted, 1 / total[:, :, None, None], 0)
    positive, weight = (np.pad(a * share, (*[(0, 0)] * 3, (0, padding))).astype(np.float32) for a in (positive, weight))
    return positive, weight, total.astype(np.float32)


def _whitening(
    x: NDArray[np.float32], n: int, strengths: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """V (dim, dim) and 1/√(λ + 1/Cn) (heads, dim) of V λ Vᵀ = XᵀX / 4n, for a sample of n rows and each C."""
    values, axes = scipy.linalg.eigh((x.T @ x).astype(np.float64) / (4 * len(x)))
    floor = 1 / (strengths.astype(np.float64)[:, None] * n) + 1e-6
    return axes.astype(np.float32), (1 / np.sqrt(np.maximum(values, 0) + floor)).astype(np.float32)


@partial(jax.jit, static_argnums=0)
def _fit(
    program: Program,
    problem: Problem,
    grid: Grid,
    stored: Float16[Array, "n dim"],
    losses: _Losses,
    coordinates: _Coordinates,
) -> BestHeads:
    heads, k, n = losses.positive.shape
    dim = stored.shape[1]
    x = standardise(stored, problem.mean, problem.std)
    stretch, shift, scale = (a[:, None] for a in coordinates[1:])

    def linear(parameters: Float[Array, "heads size"]) -> _Outputs:
        of_classes = parameters.reshape(heads, k, dim + 1)
        stretched, bias = of_classes[:, :, :dim] * stretch, of_classes[:, :, dim]
        kernel = (stretched.reshape(-1, dim) @ coordinates.axes.T).reshape(heads, k, dim)
        scaled = kernel / scale
        offset = bias - (scaled * shift).sum(axis=2)
        return _Outputs((scaled.reshape(-1, dim) @ x.T).reshape(heads, k, n) + offset[:, :, None], kernel)

    start = _Outputs(jnp.broadcast_to(losses.start[:, :, None], (heads, k, n)), jnp.zeros((heads, k, dim)))
    optimum, steps = minimise(
        linear,
        partial(_gradient, program.losses, losses),
        partial(_along, program.losses, losses),
        start,
        size=k * (dim + 1),
        most=program.steps,
    )
    shape = -1, len(problem.weights), len(grid.task)
    kernel, bias = linear(optimum).kernel, optimum.reshape(*shape, k, dim + 1)[..., dim]
    parameters = from_arrays({"kernel": kernel.reshape(*shape, k, dim).swapaxes(-2, -1), "bias": bias})
    return BestHeads(parameters, validate(program, problem, grid, parameters), steps.reshape(shape))


def _gradient(kinds: frozenset[str], losses: _Losses, outputs: _Outputs) -> _Outputs:
    """Of the losses, in logits and kernel."""
    probability = _of_kind(
        kinds, losses, lambda: jax.nn.softmax(outputs.logits, axis=1), lambda: jax.nn.sigmoid(outputs.logits)
    )
    return _Outputs(losses.weight * probability - losses.positive, losses.ridge[:, None, None] * outputs.kernel)


def _along(kinds: frozenset[str], losses: _Losses, start: _Outputs, change: _Outputs) -> Along:
    """Value, slope and curvature of the losses at a length (heads,) along a line."""
    products = (start.kernel, start.kernel), (start.kernel, change.kernel), (change.kernel, change.kernel)
    squared, crossed, changed = (losses.ridge * (a * b).sum(axis=(1, 2)) for a, b in products)

    def at(length: Numbers) -> tuple[Numbers, Numbers, Numbers]:
        logits = start.logits + length[:, None, None] * change.logits
        value, slope, bend = _of_kind(
            kinds,
            losses,
            lambda: _softmax(losses, logits, change.logits),
            lambda: _sigmoid(losses, logits, change.logits),
        )
        penalty = squared / 2 + length * crossed + length**2 * changed / 2
        return value + penalty, slope + crossed + length * changed, bend + changed

    return at


def _of_kind(
    kinds: frozenset[str], losses: _Losses, softmax: Callable[[], _Tree], sigmoid: Callable[[], _Tree]
) -> _Tree:
    """What heads with a softmax have, or those without."""
    if len(kinds) == 1:
        return softmax() if "softmax" in kinds else sigmoid()
    return jax.tree.map(
        lambda a, b: jnp.where(jnp.broadcast_to(losses.softmax.reshape(-1, *[1] * (a.ndim - 1)), a.shape), a, b),
        softmax(), sigmoid(),
    )  # fmt: skip


def _softmax(
    losses: _Losses, logits: Float[Array, "heads k n"], change: Float[Array, "heads k n"]
) -> tuple[Numbers, Numbers, Numbers]:
    top = logits.max(axis=1, keepdims=True)
    exponential = jnp.exp(logits - top)
    total = exponential.sum(axis=1, keepdims=True)
    probability = exponential / total
    mean = (probability * change).sum(axis=1, keepdims=True)
    value = losses.positive * (top + jnp.log(total) - logits)
    slope = (losses.weight * probability - losses.positive) * change
    bend = losses.weight * probability * (change - mean) ** 2
    return value.sum(axis=(1, 2)), slope.sum(axis=(1, 2)), bend.sum(axis=(1, 2))


def _sigmoid(
    losses: _Losses, logits: Float[Array, "heads k n"], change: Float[Array, "heads k n"]
) -> tuple[Numbers, Numbers, Numbers]:
    exponential = jnp.exp(-jnp.abs(logits))
    smaller = exponential / (1 + exponential)  # of the probabilities of yes and no
    probability = jnp.where(logits >= 0, 1 - smaller, smaller)
    value = losses.weight * (jnp.maximum(logits, 0) + jnp.log1p(exponential)) - losses.positive * logits
    slope = (losses.weight * probability - losses.positive) * change
    bend = losses.weight * smaller * (1 - smaller) * change**2
    return value.sum(axis=(1, 2)), slope.sum(axis=(1, 2)), bend.sum(axis=(1, 2))
