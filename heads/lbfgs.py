"""Fit linear heads to their optimum: L-BFGS on all training vectors, all folds, tasks and strengths in one program.

The objective is scikit-learn's `LogisticRegression`: C · Σ wᵢ lossᵢ + ½ ‖kernel‖², the bias free, on vectors that are
standardised by each fold's training rows; divided by C · Σ wᵢ, so that all strengths are on one scale.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Float16

from heads.losses import loss_and_weight, mask_logits
from heads.models import apply
from heads.problem import Problem, standardise
from heads.splits import TRAIN
from heads.train import Fitted, Grid, Program, validate

#: A head has converged where no component of the gradient of its mean loss exceeds this; float32 carries no more.
TOLERANCE = 2e-6
MEMORY = 20


class _State(NamedTuple):
    parameters: object
    optimizer: object
    steepest: Float[Array, ""]
    step: jax.Array


def fit_lbfgs(program: Program, problem: Problem, grid: Grid, vectors: Float16[Array, "rows dim"]) -> Fitted:
    """Fit every head of a grid whose `learning_rate` is the strength C; `steps` are the most iterations.

    Heads of one stream, since the optimum does not depend on a seed. Validation scores choose among strengths;
    nothing is stopped early.
    """
    return _fit(program, problem, grid, vectors)


@partial(jax.jit, static_argnums=0)
def _fit(program: Program, problem: Problem, grid: Grid, vectors: jax.Array) -> Fitted:
    x = standardise(vectors, problem.mean, problem.std)
    targets = problem.targets.astype(jnp.float32)
    start = program.start(grid.keys[0])

    def of_head(task, strength, trained, weights, shift, scale):
        present, softmax = problem.present[task], problem.softmax[task]
        counted = trained & problem.known[task]

        def objective(parameters):
            logits = mask_logits(apply(program.network, parameters, x, shift, scale, None), present)
            loss, weight = loss_and_weight(
                logits, targets[task], weights[task], present, softmax, 0.0, program.losses
            )
            total = jnp.where(counted, weight, 0.0).sum()
            norm = sum(jnp.vdot(a, a) for a in (parameters["kernel"][...],))
            return jnp.where(counted, loss, 0.0).sum() / total + norm / (2 * strength * total)

        return _minimise(objective, start, program.steps)

    heads = jax.vmap(of_head, in_axes=(0, 0, None, None, None, None))
    folds = jax.vmap(heads, in_axes=(None, None, 0, 0, 0, 0))
    parameters, steps = folds(
        grid.task, grid.learning_rate, problem.parts == TRAIN, problem.weights, problem.shift, problem.scale
    )
    parameters = jax.tree.map(lambda a: a[None], parameters)
    return Fitted(parameters, validate(program, problem, grid, parameters), steps[None])


def _minimise(objective, start, most: int):
    """The minimum of a smooth function by L-BFGS with a zoom line search (Nocedal & Wright 2006), and its steps."""
    optimizer = optax.lbfgs(memory_size=MEMORY)
    value_and_grad = optax.value_and_grad_from_state(objective)

    def goes_on(state: _State):
        return (state.step < most) & (state.steepest > TOLERANCE)

    def step(state: _State) -> _State:
        value, gradient = value_and_grad(state.parameters, state=state.optimizer)
        updates, opt_state = optimizer.update(
            gradient, state.optimizer, state.parameters, value=value, grad=gradient, value_fn=objective
        )
        steepest = jnp.max(jnp.stack([jnp.abs(g).max() for g in jax.tree.leaves(opt_state[-1].grad)]))
        return _State(optax.apply_updates(state.parameters, updates), opt_state, steepest, state.step + 1)

    first = _State(start, optimizer.init(start), jnp.float32(jnp.inf), jnp.int32(0))
    last = jax.lax.while_loop(goes_on, step, first)
    return last.parameters, last.step
