"""Fit a whole grid of heads by stochastic gradients, in one program: streams × folds × (tasks × hyper-parameters).

A stream is a seed with its batches and its augmentation. All heads of a stream see the same batch; the loss of each is
over the rows that are in its own training part and labelled in its own task. So a batch is fetched, standardised and
augmented once, and a step is one matrix product however many heads there are.
"""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Float16, Int, PRNGKeyArray
from numpy.typing import NDArray

from heads.augmentation.feature_space import Partners, Strengths, augment
from heads.networks.augmenter_network import apply_augmenter
from heads.networks.losses import loss_and_weight, mask_logits
from heads.networks.models import Parameters, apply, decay_mask, standardise
from heads.splitting.splits import TRAIN
from heads.training.grid import BestHeads, Grid, Program, stream_moments
from heads.training.problem import BatchDraw, Problem, draw_batch
from heads.training.validation import validate

_T = TypeVar("_T")


class _State(NamedTuple):
    """The heads in training.

    Attributes:
        best: As they were at their best evaluation.
        stale: Evaluations since then.
        round: Rounds that are done; a round is the steps from one evaluation to the next.
    """

    parameters: Parameters
    optimizer: Any
    best: BestHeads
    stale: Int[Array, "streams folds heads"]
    round: Int[Array, ""]


#: Vectors, their targets, and which rows count in which fold and task; of all streams, or of one.
_Batch = tuple[
    Float[Array, "*streams batch dim"],
    Float[Array, "*streams tasks batch k"],
    Bool[Array, "*streams folds tasks batch"],
]


class _StoredVectors(NamedTuple):
    """Vectors of a batch as stored, and of the partners to mix them with where a policy needs any."""

    x: Float16[Array, "*n dim"] | Float[Array, "*n dim"]
    same: Float16[Array, "*n dim"] | None
    any: Float16[Array, "*n dim"] | None


@partial(jax.jit, static_argnums=0)
def fit_on_device(program: Program, problem: Problem, grid: Grid, flat: Float16[Array, "rows dim"]) -> BestHeads:
    """Fit with all vectors on the device: the whole of it is one program.

    Args:
        flat: Vectors, the views of a row together, padded as the problem's rows are.
    """

    def train_and_evaluate(state: _State) -> _State:
        draws = _draw_round(program, problem, grid, state.round)
        return _round(program, problem, grid, state, draws, partial(_gather, program, flat))

    return jax.lax.while_loop(partial(_unfinished, program), train_and_evaluate, _initial(program, problem, grid)).best


def fit_streamed(
    program: Program, problem: Problem, grid: Grid, fetch: Callable[[NDArray[np.int64]], NDArray[np.float16]]
) -> BestHeads:
    """Fit with vectors that do not fit on the device: the same draws, the same steps, the same result.

    While the device is busy with a round, a thread fetches the vectors of the next.

    Args:
        fetch: From flat row numbers, row · views + view, to vectors.
    """
    state = _jit_initial(program, problem, grid)
    for draws, vectors in prefetched(_fetched_round(program, problem, grid, r, fetch) for r in range(program.rounds)):
        state = _jit_round(program, problem, grid, state, draws, vectors)
        if not _unfinished(program, state):
            break
    return state.best


def prefetched(items: Iterator[_T]) -> Iterator[_T]:
    """The same items; a thread makes the next while one is in use."""
    with ThreadPoolExecutor(1) as reader:
        upcoming = reader.submit(next, items, None)
        while (item := upcoming.result()) is not None:
            upcoming = reader.submit(next, items, None)
            yield item


def _fetched_round(
    program: Program,
    problem: Problem,
    grid: Grid,
    number: int,
    fetch: Callable[[NDArray[np.int64]], NDArray[np.float16]],
) -> tuple[BatchDraw, _StoredVectors]:
    """Draws of a round, and their vectors, (steps, streams, batch, …) each."""
    draws = _jit_draw_round(program, problem, grid, number)

    def vectors_of(rows: Int[Array, "*n"], view: Int[Array, "*n"] | int) -> Float16[Array, "*n dim"]:
        flat_rows = np.asarray(rows, np.int64) * program.views + np.asarray(view)
        return jnp.asarray(fetch(flat_rows.reshape(-1)).reshape(*flat_rows.shape, -1))

    needs_same, needs_any = _needs_partners(program)
    vectors = _StoredVectors(
        vectors_of(draws.rows, draws.view),
        vectors_of(draws.same, 0) if needs_same else None,
        vectors_of(draws.any, 0) if needs_any else None,
    )
    return draws, vectors


# -- the program, in the order in which it runs ---------------------------------------------


def _initial(program: Program, problem: Problem, grid: Grid) -> _State:
    """Heads of a stream start alike, whatever their fold, task and hyper-parameters."""
    shape = len(grid.keys), len(problem.parts), len(grid.task)
    start = jax.vmap(program.start)(grid.keys)
    parameters = jax.tree.map(lambda a: jnp.broadcast_to(a[:, None, None], (*shape, *a.shape[1:])), start)
    optimizer = optimizer_of(program, jnp.float32(0), jnp.float32(0), jax.tree.map(lambda a: a[0], start))
    opt_state = jax.vmap(jax.vmap(jax.vmap(optimizer.init)))(parameters)
    best = BestHeads(parameters, jnp.full(shape, jnp.inf), jnp.zeros(shape, jnp.int32))
    return _State(parameters, opt_state, best, jnp.zeros(shape, jnp.int32), jnp.int32(0))


