"""Fit heads to bags of tiles: gated attention over slides or patients, of any number of tiles.

Bags are padded to a few lengths, and bags of one length share a step. A step brings only its own tiles to the device;
while it is computed, a thread lays out the next. All heads of the grid see the same bags, one head after the other,
so that memory does not grow with the grid.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Float16, Int
from numpy.typing import NDArray

from heads.augmentation.feature_space import Strengths
from heads.bags import Bags
from heads.config import AugmentConfig, FitConfig
from heads.examples import Examples
from heads.moments import moments
from heads.networks.ensemble import Ensemble
from heads.networks.logits import network_of
from heads.networks.losses import loss_and_weight, mask_logits
from heads.networks.models import Network, Parameters, apply, from_arrays, standardise
from heads.splitting.splits import TRAIN, VALID
from heads.training.adamw import optimizer_of, prefetched
from heads.training.grid import BestHeads, Grid, Program, TrainedGrid, grid_cells, make_grid, make_program
from heads.training.problem import Problem, build_examples_problem, draw_chances
from heads.training.validation import score

#: Shortest padded bag, tiles; lengths double from there.
SHORTEST = 64
#: Most tiles of a step, padding included, unless one bag alone has more.
STEP_TILES = 16_384
#: Most bags at once where nothing is trained.
EVALUATION_BAGS = 64


class BagBatch(NamedTuple):
    """Bags of one padded length.

    Attributes:
        x: Vectors of the bags' tiles as stored, then zeros.
        mask: Which of these are tiles.
        bag: Index of each bag among the examples; -1 is padding.
    """

    x: Float16[Array, "bags length dim"]
    mask: Bool[Array, "bags length"]
    bag: Int[Array, " bags"]


def padded_length(tiles: int) -> int:
    """The length that a bag is padded to."""
    return max(SHORTEST, 1 << max(tiles - 1, 0).bit_length())


def bag_batches(
    vectors: NDArray[Any], bags: Bags, chosen: NDArray[np.intp], *, most_bags: int, most_tiles: int,
    rng: np.random.Generator | None = None,
) -> Iterator[BagBatch]:  # fmt: skip
    """Batches of bags of one padded length each; every chosen bag comes as often as it was chosen.

    Args:
        vectors: (tiles, dim) of all bags, one after the other; may be a memory map.
        chosen: Indices of the bags; one may come several times.
        most_tiles: Tiles drawn from a longer bag, without replacement; all where 0.
        rng: Draws tiles and the order of bags and batches; without one, bags are sorted by length and keep all tiles.
    """
    used_tiles = np.minimum(bags.sizes, most_tiles) if rng is not None and most_tiles else bags.sizes
    order = chosen if rng is None else rng.permutation(chosen)
    lengths = np.array([padded_length(int(n)) for n in used_tiles[order]])
    batches: list[tuple[int, int, NDArray[np.intp]]] = []  # padded length, most bags, bags
    for length in np.unique(lengths).tolist():
        of_length, room = order[lengths == length], max(1, min(most_bags, STEP_TILES // length))
        batches += [(length, room, of_length[i : i + room]) for i in range(0, len(of_length), room)]
    for i in range(len(batches)) if rng is None else rng.permutation(len(batches)):
        length, room, members = batches[i]
        x = np.zeros((room, length, vectors.shape[1]), vectors.dtype)
        mask, bag = np.zeros((room, length), bool), np.full(room, -1, np.int32)
        for slot, member in enumerate(members):
            start, size, n = int(bags.start[member]), int(bags.sizes[member]), int(used_tiles[member])
            rows = start + np.arange(n)
            if rng is not None and n < size:
                rows = start + np.sort(rng.choice(size, n, replace=False))
            x[slot, :n], mask[slot, :n], bag[slot] = vectors[rows], True, member
        yield BagBatch(*cast(tuple[Any, Any, Any], (x, mask, bag)))


class _State(NamedTuple):
    """Parameters and optimiser states of the heads in training, (streams · folds · heads, …) each."""

    parameters: Parameters
    optimizer: Any


class _Heads(NamedTuple):
    """Stream, fold, task, learning rate and weight decay of each head, flattened."""

    stream: Int[Array, " n"]
    fold: Int[Array, " n"]
    task: Int[Array, " n"]
    rate: Float[Array, " n"]
    decay: Float[Array, " n"]


def train_bags(config: FitConfig, examples: Examples, vectors: NDArray[Any]) -> TrainedGrid:
    """Fit all heads of a configuration to bags.

    Args:
        vectors: (tiles, dim) of all bags, one after the other; may be a memory map.
    """
    bags = examples.bags
    program = make_program(config, examples, vectors.shape[1])
    problem = _bag_problem(config, examples, vectors)
    seeds = range(config.seed, config.seed + config.seeds)
    grid = make_grid(
        len(examples.tasks), config.learning_rates or (), config.weight_decays or (),
        [Strengths.of(AugmentConfig())], seeds,
    )  # fmt: skip
    shape = len(grid.keys), len(examples.split.parts), len(grid.task)
    heads = _flatten(grid, shape)
    start = jax.vmap(program.start)(grid.keys)
    parameters = jax.tree.map(lambda a: a[heads.stream], start)
    state = _State(parameters, _start_optimizer(program, parameters))
    best = _Best(parameters, patience=program.patience)
    fitted_bags, valid_bags = (np.flatnonzero((examples.split.parts == part).any(axis=0)) for part in (TRAIN, VALID))
    chances = draw_chances(problem.groups)[fitted_bags]
    rng, step = np.random.default_rng(config.seed), 0
    while step < program.steps and best.improving:
        chosen = fitted_bags
        if config.balanced_sampling:
            chosen = rng.choice(fitted_bags, len(fitted_bags), p=chances / chances.sum())
        epoch = bag_batches(vectors, bags, chosen, most_bags=config.batch or 1, most_tiles=config.bag_tiles, rng=rng)
        for batch in prefetched(epoch):
            state = _step(program, problem, grid, heads, state, batch, step)
            step += 1
            if step % program.every == 0 or step == program.steps:
                logits = _all_logits(program, problem, heads, state.parameters, vectors, bags, valid_bags)
                best.update(state.parameters, np.asarray(_score_heads(program, problem, heads, logits)), step)
            if step == program.steps or not best.improving:
                break
    return TrainedGrid(
        optimizer="adamw",
        model=program.model,
        problem=problem,
        cells=grid_cells(grid, ("learning_rate", "weight_decay")),
        seeds=len(seeds),
        best=best.heads(shape),
        logits=lambda ensemble, rows: bag_outputs(ensemble, vectors, bags, rows)[0],
    )


def _bag_problem(config: FitConfig, examples: Examples, vectors: NDArray[Any]) -> Problem:
    """The problem with bags for rows, which have no vectors; means and standard deviations are those of tiles."""
    problem = build_examples_problem(config, examples, np.zeros((len(examples), 1), np.float16))
    tiles = np.repeat(examples.split.parts == TRAIN, examples.bags.sizes, axis=1)
    mean, std, shift, scale = (jnp.asarray(a) for a in moments(vectors, tiles))
    return problem._replace(mean=mean, std=std, shift=shift, scale=scale)


def _flatten(grid: Grid, shape: tuple[int, int, int]) -> _Heads:
    stream, fold, cell = (a.reshape(-1) for a in jnp.meshgrid(*(jnp.arange(n) for n in shape), indexing="ij"))
    return _Heads(stream, fold, grid.task[cell], grid.learning_rate[cell], grid.weight_decay[cell])


class _Best:
    """Heads as they were at their best evaluation on the validation bags."""

    def __init__(self, parameters: Parameters, *, patience: int):
        self.parameters = jax.tree.map(np.asarray, parameters)
        n = len(jax.tree.leaves(parameters)[0])
        self.score, self.step = np.full(n, np.inf, np.float32), np.zeros(n, np.int32)
        self._stale, self._patience = np.zeros(n, np.int32), patience

    def heads(self, shape: tuple[int, int, int]) -> BestHeads:
        """The heads by stream, fold and cell."""
        parameters = jax.tree.map(lambda a: a.reshape(*shape, *a.shape[1:]), self.parameters)
        return BestHeads(parameters, jnp.asarray(self.score.reshape(shape)), jnp.asarray(self.step.reshape(shape)))

    @property
    def improving(self) -> bool:
        """Whether a head may still improve: one that has not run out of patience."""
        return bool((self._stale < self._patience).any())

    def update(self, parameters: Parameters, score: NDArray[np.float32], step: int) -> None:
        """Take the parameters of the heads whose score is their best so far."""
        active = self._stale < self._patience
        better = (score < self.score) & active

        def best_of(new: jax.Array, old: NDArray[Any]) -> NDArray[Any]:
            return np.where(better.reshape(-1, *(1,) * (old.ndim - 1)), np.asarray(new), old)

        self.parameters = jax.tree.map(best_of, parameters, self.parameters)
        self.score, self.step = np.where(better, score, self.score), np.where(better, step, self.step)
        self._stale = np.where(better, 0, self._stale + active)


@partial(jax.jit, static_argnums=0)
def _start_optimizer(program: Program, parameters: Parameters) -> Any:
    optimizer = optimizer_of(program, jnp.float32(0), jnp.float32(0), jax.tree.map(lambda a: a[0], parameters))
    return jax.vmap(optimizer.init)(parameters)


@partial(jax.jit, static_argnums=0)
def _step(
    program: Program, problem: Problem, grid: Grid, heads: _Heads, state: _State, batch: BagBatch, number: int
) -> _State:
    """One step of every head on a batch of bags."""
    x, rows = standardise(batch.x, problem.mean, problem.std), jnp.maximum(batch.bag, 0)

    def step_of_head(inputs: tuple[Parameters, Any, _Heads]) -> tuple[Parameters, Any]:
        parameters, optimizer, head = inputs
        key = jax.random.fold_in(grid.keys[head.stream], number)
        present, softmax = problem.present[head.task], problem.softmax[head.task]
        targets = problem.targets[head.task][rows].astype(jnp.float32)
        counted = (batch.bag >= 0) & problem.known[head.task][rows] & (problem.parts[head.fold][rows] == TRAIN)
        standard = problem.shift[0, head.fold], problem.scale[0, head.fold]

        def mean_loss(parameters: Parameters) -> Float[Array, ""]:
            logits = jax.vmap(lambda bag, mask, key: apply(program.network, parameters, bag, *standard, key, mask)[0])(
                x, batch.mask, jax.random.split(key, len(x))
            )
            loss, weight = loss_and_weight(
                mask_logits(logits, present), targets, problem.weights[head.fold, head.task], present, softmax,
                program.focal, program.losses,
            )  # fmt: skip
            return jnp.where(counted, loss, 0.0).sum() / jnp.maximum(jnp.where(counted, weight, 0.0).sum(), 1e-6)

        gradient = jax.grad(mean_loss)(parameters)
        updates, optimizer = optimizer_of(program, head.rate, head.decay, parameters).update(
            gradient, optimizer, parameters
        )
        return optax.apply_updates(parameters, updates), optimizer

    return _State(*jax.lax.map(step_of_head, (state.parameters, state.optimizer, heads)))


@partial(jax.jit, static_argnums=0)
def _logits_of_batch(
    network: Network,
    parameters: Parameters,
    mean: Float[Array, " dim"],
    std: Float[Array, " dim"],
    shift: Float[Array, "members dim"],
    scale: Float[Array, "members dim"],
    batch: BagBatch,
) -> tuple[Float[Array, "members bags k"], Float[Array, "members bags length"]]:
    """Logits (members, bags, k) and attention (members, bags, length)."""
    x = standardise(batch.x, mean, std)

    def of_member(
        member: tuple[Parameters, Float[Array, " dim"], Float[Array, " dim"]],
    ) -> tuple[Float[Array, "bags k"], Float[Array, "bags length"]]:
        parameters, shift, scale = member
        return jax.vmap(lambda bag, mask: apply(network, parameters, bag, shift, scale, None, mask))(x, batch.mask)

    return jax.lax.map(of_member, (parameters, shift, scale))


def _all_logits(
    program: Program, problem: Problem, heads: _Heads, parameters: Parameters, vectors: NDArray[Any], bags: Bags,
    chosen: NDArray[np.intp],
) -> NDArray[np.float32]:  # fmt: skip
    """Logits (heads, examples, k) of some bags; zeros for the others."""
    standard = problem.mean, problem.std, problem.shift[0, heads.fold], problem.scale[0, heads.fold]
    logits = np.zeros((len(heads.task), len(problem.parts[0]), program.columns), np.float32)
    for batch in prefetched(bag_batches(vectors, bags, chosen, most_bags=EVALUATION_BAGS, most_tiles=0)):
        batch_logits, _ = _logits_of_batch(program.network, parameters, *standard, batch)
        real = np.asarray(batch.bag) >= 0
        logits[:, np.asarray(batch.bag)[real]] = np.asarray(batch_logits)[:, real]
    return logits


@partial(jax.jit, static_argnums=0)
def _score_heads(
    program: Program, problem: Problem, heads: _Heads, logits: Float[Array, "n examples k"]
) -> Float[Array, " n"]:
    def of_head(logits: Float[Array, "examples k"], fold: Int[Array, ""], task: Int[Array, ""]) -> Float[Array, ""]:
        present, targets = problem.present[task], problem.targets[task].astype(jnp.float32)
        counted = problem.known[task] & (problem.parts[fold] == VALID)
        return score(
            program.metric, mask_logits(logits, present), targets, counted, problem.weights[fold, task], present,
            problem.softmax[task], program.losses,
        )  # fmt: skip

    return jax.vmap(of_head)(logits, heads.fold, heads.task)


def bag_outputs(
    ensemble: Ensemble, vectors: NDArray[Any], bags: Bags, chosen: NDArray[np.intp]
) -> tuple[NDArray[np.float32], dict[int, NDArray[np.float32]]]:
    """Logits (members, chosen, columns) of bags, and by bag the attention (tiles,) to each of its tiles.

    Attention is the mean over members; it sums to one over a bag.
    """
    network, parameters = network_of(ensemble.model, ensemble.parameters), from_arrays(ensemble.parameters)
    logits = np.zeros((len(ensemble), len(bags), ensemble.offset.shape[1]), np.float32)
    attention: dict[int, NDArray[np.float32]] = {}
    for batch in prefetched(bag_batches(vectors, bags, chosen, most_bags=EVALUATION_BAGS, most_tiles=0)):
        batch_logits, weights = _logits_of_batch(network, parameters, *ensemble.standard, batch)
        mean = np.asarray(weights).mean(axis=0)
        for slot, bag in enumerate(np.asarray(batch.bag)):
            if bag >= 0:
                logits[:, bag] = np.asarray(batch_logits)[:, slot]
                attention[int(bag)] = mean[slot, : bags.sizes[bag]]
    return logits[:, chosen], attention
