"""L-BFGS for many smooth convex functions at once: they take their steps together, in one loop.

Each is a function of what is linear in its parameters (logits and kernel of a head). Along a line these follow from two
products with the data, one for the direction and one for the gradient at the end, so that the search for the lowest
point between costs next to nothing (30 heads on 2,000 x 1,280 took 44 CPU-s with a search that made logits anew).

Heads are the first axis of every array, and derivatives are written out. As `vmap` and `grad` of a function of one head
the program took over twice as long to compile, and to run (docs/decisions/lbfgs.md).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

#: A head has converged where no component of the gradient exceeds this; float32 carries little more.
TOLERANCE = 1e-5
MEMORY = 20
LINE_SEARCH_STEPS = 8  # for the lowest point along a line; each costs next to nothing
ROUNDING = 1e-4  # of a loss: more than the error of float32, so that a search near the optimum does not stall

_Outputs = TypeVar("_Outputs")  # a pytree of arrays (heads, …)
Parameters = Float[Array, "heads size"]
Numbers = Float[Array, " heads"]
#: From a length along a line to value, slope and curvature there.
Along = Callable[[Numbers], tuple[Numbers, Numbers, Numbers]]


class _Memory(NamedTuple):
    """The last steps, in a ring: how parameters and gradient changed, 1 / (one · the other), and the curvature.

    Attributes:
        curvature: Of the inverse Hessian along the last step.
        taken: Steps that were taken.
    """

    parameters: Float[Array, "memory heads size"]
    gradient: Float[Array, "memory heads size"]
    inverse: Float[Array, "memory heads"]
    curvature: Numbers
    taken: Int[Array, ""]


class _State(NamedTuple):
    """All heads after some steps. Those that have converged keep parameters and gradient; the rest moves on, unused."""

    parameters: Parameters
    gradient: Parameters
    outputs: Any
    memory: _Memory
    steps: Int[Array, " heads"]


def minimise(
    linear: Callable[[Parameters], _Outputs],
    gradient: Callable[[_Outputs], _Outputs],
    along: Callable[[_Outputs, _Outputs], Along],
    start: _Outputs,
    size: int,
    most: int,
) -> tuple[Parameters, Int[Array, " heads"]]:
    """The parameters (heads, size) at which smooth convex functions are lowest, and the steps that each took.

    Args:
        linear: What the outputs change by with the parameters.
        gradient: Of the functions in their outputs.
        along: The functions on the line from some outputs by some change.
        start: The outputs where all parameters are 0, from where the search starts.
        size: Parameters of a head.
        most: Most steps.
    """
    heads = len(jax.tree.leaves(start)[0])
    transposed = jax.linear_transpose(linear, jax.ShapeDtypeStruct((heads, size), jnp.float32))

    def gradient_at(outputs: _Outputs) -> Parameters:
        return transposed(gradient(outputs))[0]

    def step(state: _State) -> _State:
        direction = -_inverse_hessian(state.memory, state.gradient)
        change = linear(direction)
        length = _lowest(along(state.outputs, change), heads)
        outputs = _moved(state.outputs, length, change)
        move, upwards = length[:, None] * direction, gradient_at(outputs)
        memory = _remembered(state.memory, move, upwards - state.gradient)
        active = _unconverged(state.gradient)
        return _State(
            parameters=jnp.where(active[:, None], state.parameters + move, state.parameters),
            gradient=jnp.where(active[:, None], upwards, state.gradient),
            outputs=outputs,
            memory=memory,
            steps=state.steps + active,
        )

    upwards = gradient_at(start)
    zeros = jnp.zeros((MEMORY, heads, size))
    memory = _Memory(zeros, zeros, zeros[:, :, 0], jnp.minimum(1.0, 1 / jnp.sqrt(_dot(upwards, upwards))), jnp.int32(0))
    first = _State(zeros[0], upwards, start, memory, jnp.zeros(heads, jnp.int32))
    last = jax.lax.while_loop(
        lambda state: (state.memory.taken < most) & _unconverged(state.gradient).any(), step, first
    )
    return last.parameters, last.steps


def _unconverged(gradient: Parameters) -> Bool[Array, " heads"]:
    return jnp.abs(gradient).max(axis=1) > TOLERANCE


def _dot(a: Parameters, b: Parameters) -> Numbers:
    return (a * b).sum(axis=1)


def _moved(start: _Outputs, length: Numbers, change: _Outputs) -> _Outputs:
    return jax.tree.map(lambda a, b: a + length.reshape(-1, *[1] * (a.ndim - 1)) * b, start, change)


def _remembered(memory: _Memory, move: Parameters, change: Parameters) -> _Memory:
    """The memory with a step more, in the place of the oldest."""
    at, product, square = memory.taken % MEMORY, _dot(move, change), _dot(change, change)
    return _Memory(
        parameters=memory.parameters.at[at].set(move),
        gradient=memory.gradient.at[at].set(change),
        inverse=memory.inverse.at[at].set(jnp.where(product == 0, 0.0, 1 / product)),
        curvature=jnp.where(square > 0, product / square, 1.0),
        taken=memory.taken + 1,
    )


def _inverse_hessian(memory: _Memory, gradient: Parameters) -> Parameters:
    """The gradient times about the inverse Hessian (Nocedal & Wright 2006, algorithm 7.4)."""

    def newer_first(i: Int[Array, ""], state: tuple[Parameters, Array]) -> tuple[Parameters, Array]:
        vector, shares = state
        at = (memory.taken - 1 - i) % MEMORY
        share = memory.inverse[at] * _dot(memory.parameters[at], vector)
        return vector - share[:, None] * memory.gradient[at], shares.at[at].set(share)

    def older_first(i: Int[Array, ""], vector: Parameters) -> Parameters:
        at = (memory.taken + i) % MEMORY
        share = memory.inverse[at] * _dot(memory.gradient[at], vector)
        return vector + (shares[at] - share)[:, None] * memory.parameters[at]

    vector, shares = jax.lax.fori_loop(0, MEMORY, newer_first, (gradient, jnp.zeros_like(memory.inverse)))
    return jax.lax.fori_loop(0, MEMORY, older_first, memory.curvature[:, None] * vector)


def _lowest(along: Along, heads: int) -> Numbers:
    """About where convex functions of t > 0 that fall at 0 are lowest: Newton's steps from 0, kept in a bracket.

    Returns the lowest of the points tried, and of those that rounding makes equal the last.
    """

    def newton_step(_: Int[Array, ""], state: tuple[Numbers, ...]) -> tuple[Numbers, ...]:
        t, low, high, best, least = state
        value, rise, bend = along(t)
        better = value <= least + ROUNDING * jnp.abs(least)
        best, least = jnp.where(better, t, best), jnp.where(better, value, least)
        low, high = jnp.where(rise < 0, t, low), jnp.where(rise < 0, high, t)
        most = jnp.maximum(4 * t, 1)  # where a loss is flat, Newton's step is unbounded
        guess = jnp.minimum(t - rise / bend, most)
        inside = (guess > low) & (guess < high)
        return jnp.where(inside, guess, jnp.where(jnp.isfinite(high), (low + high) / 2, most)), low, high, best, least

    zero, infinity = jnp.zeros(heads), jnp.full(heads, jnp.inf)
    return jax.lax.fori_loop(0, LINE_SEARCH_STEPS, newton_step, (zero, zero, infinity, zero, infinity))[3]
