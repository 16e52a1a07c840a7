"""What training leaves: all heads of a grid, and how they answer; and how one of its methods is chosen for a fit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from heads.augment import Strengths, kinds_on
from heads.augmenter import Augmenter
from heads.config import LBFGS_MODELS, AugmentConfig, FitConfig
from heads.copies import MOST_VECTORS, count_copies, lay_copies, share_views
from heads.devices import device_bytes, to_device
from heads.examples import Examples
from heads.head import Members
from heads.lbfgs import fit_lbfgs
from heads.models import Network, first_columns, network_of
from heads.problem import Problem, is_softmax, padded, pose
from heads.train import Fitted, Grid, Program, fit_on_device, fit_streamed, grid_of

#: More iterations than this the strongest grids do not need, and the weakest regularisation should not get.
LBFGS_STEPS = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """All heads of a fit: (augmentations × seeds) × folds × (tasks × hyper-parameters).

    Attributes:
        optimizer: What fitted them.
        network: Their network.
        problem: What they were fitted on.
        cells: Task and hyper-parameters of each head of a fold and seed: all of the first augmentation, then those of
            the second. Where there are several, which it is stands under 'augment'.
        seeds: Seeds of each.
        fitted: Their parameters and validation scores.
        logits: From members, a fold and rows of the examples to logits (members, n, columns).
    """

    optimizer: str
    network: Network
    problem: Problem
    cells: tuple[dict[str, Any], ...]
    seeds: int
    fitted: Fitted
    logits: Callable[[Members, NDArray[np.intp]], NDArray[np.float32]]

    def scores(self, task: int) -> dict[int, NDArray[np.float32]]:
        """Validation scores (seeds, folds) of each of a task's cells; smaller is better."""
        return {i: self.of_cell(self.fitted.score, i) for i, cell in enumerate(self.cells) if cell["task"] == task}

    def of_cell(self, values: Any, cell: int) -> NDArray[Any]:
        """What is of a cell, (seeds, folds, …), in an array over all heads (streams, folds, heads, …)."""
        policy, head = divmod(cell, self.fitted.score.shape[2])
        return np.asarray(values[policy * self.seeds : (policy + 1) * self.seeds, :, head])

    def members(self, cell: int, folds: Sequence[int], columns: int) -> Members:
        """The heads of a cell, of all seeds and some folds; without offset and temperature."""
        chosen, seeds = np.asarray(folds), self.seeds
        parameters = jax.tree.map(
            lambda a: self.of_cell(a, cell)[:, chosen].reshape(-1, *a.shape[3:]), self.fitted.parameters
        )
        parameters = first_columns(parameters, columns)
        policy = cell // self.fitted.score.shape[2]
        shift, scale = (np.asarray(a)[policy, chosen] for a in (self.problem.shift, self.problem.scale))
        m = seeds * len(folds)
        return Members(
            network=self.network,
            parameters=parameters,
            mean=np.asarray(self.problem.mean),
            std=np.asarray(self.problem.std),
            shift=np.tile(shift, (seeds, 1)),
            scale=np.tile(scale, (seeds, 1)),
            offset=np.zeros((m, columns), np.float32),
            temperature=np.ones(m, np.float32),
        )


def columns_of(classes: int, multi_label: bool) -> int:
    """Columns of logits that a task has; see `losses`."""
    return classes if multi_label or classes > 2 else 1


def pose_examples(
    config: FitConfig, examples: Examples, vectors: NDArray[Any], shares: NDArray[np.float64] | None = None
) -> Problem:
    """The problem that examples and their vectors pose; see `pose`."""
    return pose(
        vectors, examples.targets, examples.known, examples.split.parts, [config.multi_label] * len(examples.tasks),
        class_weights=config.class_weights == "balanced", balanced_sampling=config.balanced_sampling, seed=config.seed,
        shares=shares,
    )  # fmt: skip


def program_of(
    config: FitConfig, examples: Examples, dim: int, *, views: int = 1, steps: int | None = None,
    latent: Network | None = None,
) -> Program:  # fmt: skip
    """What is compiled for a fit."""
    columns = max(columns_of(len(classes), config.multi_label) for classes in examples.classes)
    softmax = {is_softmax(len(classes), config.multi_label) for classes in examples.classes}
    return Program(
        network=network_of(config.model, dim=dim, classes=columns, hidden=config.hidden, dropout=config.dropout),
        model=config.model,
        dim=dim,
        columns=columns,
        hidden=config.hidden,
        dropout=config.dropout,
        losses=frozenset("softmax" if one else "sigmoid" for one in softmax),
        kinds=tuple(kinds_on(one) for one in config.policies),
        views=views,
        latent=latent,
        batch=config.batch or 1,
        steps=steps or config.steps or 1,
        every=config.evaluate_every,
        patience=config.patience,
        metric=config.metric,
        focal=config.focal,
    )


