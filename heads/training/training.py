"""Train all heads of a configuration: choose the optimiser, build its problem, and fit the grid."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from heads.augmentation.augmenter import Augmenter
from heads.augmentation.feature_space import Strengths
from heads.augmentation.policies import MAX_LBFGS_VECTORS, augmented_rows, count_augmented_rows, view_shares
from heads.config import LBFGS_MODELS, FitConfig
from heads.devices import device_bytes, padded, to_device
from heads.examples import Examples
from heads.training.abmil import train_bags
from heads.training.adamw import fit_on_device, fit_streamed
from heads.training.grid import BestHeads, Grid, Program, TrainedGrid, grid_cells, make_grid, make_program
from heads.training.lbfgs import fit_lbfgs
from heads.training.problem import Problem, build_examples_problem

#: Most iterations of L-BFGS: strong regularisation converges in fewer, and weak regularisation should not get more.
LBFGS_STEPS = 200


def choose_optimizer(config: FitConfig, rows: int, views: int = 1) -> str:
    """The optimiser of a configuration; `auto` is resolved.

    Args:
        rows: Rows to fit.
        views: Stored vectors of a row.
    """
    if config.optimizer != "auto":
        return config.optimizer
    eligible = config.model in LBFGS_MODELS and not config.draws and not config.focal and not config.balanced_sampling
    return "lbfgs" if eligible and rows * count_augmented_rows(config, views) <= MAX_LBFGS_VECTORS else "adamw"


def train(
    config: FitConfig, examples: Examples, vectors: NDArray[Any], *, augmenter: Augmenter | None = None,
    on_device: bool | None = None,
) -> TrainedGrid:  # fmt: skip
    """Fit all heads of a configuration to examples.

    Args:
        vectors: (n, dim), or with stored views (n, 1 + views, dim), the original first; for abmil (tiles, dim) of all
            bags, one after the other. May be a memory map.
        augmenter: The latent augmenter, needed where a policy uses `learned`.
        on_device: Whether all vectors are copied to the device; depends on its free memory when None. Not for abmil.
    """
    if config.model == "abmil":
        return train_bags(config, examples, vectors)
    dim, views = vectors.shape[-1], vectors.shape[1] if vectors.ndim == 3 else 1
    optimizer = choose_optimizer(config, len(vectors), views)
    if optimizer == "lbfgs":
        copies, shares = augmented_rows(config, vectors, augmenter)
        problem = build_examples_problem(config, examples, copies, shares)
        program = make_program(config, examples, dim, steps=min(config.steps or LBFGS_STEPS, LBFGS_STEPS))
        seeds = range(config.seed, config.seed + 1)  # it starts at zero and draws nothing: all seeds are alike
        grid = _grid(config, examples, rates=config.c, decays=(0.0,), seeds=seeds)
        # Policies that were named are fitted together, as earlier heads were, which are fitted again to the same bits.
        best = fit_lbfgs(program, problem, grid, copies, shares, apart=bool(config.augment_margin))
        names: tuple[str, ...] = ("c",)
    else:
        network, arrays = (augmenter.network, augmenter.arrays) if augmenter is not None else (None, None)
        program = make_program(config, examples, dim, views=views, augmenter_network=network)
        problem = build_examples_problem(config, examples, vectors, view_shares(config, views))._replace(
            augmenter=arrays
        )
        seeds = range(config.seed, config.seed + config.seeds)
        rates, decays = config.learning_rates or (), config.weight_decays or ()
        grid = _grid(config, examples, rates=rates, decays=decays, seeds=seeds)
        best = _fit_adamw(program, problem, grid, vectors, on_device)
        names = ("learning_rate", "weight_decay")
    originals = vectors if vectors.ndim == 2 else vectors[:, 0]
    return TrainedGrid(
        optimizer=optimizer,
        model=program.model,
        problem=problem,
        cells=grid_cells(grid, names, config.policies),
        seeds=len(seeds),
        best=jax.device_get(best),
        logits=lambda ensemble, rows: ensemble.compiled_logits(originals[rows]),
    )


def _grid(
    config: FitConfig, examples: Examples, *, rates: Sequence[float], decays: Sequence[float], seeds: Sequence[int]
) -> Grid:
    return make_grid(len(examples.tasks), rates, decays, [Strengths.of(policy) for policy in config.policies], seeds)


def _fit_adamw(
    program: Program, problem: Problem, grid: Grid, vectors: NDArray[Any], on_device: bool | None
) -> BestHeads:
    if on_device is None:
        on_device = 1.2 * vectors.nbytes < device_bytes()
    flat = vectors.reshape(-1, vectors.shape[-1])
    if on_device:
        return fit_on_device(program, problem, grid, to_device(flat, padded(len(vectors)) * program.views))
    return fit_streamed(program, problem, grid, lambda rows: flat[np.minimum(rows, len(flat) - 1)])
