"""Fit a whole grid of heads by stochastic gradients, in one program: streams × folds × (tasks × hyper-parameters).

A stream is a seed with its batches and its augmentation. All heads of a stream see the same batch, each weighs the
rows that are in its own training data and have an answer to its own task, so that a batch is fetched, standardised and
augmented once, and a step is one matrix product however many heads there are.
"""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

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


class _State(NamedTuple):
    parameters: Parameters
    optimizer: Any
    best: BestHeads
    stale: Int[Array, "streams folds heads"]
    round: Int[Array, ""]


#: Vectors, their targets, and which rows count in which fold and task; of each stream, or of one.
_Batch = tuple[
    Float[Array, "*streams batch dim"],
    Float[Array, "*streams tasks batch k"],
    Bool[Array, "*streams folds tasks batch"],
]


class _Raw(NamedTuple):
    """Vectors of a batch as stored."""

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
        return _round(program, problem, grid, state, draws, lambda one: _fetch(program, flat, one))

    return jax.lax.while_loop(partial(_goes_on, program), train_and_evaluate, _begin(program, problem, grid)).best


def fit_streamed(
    program: Program, problem: Problem, grid: Grid, fetch: Callable[[NDArray[np.int64]], NDArray[np.float16]]
) -> BestHeads:
    """Fit with vectors that do not fit on the device: the same draws, the same steps, the same result.

    While the device is busy with a round, a thread fetches the vectors of the next.

    Args:
        fetch: From flat row numbers, row · views + view, to vectors.
    """
    state = _jit_begin(program, problem, grid)
    with ThreadPoolExecutor(1) as reader:
        rounds = _prefetched(reader, lambda r: _fetched_round(program, problem, grid, r, fetch), program.rounds)
        for draws, raw in rounds:
            state = _streamed_round(program, problem, grid, state, draws, raw)
            if not _goes_on(program, state):
                break
    return state.best


def _prefetched(reader: ThreadPoolExecutor, make: Callable[[int], Any], count: int) -> Iterator[Any]:
    coming = reader.submit(make, 0)
    for number in range(count):
        now = coming.result()
        if number + 1 < count:
            coming = reader.submit(make, number + 1)
        yield now


def _fetched_round(
    program: Program,
    problem: Problem,
    grid: Grid,
    number: int,
    fetch: Callable[[NDArray[np.int64]], NDArray[np.float16]],
) -> tuple[BatchDraw, _Raw]:
    draws = _jit_draw_round(program, problem, grid, number)

    def of(rows: jax.Array, views: jax.Array | int) -> jax.Array:
        flat = np.asarray(rows, np.int64) * program.views + np.asarray(views)
        return jnp.asarray(fetch(flat.reshape(-1)).reshape(*flat.shape, -1))

    wants_same, wants_any = _wants(program)
    raw = _Raw(
        of(draws.rows, draws.view),
        of(draws.same, 0) if wants_same else None,
        of(draws.any, 0) if wants_any else None,
    )
    return draws, raw


# -- the program, in the order in which it runs ---------------------------------------------


def _begin(program: Program, problem: Problem, grid: Grid) -> _State:
    """Heads of a stream start alike, whatever their fold, task and hyper-parameters."""
    folds, heads = len(problem.parts), len(grid.task)
    one = jax.vmap(program.start)(grid.keys)
    shape = (len(grid.keys), folds, heads)
    parameters = jax.tree.map(lambda a: jnp.broadcast_to(a[:, None, None], (*shape, *a.shape[1:])), one)
    optimizer = optimizer_of(program, jnp.float32(0), jnp.float32(0), jax.tree.map(lambda a: a[0], one))
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


def _goes_on(program: Program, state: _State) -> Bool[Array, ""]:
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


def _wants(program: Program) -> tuple[bool, bool]:
    kinds = frozenset().union(*program.kinds)
    return bool(kinds & {"interpolate", "extrapolate"}), "mixup" in kinds


def _fetch(program: Program, flat: jax.Array, draws: BatchDraw) -> _Raw:
    wants_same, wants_any = _wants(program)
    return _Raw(
        flat[draws.rows * program.views + draws.view],
        flat[draws.same * program.views] if wants_same else None,
        flat[draws.any * program.views] if wants_any else None,
    )