def optimizer_of(
    program: Program, rate: Float[Array, ""], decay: Float[Array, ""], parameters: Parameters
) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter 2019) with a short warm-up and a cosine to zero."""
    warm = max(1, min(program.steps // 20, 100))
    schedule = optax.warmup_cosine_decay_schedule(0.0, 1.0, warm, max(program.steps, warm + 1))
    return optax.adamw(lambda step: rate * schedule(step), weight_decay=decay, mask=decay_mask(parameters))


def _unfinished(program: Program, state: _State) -> Bool[Array, ""]:
    """Whether rounds are left, and a head that may still improve."""
    return (state.round < program.rounds) & (state.stale < program.patience).any()


def _draw_round(program: Program, problem: Problem, grid: Grid, number: Int[Array, ""] | int) -> BatchDraw:
    """Draws of a round's steps, (steps, streams, batch)."""

    def draws_of_step(
        step: Int[Array, ""], key: PRNGKeyArray, views: Float[Array, ""], learned: Float[Array, ""]
    ) -> BatchDraw:
        at_step = jax.random.fold_in(key, 2 * step)
        return draw_batch(problem.groups, program.batch, views, learned, program.views, key=at_step)

    steps, strengths = number * program.every + jnp.arange(program.every), grid.strengths
    over_streams = jax.vmap(draws_of_step, in_axes=(None, 0, 0, 0))
    over_steps = jax.vmap(over_streams, in_axes=(0, None, None, None))
    return over_steps(steps, grid.keys, strengths.views, strengths.learned)


def _needs_partners(program: Program) -> tuple[bool, bool]:
    """Whether a policy mixes rows with others of the same classes, and with others of any class."""
    kinds = frozenset().union(*program.kinds)
    return bool(kinds & {"interpolate", "extrapolate"}), "mixup" in kinds


def _gather(program: Program, flat: Float16[Array, "rows dim"], draws: BatchDraw) -> _StoredVectors:
    needs_same, needs_any = _needs_partners(program)
    return _StoredVectors(
        flat[draws.rows * program.views + draws.view],
        flat[draws.same * program.views] if needs_same else None,
        flat[draws.any * program.views] if needs_any else None,
    )


def _round(
    program: Program, problem: Problem, grid: Grid, state: _State, draws: BatchDraw,
    vectors: _StoredVectors | Callable[[BatchDraw], _StoredVectors],
) -> _State:  # fmt: skip
    """The steps of a round, then an evaluation on the validation rows.

    Args:
        vectors: Of the whole round, or a function from the draws of a step to its vectors.
    """

    def step(
        carry: tuple[Parameters, Any], inputs: tuple[Int[Array, ""], BatchDraw, _StoredVectors | None]
    ) -> tuple[tuple[Parameters, Any], None]:
        (parameters, optimizer), (number, step_draws, step_vectors) = carry, inputs
        if not isinstance(vectors, _StoredVectors):
            step_vectors = vectors(step_draws)
        assert step_vectors is not None
        return _step(program, problem, grid, parameters, optimizer, number, step_draws, step_vectors), None

    numbers = state.round * program.every + jnp.arange(program.every)
    inputs = numbers, draws, vectors if isinstance(vectors, _StoredVectors) else None
    (parameters, optimizer), _ = jax.lax.scan(step, (state.parameters, state.optimizer), inputs)
    scores = validate(program, problem, grid, parameters)
    better = (scores < state.best.score) & (state.stale < program.patience)
    best = BestHeads(
        jax.tree.map(lambda new, old: jnp.where(_aligned(better, new), new, old), parameters, state.best.parameters),
        jnp.where(better, scores, state.best.score),
        jnp.where(better, (state.round + 1) * program.every, state.best.best_step),
    )
    stopped = state.stale >= program.patience
    stale = jnp.where(better, 0, state.stale + 1)
    return _State(parameters, optimizer, best, jnp.where(stopped, state.stale, stale), state.round + 1)


def _aligned(flags: Bool[Array, "*heads"], array: Float[Array, "..."]) -> Bool[Array, "..."]:
    """Flags with an axis of size 1 for each further axis of the array."""
    return flags.reshape(*flags.shape, *(1,) * (array.ndim - flags.ndim))


