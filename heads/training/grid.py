"""The grid of heads that is fitted at once: its compiled constants, its cells, and the trained heads.

A stream is a seed with its batches and its augmentation. All heads of a stream see the same batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray
from numpy.typing import NDArray

from heads.augmentation.feature_space import Strengths, active_kinds
from heads.config import AugmentConfig, FitConfig
from heads.examples import Examples
from heads.networks.ensemble import Ensemble
from heads.networks.models import Network, Parameters, first_columns, initial_parameters, make_network, to_arrays
from heads.tasks import is_softmax, logit_columns
from heads.training.problem import Problem


@dataclass(frozen=True, kw_only=True)
class Program:
    """The constants of a fit, which are compiled into its program.

    Attributes:
        network: The heads' network, without its parameters.
        model, dim, columns, hidden, dropout: What it was made from; see `initial_parameters`.
        losses: Kinds of loss that its tasks need.
        kinds: Kinds of augmentation that each policy uses; the streams are policies × seeds.
        views: Stored views of a row, the original among them.
        batch: Rows of a step.
        steps: Most steps.
        every: Steps between two evaluations on the validation rows.
        patience: Evaluations without improvement after which a head stops.
        metric: What is compared on the validation rows.
        focal: Exponent of the focal loss.
        augmenter_network: The latent augmenter's network, where a policy uses `learned`.
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
    augmenter_network: Network | None = None

    @property
    def rounds(self) -> int:
        return -(-self.steps // self.every)

    def start(self, key: PRNGKeyArray) -> Parameters:
        return initial_parameters(
            self.model, key, dim=self.dim, classes=self.columns, hidden=self.hidden, dropout=self.dropout
        )


class Grid(NamedTuple):
    """The heads of a fold: tasks × hyper-parameters, flattened; and the streams."""

    task: Int[Array, " heads"]
    learning_rate: Float[Array, " heads"]
    weight_decay: Float[Array, " heads"]
    strengths: Strengths  # (streams,) each
    keys: PRNGKeyArray  # (streams,)


class BestHeads(NamedTuple):
    """Heads as they were at their best evaluation on the validation rows."""

    parameters: Parameters  # (streams, folds, heads, …) each
    score: Float[Array, "streams folds heads"]
    best_step: Int[Array, "streams folds heads"]


def stream_moments(problem: Problem, streams: int) -> tuple[jax.Array, jax.Array]:
    """Shift and scale of each stream, (streams, folds, dim) each."""
    seeds = streams // len(problem.shift)
    return jnp.repeat(problem.shift, seeds, axis=0), jnp.repeat(problem.scale, seeds, axis=0)


def make_grid(
    tasks: int, learning_rates: Sequence[float], weight_decays: Sequence[float], strengths: Sequence[Strengths],
    seeds: Sequence[int],
) -> Grid:  # fmt: skip
    """Heads: tasks × learning rates × weight decays. Streams: strengths of augmentation × seeds."""
    cells = [(t, r, w) for t in range(tasks) for r in learning_rates for w in weight_decays]
    task, rate, decay = (np.asarray(values) for values in zip(*cells, strict=True))
    streams = [(strength, seed) for strength in strengths for seed in seeds]
    arrays: dict[str, Any] = {  # laid out on the host, which compiles nothing
        "task": task.astype(np.int32),
        "learning_rate": rate.astype(np.float32),
        "weight_decay": decay.astype(np.float32),
        "strengths": jax.tree.map(lambda *a: np.stack(a), *[strength for strength, _ in streams]),
    }
    return Grid(**jax.device_put(arrays), keys=random_keys([seed for _, seed in streams]))


def random_keys(seeds: Sequence[int]) -> PRNGKeyArray:
    """`jax.random.key` of each seed, (seeds,); compiles nothing."""
    words: Any = np.array([(0, seed & 0xFFFFFFFF) for seed in seeds], np.uint32)
    return jax.random.wrap_key_data(words, impl="threefry2x32")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A task and its hyper-parameters by name; among them `augment`, if there are several policies of augmentation."""

    task: int
    parameters: Mapping[str, float | str]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedGrid:
    """All heads of a fit: (policies × seeds) × folds × (tasks × hyper-parameters).

    Attributes:
        optimizer: Name of the optimiser.
        model: The kind of network of the heads.
        problem: What they were fitted on.
        cells: Task and hyper-parameters of each head of a fold and seed: all of the first policy of augmentation, then
            those of the second.
        seeds: Number of seeds of each cell.
        best: Parameters and validation scores.
        logits: Function from an ensemble and rows (n,) of the examples to logits (M, n, columns).
    """

    optimizer: str
    model: str
    problem: Problem
    cells: tuple[Cell, ...]
    seeds: int
    best: BestHeads
    logits: Callable[[Ensemble, NDArray[np.intp]], NDArray[np.float32]]

    def scores(self, task: int) -> dict[int, NDArray[np.float32]]:
        """Validation scores (seeds, folds) of each of a task's cells; smaller is better."""
        return {i: self.of_cell(self.best.score, i) for i, cell in enumerate(self.cells) if cell.task == task}

    def mean_scores(self, task: int) -> dict[int, float]:
        """Validation score of each of a task's cells, as the mean over folds and seeds."""
        return {cell: float(np.mean(scores)) for cell, scores in self.scores(task).items()}

    def best_cell(self, task: int) -> int:
        """The cell of a task with the best mean validation score; the first of those that tie."""
        scores = self.mean_scores(task)
        return min(scores, key=lambda cell: (scores[cell], cell))

    def best_cells(self, task: int) -> dict[str, int]:
        """The best cell of each policy of augmentation, by the policy's name, in the order of the policies."""
        scores, best = self.mean_scores(task), dict[str, int]()
        for cell in scores:
            name = str(self.cells[cell].parameters.get("augment", ""))
            best[name] = min(best.get(name, cell), cell, key=lambda one: (scores[one], one))
        return best

    def of_cell(self, values: Any, cell: int) -> NDArray[Any]:
        """The part (seeds, folds, …) of a cell of an array over all heads (streams, folds, heads, …)."""
        policy, head = divmod(cell, self.best.score.shape[2])
        return np.asarray(values[policy * self.seeds : (policy + 1) * self.seeds, :, head])

    def ensemble(self, cell: int, folds: Sequence[int], columns: int) -> Ensemble:
        """The heads of a cell, of all seeds and some folds; without offset and temperature."""
        chosen, seeds = np.asarray(folds), self.seeds
        parameters = jax.tree.map(
            lambda a: self.of_cell(a, cell)[:, chosen].reshape(-1, *a.shape[3:]), self.best.parameters
        )
        arrays = {name: np.asarray(a) for name, a in to_arrays(first_columns(parameters, columns)).items()}
        policy = cell // self.best.score.shape[2]
        shift, scale = (np.asarray(a)[policy, chosen] for a in (self.problem.shift, self.problem.scale))
        m = seeds * len(folds)
        return Ensemble(
            model=self.model,
            parameters=arrays,
            mean=np.asarray(self.problem.mean),
            std=np.asarray(self.problem.std),
            shift=np.tile(shift, (seeds, 1)),
            scale=np.tile(scale, (seeds, 1)),
            offset=np.zeros((m, columns), np.float32),
            temperature=np.ones(m, np.float32),
        )


def make_program(
    config: FitConfig, examples: Examples, dim: int, *, views: int = 1, steps: int | None = None,
    augmenter_network: Network | None = None,
) -> Program:  # fmt: skip
    """The program of a fit.

    Args:
        dim: Length of a vector.
        views: Stored views of a row, the original among them.
        steps: Most steps; those of the configuration when None.
    """
    columns = max(logit_columns(len(classes), config.multi_label) for classes in examples.classes)
    softmax = {is_softmax(len(classes), config.multi_label) for classes in examples.classes}
    return Program(
        network=make_network(config.model, dim=dim, classes=columns, hidden=config.hidden, dropout=config.dropout),
        model=config.model,
        dim=dim,
        columns=columns,
        hidden=config.hidden,
        dropout=config.dropout,
        losses=frozenset("softmax" if exclusive else "sigmoid" for exclusive in softmax),
        kinds=tuple(active_kinds(policy) for policy in config.policies),
        views=views,
        augmenter_network=augmenter_network,
        batch=config.batch or 1,
        steps=steps or config.steps or 1,
        every=config.evaluate_every,
        patience=config.patience,
        metric=config.metric,
        focal=config.focal,
    )


def grid_cells(
    grid: Grid, names: Sequence[str], policies: Sequence[AugmentConfig] = (AugmentConfig(),)
) -> tuple[Cell, ...]:
    """Task and hyper-parameters of each head of a fold and seed.

    Args:
        names: Names of the optimiser's hyper-parameters.
    """
    values = {"learning_rate": grid.learning_rate, "weight_decay": grid.weight_decay, "c": grid.learning_rate}
    columns = {name: np.asarray(values[name]).tolist() for name in names}

    def parameters(i: int, policy: AugmentConfig) -> dict[str, float | str]:
        numbers = {name: float(f"{columns[name][i]:.6g}") for name in names}
        return {**numbers, "augment": str(policy)} if len(policies) > 1 else {**numbers}

    return tuple(
        Cell(task=task, parameters=parameters(i, policy))
        for policy in policies
        for i, task in enumerate(np.asarray(grid.task).tolist())
    )
