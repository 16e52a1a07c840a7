"""Fit linear heads to their optimum: L-BFGS on all training vectors, all folds, tasks and strengths in one program.

The objective is scikit-learn's `LogisticRegression`: C · Σ wᵢ lossᵢ + ½ ‖kernel‖², the bias free, on vectors that are
standardised by each fold's training rows; divided by C · Σ wᵢ, so that all strengths are on one scale. A row with
copies, such as stored views, has the mean of their losses.

Dimensions of an embedding are correlated, and L-BFGS is slow on that: 420 iterations for MobileNetV2 at C = 1. It works
on other coordinates, in which the bound of the loss's Hessian (Böhning 1992) is the identity; the optimum is the same.
They are the principal axes, scaled for each strength: all heads share the one large matrix, so that going from one to
the other is one matrix product for all of them.
They are computed on the host: LAPACK within a JAX program on the CPU was seen to hang (jaxlib 0.10.2).

Logits are linear in the parameters, so the search along a direction is one on logits and needs no product with the data
(30 heads on 2,000 x 1,280 took 44 CPU-s with a search that made them, and take 1.7; the same optimum).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.linalg
from jaxtyping import Array, Bool, Float, Int, Int8
from numpy.typing import NDArray

from heads.devices import padded
from heads.networks.losses import loss_and_weight, mask_logits
from heads.networks.models import Parameters, apply, standardise, with_kernel
from heads.splitting.splits import TRAIN
from heads.training.grid import BestHeads, Grid, Program, stream_moments
from heads.training.problem import Problem
from heads.training.validation import validate

#: A head has converged where no component of the gradient exceeds this; float32 carries little more.
TOLERANCE = 1e-5
MEMORY = 20
LINE_SEARCH_STEPS = 8  # for the lowest point along a line; each costs next to nothing
ROUNDING = 1e-4  # of a loss: more than the error of float32, so that a search near the optimum does not stall
#: Rows that the curvature is estimated from: it only has to be about right.
CURVATURE_ROWS = 8192


_Tree = TypeVar("_Tree")
#: Logits and kernel: what is linear in the parameters.
_Outputs = tuple[Float[Array, "rows k"], Float[Array, "dim k"]]


class _Rows(NamedTuple):
    """Rows that any fold trains on, padded; and from the coordinates of the search to kernels: axes @ (scale · …)."""

    vectors: Float[Array, "copies rows dim"]
    shares: Float[Array, "policies copies"]
    targets: Int8[Array, "tasks rows k"]
    counted: Bool[Array, "folds tasks rows"]
    axes: Float[Array, "dim dim"]
    scale: Float[Array, "heads dim"]


class _State(NamedTuple):
    parameters: Parameters
    gradient: Parameters
    outputs: _Outputs  # the linear map at the parameters
    memory: Any
    step: jax.Array


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
    if shares is None:
        shares = np.eye(1, vectors.shape[1])
    parts = np.asarray(problem.parts)[:, : len(vectors)]
    trained = np.flatnonzero((parts == TRAIN).any(axis=0))
    padding = padded(len(trained)) - len(trained)
    counted = (parts[:, None, trained] == TRAIN) & np.asarray(problem.known)[None, :, trained]
    sample = trained[:: -(-len(trained) // CURVATURE_ROWS)]
    x = (np.asarray(vectors[sample, 0], np.float32) - np.asarray(problem.mean)) / np.asarray(problem.std)
    axes, scale = _coordinates(x, len(trained), np.asarray(grid.learning_rate))
    targets = jnp.asarray(np.pad(np.asarray(problem.targets)[:, trained], ((0, 0), (0, padding), (0, 0))))
    counted_rows = jnp.asarray(np.pad(counted, ((0, 0), (0, 0), (0, padding))))

    def fit(policies: slice, copies: NDArray[np.intp] | slice) -> BestHeads:
        stored = np.moveaxis(vectors[trained][:, copies], 1, 0)
        rows = _Rows(
            vectors=jnp.asarray(np.pad(stored, ((0, 0), (0, padding), (0, 0)))),
            shares=jnp.asarray(shares[policies, copies], jnp.float32),
            targets=targets,
            counted=counted_rows,
            axes=jnp.asarray(axes),
            scale=jnp.asarray(scale),
        )
        own = problem._replace(shift=problem.shift[policies], scale=problem.scale[policies])
        return _fit(program, own, grid, rows)

    if not apart:
        return fit(slice(None), slice(None))
    fits = [fit(slice(p, p + 1), np.flatnonzero(share)) for p, share in enumerate(shares)]
    return jax.tree.map(lambda *a: np.concatenate(a), *fits)


@partial(jax.jit, static_argnums=0)
def _fit(program: Program, problem: Problem, grid: Grid, rows: _Rows) -> BestHeads:
    copies, n, dim = rows.vectors.shape
    x = standardise(rows.vectors.reshape(-1, dim), problem.mean, problem.std)
    targets = rows.targets.astype(jnp.float32)
    start = program.start(grid.keys[0])

    def of_head(
        task: Int[Array, ""],
        strength: Float[Array, ""],
        axis_scale: Float[Array, " dim"],
        counted: Bool[Array, "tasks rows"],
        weights: Float[Array, "tasks 2 k"],
        shift: Float[Array, " dim"],
        scale: Float[Array, " dim"],
        shares: Float[Array, " copies"],
    ) -> tuple[Parameters, Int[Array, ""]]:
        present, softmax = problem.present[task], problem.softmax[task]

        def to_head(parameters: Parameters) -> Parameters:
            """From the coordinates of the search to those of the head."""
            return with_kernel(parameters, rows.axes @ (axis_scale[:, None] * parameters["kernel"][...]))

        def outputs(parameters: Parameters) -> _Outputs:
            """Logits and kernel, which are linear in the parameters."""
            head = to_head(parameters)
            return apply(program.network, head, x, shift, scale, None), head["kernel"][...]

        def objective(logits_and_kernel: _Outputs) -> Float[Array, ""]:
            logits, kernel = mask_logits(logits_and_kernel[0], present).reshape(copies, n, -1), logits_and_kernel[1]

            def of_copy(logits: Float[Array, "rows k"]) -> tuple[Float[Array, " rows"], Float[Array, " rows"]]:
                return loss_and_weight(logits, targets[task], weights[task], present, softmax, 0.0, program.losses)

            loss, weight = jax.vmap(of_copy)(logits)
            total = jnp.where(counted[task], weight[0], 0.0).sum()
            mean = jnp.where(counted[task], shares @ loss, 0.0).sum() / total
            return mean + jnp.vdot(kernel, kernel) / (2 * strength * total)

        optimum, steps = _minimise(outputs, objective, start, program.steps)
        return to_head(optimum), steps

    heads = jax.vmap(of_head, in_axes=(0, 0, 0, *[None] * 5))
    folds = jax.vmap(heads, in_axes=(None, None, None, 0, 0, 0, 0, None))
    policies = jax.vmap(folds, in_axes=(*[None] * 5, 0, 0, 0))
    parameters, steps = policies(
        grid.task, grid.learning_rate, rows.scale,
        rows.counted, problem.weights, *stream_moments(problem, len(rows.shares)), rows.shares,
    )  # fmt: skip
    return BestHeads(parameters, validate(program, problem, grid, parameters), steps)


def _coordinates(
    x: NDArray[np.float32], n: int, strengths: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """V (dim, dim) and 1/√(λ + 1/Cn) (heads, dim) of V λ Vᵀ = XᵀX / 4n, for a sample of n rows and each C."""
    values, axes = scipy.linalg.eigh((x.T @ x).astype(np.float64) / (4 * len(x)))
    floor = 1 / (strengths.astype(np.float64)[:, None] * n) + 1e-6
    return axes.astype(np.float32), (1 / np.sqrt(np.maximum(values, 0) + floor)).astype(np.float32)


def _minimise(
    linear: Callable[[Parameters], _Outputs],
    objective: Callable[[_Outputs], Float[Array, ""]],
    start: Parameters,
    most: int,
) -> tuple[Parameters, Int[Array, ""]]:
    """The parameters that minimise objective(linear(parameters)), smooth and convex, by L-BFGS; and the steps taken.

    Along a line the outputs of a linear map follow from two products with the data, one for the direction and one for
    the gradient at the end: the search for the minimum between costs next to nothing.
    """
    directions = optax.scale_by_lbfgs(memory_size=MEMORY)

    def gradient_at(outputs: _Outputs) -> Parameters:
        return jax.vjp(linear, start)[1](jax.grad(objective)(outputs))[0]

    def unconverged(state: _State) -> Bool[Array, ""]:
        steepest = jnp.max(jnp.stack([jnp.abs(g).max() for g in jax.tree.leaves(state.gradient)]))
        return (state.step < most) & (steepest > TOLERANCE)

    def step(state: _State) -> _State:
        upwards, memory = directions.update(state.gradient, state.memory, state.parameters)
        direction = jax.tree.map(jnp.negative, upwards)
        change = linear(direction)
        length = _lowest(lambda t: objective(_moved(state.outputs, t, change)))
        outputs = _moved(state.outputs, length, change)
        parameters = _moved(state.parameters, length, direction)
        return _State(parameters, gradient_at(outputs), outputs, memory, state.step + 1)

    outputs = linear(start)
    first = _State(start, gradient_at(outputs), outputs, directions.init(start), jnp.int32(0))
    last = jax.lax.while_loop(unconverged, step, first)
    return last.parameters, last.step


def _moved(start: _Tree, length: Float[Array, ""], direction: _Tree) -> _Tree:
    return jax.tree.map(lambda a, b: a + length * b, start, direction)


def _lowest(along: Callable[[Float[Array, ""]], Float[Array, ""]]) -> Float[Array, ""]:
    """About where a convex function of t > 0 that falls at 0 is lowest: Newton's steps from 0, kept in a bracket.

    Returns the lowest of the points tried, and of those that rounding makes equal the last.
    """
    value_and_slope = jax.value_and_grad(along)

    def newton_step(_: Int[Array, ""], state: tuple[Float[Array, ""], ...]) -> tuple[Float[Array, ""], ...]:
        t, low, high, best, least = state
        (value, rise), (_, bend) = jax.jvp(value_and_slope, (t,), (jnp.ones_like(t),))
        better = value <= least + ROUNDING * jnp.abs(least)
        best, least = jnp.where(better, t, best), jnp.where(better, value, least)
        low, high = jnp.where(rise < 0, t, low), jnp.where(rise < 0, high, t)
        most = jnp.maximum(4 * t, 1)  # where a loss is flat, Newton's step is unbounded
        guess = jnp.minimum(t - rise / bend, most)
        inside = (guess > low) & (guess < high)
        return jnp.where(inside, guess, jnp.where(jnp.isfinite(high), (low + high) / 2, most)), low, high, best, least

    zero, infinity = jnp.float32(0), jnp.float32(jnp.inf)
    return jax.lax.fori_loop(0, LINE_SEARCH_STEPS, newton_step, (zero, zero, infinity, zero, infinity))[3]