def _step(
    program: Program,
    problem: Problem,
    grid: Grid,
    parameters: Parameters,
    optimizer: Any,
    number: Int[Array, ""],
    draws: BatchDraw,
    vectors: _StoredVectors,
) -> tuple[Parameters, Any]:
    """One step of every head."""
    keys = jax.vmap(lambda key: jax.random.fold_in(key, 2 * number + 1))(grid.keys)

    def of_stream(
        parameters: Parameters,
        optimizer: Any,
        key: PRNGKeyArray,
        shift: Float[Array, "folds dim"],
        scale: Float[Array, "folds dim"],
        x: Float[Array, "batch dim"],
        targets: Float[Array, "tasks batch k"],
        counted: Bool[Array, "folds tasks batch"],
    ) -> tuple[Parameters, Any]:
        def of_head(
            parameters: Parameters,
            optimizer: Any,
            task: Int[Array, ""],
            rate: Float[Array, ""],
            decay: Float[Array, ""],
            weights: Float[Array, "tasks 2 k"],
            counted: Bool[Array, "tasks batch"],
            shift: Float[Array, " dim"],
            scale: Float[Array, " dim"],
        ) -> tuple[Parameters, Any]:
            def mean_loss(parameters: Parameters) -> Float[Array, ""]:
                logits = apply(program.network, parameters, x, shift, scale, key)
                present, softmax = problem.present[task], problem.softmax[task]
                loss, weight = loss_and_weight(
                    mask_logits(logits, present), targets[task], weights[task], present, softmax,
                    program.focal, program.losses,
                )  # fmt: skip
                counts = counted[task]
                return jnp.where(counts, loss, 0.0).sum() / jnp.maximum(jnp.where(counts, weight, 0.0).sum(), 1e-6)

            gradient = jax.grad(mean_loss)(parameters)
            updates, optimizer = optimizer_of(program, rate, decay, parameters).update(gradient, optimizer, parameters)
            return optax.apply_updates(parameters, updates), optimizer

        heads = jax.vmap(of_head, in_axes=(0, 0, 0, 0, 0, None, None, None, None))
        folds = jax.vmap(heads, in_axes=(0, 0, None, None, None, 0, 0, 0, 0))
        return folds(
            parameters, optimizer, grid.task, grid.learning_rate, grid.weight_decay,
            problem.weights, counted, shift, scale,
        )  # fmt: skip

    standards = stream_moments(problem, len(keys))
    return jax.vmap(of_stream)(
        parameters, optimizer, keys, *standards, *_batches(program, problem, grid, draws, vectors, keys)
    )


def _batches(
    program: Program, problem: Problem, grid: Grid, draws: BatchDraw, vectors: _StoredVectors, keys: PRNGKeyArray
) -> _Batch:
    """Batches of all streams. Those of the same kinds go together; what a stream does not use costs nothing."""
    inputs = grid.strengths, draws, vectors, keys
    seeds = len(keys) // len(program.kinds)
    parts, start = [], 0
    for kinds, policies in itertools.groupby(program.kinds):
        streams = slice(start, start := start + seeds * len(list(policies)))
        of_streams = jax.tree.map(lambda a, streams=streams: a[streams], inputs)
        parts.append(jax.vmap(partial(_batch, program, problem, kinds))(*of_streams))
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *a: jnp.concatenate(a), *parts)


def _batch(
    program: Program, problem: Problem, kinds: frozenset[str], strengths: Strengths, draws: BatchDraw,
    vectors: _StoredVectors, key: PRNGKeyArray,
) -> _Batch:  # fmt: skip
    """Standardised and augmented vectors, their targets, and which rows count in which fold and task."""

    def standardised(stored: Float16[Array, "batch dim"] | None) -> Float[Array, "batch dim"]:
        assert stored is not None, "vectors of a kind in use were not fetched"
        return standardise(stored, problem.mean, problem.std)

    x, targets = vectors.x, problem.targets[:, draws.rows].astype(jnp.float32)
    known = problem.known[:, draws.rows]
    if "learned" in kinds:
        x = _apply_latent_augmenter(program, problem, x, draws.learned, key=jax.random.fold_in(key, 2))
    same = any_ = any_targets = None
    if kinds & {"interpolate", "extrapolate"}:
        same = standardised(vectors.same)
    if "mixup" in kinds:
        any_, any_targets = standardised(vectors.any), problem.targets[:, draws.any].astype(jnp.float32)
        known = known & problem.known[:, draws.any]
    partners = Partners(same, any_, any_targets)
    x, targets = augment(standardised(x), targets, partners, strengths, kinds, key=jax.random.fold_in(key, 1))
    in_train = problem.parts[:, draws.rows] == TRAIN
    return x, targets, in_train[:, None] & known[None]


def _apply_latent_augmenter(
    program: Program, problem: Problem, x: Float16[Array, "batch dim"], learned: Bool[Array, " batch"], *,
    key: PRNGKeyArray,
) -> Float[Array, "batch dim"]:  # fmt: skip
    """Vectors; those marked `learned` become predictions of random views of their tiles."""
    augmenter = problem.augmenter
    assert program.augmenter_network is not None and augmenter is not None, (
        "a policy has learned on, and there is no augmenter"
    )
    bank = augmenter.bank
    views = bank[jax.random.randint(key, (len(x),), 0, len(bank))]
    x = x.astype(jnp.float32)
    return jnp.where(learned[:, None], apply_augmenter(program.augmenter_network, augmenter, x, views), x)


_jit_initial = jax.jit(_initial, static_argnums=0)
_jit_draw_round = jax.jit(_draw_round, static_argnums=0)
_jit_round = jax.jit(_round, static_argnums=0)