def choose_optimizer(config: FitConfig, rows: int, views: int = 1) -> str:
    """`auto` resolved, for so many rows and vectors of each."""
    if config.optimizer != "auto":
        return config.optimizer
    can = config.model in LBFGS_MODELS and not config.draws and not config.focal and not config.balanced_sampling
    return "lbfgs" if can and rows * count_copies(config, views) <= MOST_VECTORS else "adamw"


def train(
    config: FitConfig, examples: Examples, vectors: NDArray[Any], *, augmenter: Augmenter | None = None,
    on_device: bool | None = None,
) -> Trained:  # fmt: skip
    """Fit all heads of a configuration to examples of one vector each.

    Args:
        vectors: (n, dim), or with stored views (n, 1 + views, dim), the original first; may be a memory map.
        augmenter: What takes vectors to those of views; needed where `learned` is on.
        on_device: Whether all vectors are brought to the device; by what is free there when None.
    """
    dim, views = vectors.shape[-1], vectors.shape[1] if vectors.ndim == 3 else 1
    optimizer = choose_optimizer(config, len(vectors), views)
    if optimizer == "lbfgs":
        copies, shares = lay_copies(config, vectors, augmenter)
        problem = pose_examples(config, examples, copies, shares)
        program = program_of(config, examples, dim, steps=min(config.steps or LBFGS_STEPS, LBFGS_STEPS))
        seeds = range(config.seed, config.seed + 1)  # it starts at zero and draws nothing: all seeds are alike
        grid = _grid(config, examples, rates=config.c, decays=(0.0,), seeds=seeds)
        fitted = fit_lbfgs(program, problem, grid, copies, shares)
        names: tuple[str, ...] = ("c",)
    else:
        network, latent = (augmenter.network, augmenter.latent) if augmenter is not None else (None, None)
        program = program_of(config, examples, dim, views=views, latent=network)
        problem = pose_examples(config, examples, vectors, share_views(config, views))._replace(latent=latent)
        seeds = range(config.seed, config.seed + config.seeds)
        rates, decays = config.learning_rates or (), config.weight_decays or ()
        grid = _grid(config, examples, rates=rates, decays=decays, seeds=seeds)
        fitted = _fit_adamw(program, problem, grid, vectors, on_device)
        names = ("learning_rate", "weight_decay")
    jax.block_until_ready(fitted)
    first = vectors if vectors.ndim == 2 else vectors[:, 0]
    return Trained(
        optimizer=optimizer,
        network=program.network,
        problem=problem,
        cells=cells_of(grid, names, config.policies),
        seeds=len(seeds),
        fitted=fitted,
        logits=lambda members, rows: members.logits(first[rows]),
    )


def _grid(config: FitConfig, examples: Examples, *, rates, decays, seeds) -> Grid:
    return grid_of(len(examples.tasks), rates, decays, [Strengths.of(one) for one in config.policies], seeds)


def cells_of(
    grid: Grid, names: Sequence[str], policies: Sequence[AugmentConfig] = (AugmentConfig(),)
) -> tuple[dict[str, Any], ...]:
    """What each head of a grid is, by the names of its hyper-parameters and, where there are several, augmentation."""
    values = {"learning_rate": grid.learning_rate, "weight_decay": grid.weight_decay, "c": grid.learning_rate}
    columns = {name: np.asarray(values[name]).tolist() for name in names}
    return tuple(
        {"task": task, **{name: float(f"{columns[name][i]:.6g}") for name in names}}
        | ({"augment": str(policy)} if len(policies) > 1 else {})
        for policy in policies
        for i, task in enumerate(np.asarray(grid.task).tolist())
    )


def _fit_adamw(program: Program, problem: Problem, grid: Grid, vectors: NDArray[Any], on_device: bool | None) -> Fitted:
    if on_device is None:
        on_device = 1.2 * vectors.nbytes < device_bytes()
    flat = vectors.reshape(-1, vectors.shape[-1])
    if on_device:
        return fit_on_device(program, problem, grid, to_device(flat, padded(len(vectors)) * program.views))
    return fit_streamed(program, problem, grid, lambda rows: flat[np.minimum(rows, len(flat) - 1)])
