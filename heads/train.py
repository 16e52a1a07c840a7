"""Fit a whole grid of heads by stochastic gradients, in one program: streams × folds × (tasks × hyper-parameters).

A stream is a seed with its batches and its augmentation. All heads of a stream look at the same batch, each weighs the
rows that are in its own training data and have an answer to its own task, so that a batch is fetched, standardised and
augmented once, and a step is one matrix product however many heads there are.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Float16, Int, PRNGKeyArray
from numpy.typing import NDArray

from heads.augment import Partners, Strengths, augment
from heads.latent import apply_latent
from heads.losses import loss_and_weight, mask_logits
from heads.models import Network, Parameters, apply, decays, initial
from heads.problem import Draw, Problem, draw, standardise
from heads.scores import score
from heads.splits import TRAIN

#: Rows of one matrix product where validation rows go through all heads of a fold.
BLOCK_ROWS = 2048


@dataclass(frozen=True, kw_only=True)
class Program:
    """What of a fit is compiled into it.

    Attributes:
        network: The heads' network, without its parameters.
        model, dim, columns, hidden, dropout: What it was made from; see `models.initial`.
        losses: Kinds of loss that its tasks need.
        kinds: Kinds of augmentation that each policy uses; the streams are policies × seeds.
        views: Stored views of a row, the original among them.
        latent: The latent augmenter's network, where a stream uses `learned`.
        batch: Rows of a step.
        steps: Most steps.
        every: Steps between two looks at the validation rows.
        patience: Looks without a gain after which a head stops.
        metric: What the looks go by.
        focal: Exponent of the focal loss.
    """

    network: Network
    model: str
    dim: int
    columns: int
    hidden: int
    dropout: float
    losses: frozenset[str]
    kinds: tuple[frozenset[str], ...]
    views: int
    batch: int
    steps: int
    every: int
    patience: int
    metric: str
    focal: float
    latent: Network | None = None

    @property
    def rounds(self) -> int:
        return -(-self.steps // self.every)

    def start(self, key: PRNGKeyArray) -> Parameters:
        return initial(self.model, key, dim=self.dim, classes=self.columns, hidden=self.hidden, dropout=self.dropout)


class Grid(NamedTuple):
    """The heads of a fold: tasks × hyper-parameters, flattened; and the streams."""

    task: Int[Array, " heads"]
    learning_rate: Float[Array, " heads"]
    weight_decay: Float[Array, " heads"]
    strengths: Strengths  # (streams,) each
    keys: PRNGKeyArray  # (streams,)


class Fitted(NamedTuple):
    """Heads as they were at their best look at the validation rows."""

    parameters: Parameters  # (streams, folds, heads, …) each
    score: Float[Array, "streams folds heads"]
    best_step: Int[Array, "streams folds heads"]


class _State(NamedTuple):
    parameters: Parameters
    optimizer: Any
    best: Fitted
    stale: Int[Array, "streams folds heads"]
    round: Int[Array, ""]


class _Raw(NamedTuple):
    """Vectors of a batch as stored."""

    x: Float16[Array, "*n dim"] | Float[Array, "*n dim"]
    same: Float16[Array, "*n dim"] | None
    any: Float16[Array, "*n dim"] | None


@partial(jax.jit, static_argnums=0)
def fit_on_device(program: Program, problem: Problem, grid: Grid, flat: Float16[Array, "rows dim"]) -> Fitted:
    """Fit with all vectors on the device: the whole of it is one program.

    Args:
        flat: Vectors, the views of a row together, padded as the problem's rows are.
    """

    def look(state: _State) -> _State:
        draws = _draw_round(program, problem, grid, state.round)
        return _round(program, problem, grid, state, draws, lambda one: _fetch(program, flat, one))

    return jax.lax.while_loop(partial(_goes_on, program), look, _begin(program, problem, grid)).best


def fit_streamed(
    program: Program, problem: Problem, grid: Grid, fetch: Callable[[NDArray[np.int64]], NDArray[np.float16]]
) -> Fitted:
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


def _fetched_round(program, problem, grid, number, fetch) -> tuple[Draw, _Raw]:
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
    best = Fitted(parameters, jnp.full(shape, jnp.inf), jnp.zeros(shape, jnp.int32))
    return _State(parameters, opt_state, best, jnp.zeros(shape, jnp.int32), jnp.int32(0))


def optimizer_of(program: Program, rate, decay, parameters) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter 2019) with a short warm-up and a cosine to zero."""
    warm = max(1, min(program.steps // 20, 100))
    schedule = optax.warmup_cosine_decay_schedule(0.0, 1.0, warm, max(program.steps, warm + 1))
    return optax.adamw(lambda step: rate * schedule(step), weight_decay=decay, mask=decays(parameters))


def _goes_on(program: Program, state: _State) -> Bool[Array, ""]:
    return (state.round < program.rounds) & (state.stale < program.patience).any()


def _draw_round(program: Program, problem: Problem, grid: Grid, number) -> Draw:
    """Draws of a round's steps, (steps, streams, batch)."""

    def one(step, key, views, learned):
        at_step = jax.random.fold_in(key, 2 * step)
        return draw(problem.groups, program.batch, views, learned, program.views, key=at_step)

    steps, strengths = number * program.every + jnp.arange(program.every), grid.strengths
    over_streams = jax.vmap(one, in_axes=(None, 0, 0, 0))
    over_steps = jax.vmap(over_streams, in_axes=(0, None, None, None))
    return over_steps(steps, grid.keys, strengths.views, strengths.learned)


def _wants(program: Program) -> tuple[bool, bool]:
    kinds = frozenset().union(*program.kinds)
    return bool(kinds & {"interpolate", "extrapolate"}), "mixup" in kinds


def _fetch(program: Program, flat: jax.Array, draws: Draw) -> _Raw:
    wants_same, wants_any = _wants(program)
    return _Raw(
        flat[draws.rows * program.views + draws.view],
        flat[draws.same * program.views] if wants_same else None,
        flat[draws.any * program.views] if wants_any else None,
    )


def _round(program: Program, problem: Problem, grid: Grid, state: _State, draws: Draw, fetch) -> _State:
    """Some steps, then a look at the validation rows."""

    def step(carry: tuple[Any, Any], one: tuple[jax.Array, Draw, Any]):
        (parameters, optimizer), (number, drawn, given) = carry, one
        raw = fetch(drawn) if given is None else given
        return _step(program, problem, grid, parameters, optimizer, number, drawn, raw), None

    given = fetch if isinstance(fetch, _Raw) else None
    numbers = state.round * program.every + jnp.arange(program.every)
    (parameters, optimizer), _ = jax.lax.scan(step, (state.parameters, state.optimizer), (numbers, draws, given))
    scores = validate(program, problem, grid, parameters)
    better = (scores < state.best.score) & (state.stale < program.patience)
    best = Fitted(
        jax.tree.map(lambda new, old: jnp.where(_like(better, new), new, old), parameters, state.best.parameters),
        jnp.where(better, scores, state.best.score),
        jnp.where(better, (state.round + 1) * program.every, state.best.best_step),
    )
    stopped = state.stale >= program.patience
    stale = jnp.where(better, 0, state.stale + 1)
    return _State(parameters, optimizer, best, jnp.where(stopped, state.stale, stale), state.round + 1)


def _like(flags: jax.Array, array: jax.Array) -> jax.Array:
    return flags.reshape(*flags.shape, *(1,) * (array.ndim - flags.ndim))


def _step(program: Program, problem: Problem, grid: Grid, parameters, optimizer, number, draws: Draw, raw: _Raw):
    """One step of every head."""
    keys = jax.vmap(lambda key: jax.random.fold_in(key, 2 * number + 1))(grid.keys)

    def of_stream(parameters, optimizer, key, shift, scale, x, targets, counted):
        def of_head(parameters, optimizer, task, rate, decay, weights, counted, shift, scale):
            def mean_loss(parameters):
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

    standards = standards_of(problem, len(keys))
    return jax.vmap(of_stream)(
        parameters, optimizer, keys, *standards, *_batches(program, problem, grid, draws, raw, keys)
    )


def standards_of(problem: Problem, streams: int) -> tuple[jax.Array, jax.Array]:
    """Shift and scale of each stream, (streams, folds, dim)."""
    seeds = streams // len(problem.shift)
    return jnp.repeat(problem.shift, seeds, axis=0), jnp.repeat(problem.scale, seeds, axis=0)


def _batches(program: Program, problem: Problem, grid: Grid, draws: Draw, raw: _Raw, keys):
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
    program: Program, problem: Problem, kinds: frozenset[str], strengths: Strengths, draws: Draw, raw: _Raw, key
):
    """Standardised and augmented vectors, their targets, and which rows count in which fold and task."""

    def standard(vectors):
        return standardise(vectors, problem.mean, problem.std)

    x, targets = raw.x, problem.targets[:, draws.rows].astype(jnp.float32)
    known = problem.known[:, draws.rows]
    if "learned" in kinds:
        x = _through_latent(program, problem, x, draws.learned, key=jax.random.fold_in(key, 2))
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


def _through_latent(program: Program, problem: Problem, x, taken, *, key: PRNGKeyArray):
    """Some of the vectors taken to those of views of their tiles, drawn anew."""
    latent = problem.latent
    assert program.latent is not None and latent is not None, "a policy has learned on, and there is no augmenter"
    bank = latent.bank
    views = bank[jax.random.randint(key, (len(x),), 0, len(bank))]
    x = x.astype(jnp.float32)
    return jnp.where(taken[:, None], apply_latent(program.latent, latent, x, views), x)


def validate(program: Program, problem: Problem, grid: Grid, parameters) -> Float[Array, "streams folds heads"]:
    """Score of every head on its fold's validation rows."""
    validated = jax.vmap(partial(_validate_fold, program, problem, grid), in_axes=(1, 0, 0, 0, 1, 1), out_axes=1)
    standards = standards_of(problem, len(jax.tree.leaves(parameters)[0]))
    return validated(parameters, problem.valid_x, problem.valid_rows, problem.weights, *standards)


def _validate_fold(program: Program, problem: Problem, grid: Grid, parameters, vectors, rows, weights, shift, scale):
    logits = fold_logits(program.network, parameters, (vectors, problem.mean, problem.std), shift, scale)
    at = jnp.maximum(rows, 0)

    def of_head(logits, task):
        present, targets = problem.present[task], problem.targets[task][at].astype(jnp.float32)
        counted = (rows >= 0) & problem.known[task][at]
        return score(
            program.metric, mask_logits(logits, present), targets, counted, weights[task], present,
            problem.softmax[task], program.losses,
        )  # fmt: skip

    return jax.vmap(jax.vmap(of_head), in_axes=(0, None))(logits, grid.task)


def fold_logits(network: Network, parameters, vectors, shift, scale) -> Float[Array, "streams heads n k"]:
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

    def of_block(one):
        x = standardise(one, mean, std)
        heads = jax.vmap(lambda p, shift, scale: apply(network, p, x, shift, scale, None), in_axes=(0, None, None))
        return jax.vmap(heads)(parameters, shift, scale)

    logits = jax.lax.map(of_block, blocks)  # (blocks, streams, heads, block, k)
    return jnp.moveaxis(logits, 0, 2).reshape(*logits.shape[1:3], -1, logits.shape[-1])[:, :, :n]


_jit_begin = jax.jit(_begin, static_argnums=0)
_jit_draw_round = jax.jit(_draw_round, static_argnums=0)
_streamed_round = jax.jit(_round, static_argnums=0)


def grid_of(
    tasks: int, learning_rates: Sequence[float], weight_decays: Sequence[float], strengths: Sequence[Strengths],
    seeds: Sequence[int],
) -> Grid:  # fmt: skip
    """Tasks × learning rates × weight decays for each of augmentations × seeds."""
    cells = [(t, r, w) for t in range(tasks) for r in learning_rates for w in weight_decays]
    task, rate, decay = (np.asarray(values) for values in zip(*cells, strict=True))
    streams = [(one, seed) for one in strengths for seed in seeds]
    return Grid(
        task=jnp.asarray(task, jnp.int32),
        learning_rate=jnp.asarray(rate, jnp.float32),
        weight_decay=jnp.asarray(decay, jnp.float32),
        strengths=jax.tree.map(lambda *a: jnp.stack(a), *[one for one, _ in streams]),
        keys=jnp.stack([jax.random.key(seed) for _, seed in streams]),
    )