def _round(program: Program, problem: Problem, grid: Grid, state: _State, draws: BatchDraw, fetch: Any) -> _State:
    """Some steps, then an evaluation on the validation rows.

    Args:
        fetch: Vectors of the whole round, or a function from draws of a step to its vectors.
    """

    def step(carry: tuple[Any, Any], one: tuple[jax.Array, BatchDraw, Any]) -> tuple[tuple[Any, Any], None]:
        (parameters, optimizer), (number, drawn, given) = carry, one
        raw = fetch(drawn) if given is None else given
        return _step(program, problem, grid, parameters, optimizer, number, drawn, raw), None

    given = fetch if isinstance(fetch, _Raw) else None
    numbers = state.round * program.every + jnp.arange(program.every)
    (parameters, optimizer), _ = jax.lax.scan(step, (state.parameters, state.optimizer), (numbers, draws, given))
    scores = validate(program, problem, grid, parameters)
    better = (scores < state.best.score) & (state.stale < program.patience)
    best = BestHeads(
        jax.tree.map(lambda new, old: jnp.where(_like(better, new), new, old), parameters, state.best.parameters),
        jnp.where(better, scores, state.best.score),
        jnp.where(better, (state.round + 1) * program.every, state.best.best_step),
    )
    stopped = state.stale >= program.patience
    stale = jnp.where(better, 0, state.stale + 1)
    return _State(parameters, optimizer, best, jnp.where(stopped, state.stale, stale), state.round + 1)


def _like(flags: jax.Array, array: jax.Array) -> jax.Array:
    return flags.reshape(*flags.shape, *(1,) * (array.ndim - flags.ndim))


def _step(
    program: Program,
    problem: Problem,
    grid: Grid,
    parameters: Parameters,
    optimizer: Any,
    number: Int[Array, ""],
    draws: BatchDraw,
    raw: _Raw,
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
                raw = apply(program.network, parameters, x, shift, scale, key)
                present, softmax = problem.present[task], problem.softmax[task]
                loss, weight = loss_and_weight(
                    mask_logits(raw, present), targets[task], weights[task], present, softmax,
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
        parameters, optimizer, keys, *standards, *_batches(program, problem, grid, draws, raw, keys)
    )


def _batches(program: Program, problem: Problem, grid: Grid, draws: BatchDraw, raw: _Raw, keys: PRNGKeyArray) -> _Batch:
    """Batches of all streams. Those of the same kinds go together; what a stream does not use costs nothing."""
    given = grid.strengths, draws, raw, keys
    seeds = len(keys) // len(program.kinds)
    parts, start = [], 0
    for kinds, run in itertools.groupby(program.kinds):
        mine = slice(start, start := start + seeds * len(list(run)))
        parts.append(
            jax.vmap(partial(_batch, program, problem, kinds))(*jax.tree.map(lambda a, mine=mine: a[mine], given))
        )
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda *a: jnp.concatenate(a), *parts)


def _batch(
    program: Program, problem: Problem, kinds: frozenset[str], strengths: Strengths, draws: BatchDraw, raw: _Raw,
    key: PRNGKeyArray,
) -> _Batch:  # fmt: skip
    """Standardised and augmented vectors, their targets, and which rows count in which fold and task."""

    def standard(vectors: Float16[Array, "batch dim"] | None) -> Float[Array, "batch dim"]:
        assert vectors is not None, "vectors of a kind in use were not fetched"
        return standardise(vectors, problem.mean, problem.std)

    x, targets = raw.x, problem.targets[:, draws.rows].astype(jnp.float32)
    known = problem.known[:, draws.rows]
    if "learned" in kinds:
        x = _through_augmenter(program, problem, x, draws.learned, key=jax.random.fold_in(key, 2))
    same = any_ = any_targets = None
    if kinds & {"interpolate", "extrapolate"}:
        same = standard(raw.same)
    if "mixup" in kinds:
        any_, any_targets = standard(raw.any), problem.targets[:, draws.any].astype(jnp.float32)
        known = known & problem.known[:, draws.any]
    partners = Partners(same, any_, any_targets)
    x, targets = augment(standard(x), targets, partners, strengths, kinds, key=jax.random.fold_in(key, 1))
    trained = problem.parts[:, draws.rows] == TRAIN
    return x, targets, trained[:, None] & known[None]


def _through_augmenter(
    program: Program, problem: Problem, x: Float16[Array, "batch dim"], taken: Bool[Array, " batch"], *,
    key: PRNGKeyArray,
) -> Float[Array, "batch dim"]:  # fmt: skip
    """Vectors, of which those that are taken are replaced by those of views of their tiles, drawn at random."""
    augmenter = problem.augmenter
    assert program.augmenter_network is not None and augmenter is not None, (
        "a policy has learned on, and there is no augmenter"
    )
    bank = augmenter.bank
    views = bank[jax.random.randint(key, (len(x),), 0, len(bank))]
    x = x.astype(jnp.float32)
    return jnp.where(taken[:, None], apply_augmenter(program.augmenter_network, augmenter, x, views), x)


_jit_begin = jax.jit(_begin, static_argnums=0)
_jit_draw_round = jax.jit(_draw_round, static_argnums=0)
_streamed_round = jax.jit(_round, static_argnums=0)
