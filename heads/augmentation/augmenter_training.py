"""Training of a latent augmenter: one program for a round of steps and an evaluation on the validation part."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Float16, Int, PRNGKeyArray

from embedstore.progress import OnProgress, Progress, no_progress
from heads.augmentation.augmenter_report import ValidationScore
from heads.augmentation.view_pairs import ViewPairs
from heads.config import AugmenterConfig
from heads.devices import padded, to_device
from heads.networks.augmenter_network import AugmenterArrays, apply_augmenter, augmenter_network, initial_augmenter
from heads.networks.models import Network, Parameters, decay_mask
from heads.splitting.splits import TRAIN, VALID

#: Most views that are validated on.
_VALID_VIEWS = 4096
#: Share of a batch that the identity term is computed on: one in so many.
_IDENTITY_PART = 4
_WARM_UP = 0.05  # of the steps


class _Pairs(NamedTuple):
    """Tiles and views on the device, then rows of padding that no index points to."""

    vectors: Float16[Array, "tiles dim"]
    views: Float16[Array, "tiles count dim"]
    parameters: Float[Array, "tiles count p"]
    train: Int[Array, " tiles"]
    train_count: Int[Array, ""]
    valid: Int[Array, " views"]
    valid_weight: Float[Array, " views"]


class _Hyperparameters(NamedTuple):
    """Hyper-parameters that are values of the compiled program: changing them compiles nothing."""

    steps: Int[Array, ""]
    learning_rate: Float[Array, ""]
    weight_decay: Float[Array, ""]
    identity: Float[Array, ""]


class _State(NamedTuple):
    """The state of training, and the best parameters so far."""

    parameters: Parameters
    optimizer: Any
    step: Int[Array, ""]
    best: Parameters
    best_score: Float[Array, ""]
    best_step: Int[Array, ""]


class TrainedAugmenter(NamedTuple):
    """A trained network.

    Attributes:
        evaluations: On the validation part.
        step: The one that was kept; 0 where none was better than the tile's own vector.
    """

    network: Network
    arrays: AugmenterArrays
    evaluations: tuple[ValidationScore, ...]
    step: int


def train_augmenter(
    config: AugmenterConfig, pairs: ViewPairs, arrays: AugmenterArrays, on_progress: OnProgress = no_progress
) -> TrainedAugmenter:
    """Train a network to predict the standardised vectors of views, by mean squared error and an identity term.

    Args:
        arrays: An augmenter without parameters; see `augmenter_inputs`.
        on_progress: Called after each evaluation on the validation part.
    """
    dim = pairs.vectors.shape[1]
    network = augmenter_network(dim, config)
    key = jax.random.key(config.seed)
    start = initial_augmenter(jax.random.fold_in(key, 0), dim, config)
    on_device = _to_device(config, pairs)
    hyperparameters = _Hyperparameters(
        jnp.int32(config.steps), *map(jnp.float32, (config.learning_rate, config.weight_decay, config.identity))
    )
    unchanged = float(_score(network, arrays._replace(parameters=start), on_device))  # the start changes nothing
    state = _State(
        parameters=start, optimizer=_optimizer(hyperparameters, start).init(start), step=jnp.int32(0), best=start,
        best_score=jnp.float32(unchanged), best_step=jnp.int32(0),
    )  # fmt: skip
    run = partial(_round, network, config.batch, config.evaluate_every, arrays, on_device, hyperparameters)
    evaluations = []
    for _ in range(-(-config.steps // config.evaluate_every)):
        state, score = run(state, jax.random.fold_in(key, 1))
        explained = 1 - float(score) / max(unchanged, 1e-12)
        step = int(state.step)
        evaluations.append(ValidationScore(step=step, explained=round(explained, 4)))
        message = f"step {step:,} of {config.steps:,}: {explained:.1%} of the change explained on validation tiles"
        on_progress(Progress(stage="fit-augmenter", message=message, done=step, total=config.steps, unit="steps"))
    return TrainedAugmenter(network, arrays._replace(parameters=state.best), tuple(evaluations), int(state.best_step))


def _to_device(config: AugmenterConfig, pairs: ViewPairs) -> _Pairs:
    """Rows are padded to a few sizes, so that a few tiles more compile nothing again."""
    count = pairs.views.shape[1]
    rows = padded(len(pairs))
    train = np.flatnonzero(pairs.part == TRAIN)
    valid = (np.flatnonzero(pairs.part == VALID)[:, None] * count + np.arange(count)).ravel()
    valid = np.sort(np.random.default_rng(config.seed).permutation(valid)[:_VALID_VIEWS])
    valid_rows = padded(len(valid))
    return _Pairs(
        vectors=to_device(pairs.vectors, rows),
        views=to_device(pairs.views, rows),
        parameters=to_device(pairs.parameters, rows),
        train=jnp.asarray(np.pad(train, (0, rows - len(train))), jnp.int32),
        train_count=jnp.int32(len(train)),
        valid=jnp.asarray(np.pad(valid, (0, valid_rows - len(valid))), jnp.int32),
        valid_weight=jnp.asarray(np.arange(valid_rows) < len(valid), jnp.float32),
    )


def _optimizer(hyperparameters: _Hyperparameters, parameters: Parameters) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter 2019) with a short warm-up and a cosine to zero, gradients clipped to length 1."""

    def rate(step: Int[Array, ""]) -> Float[Array, ""]:
        warm_up = jnp.maximum(1.0, _WARM_UP * hyperparameters.steps)
        along = jnp.clip((step - warm_up) / jnp.maximum(hyperparameters.steps - warm_up, 1.0), 0.0, 1.0)
        return hyperparameters.learning_rate * jnp.minimum((step + 1) / warm_up, 0.5 * (1 + jnp.cos(jnp.pi * along)))

    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(rate, weight_decay=hyperparameters.weight_decay, mask=decay_mask(parameters)),
    )


@partial(jax.jit, static_argnums=(0, 1, 2))
def _round(
    network: Network, batch: int, every: int, arrays: AugmenterArrays, pairs: _Pairs,
    hyperparameters: _Hyperparameters, state: _State, key: PRNGKeyArray,
) -> tuple[_State, Float[Array, ""]]:  # fmt: skip
    """`every` steps, or those that are left, and an evaluation: the state, and the score."""
    optimizer = _optimizer(hyperparameters, state.parameters)

    def step(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        parameters, moments, number = carry
        drawn_batch = _batch(batch, pairs, jax.random.fold_in(key, number))
        gradient = jax.grad(partial(_loss, network, arrays, hyperparameters.identity))(parameters, *drawn_batch)
        updates, moments = optimizer.update(gradient, moments, parameters)
        return optax.apply_updates(parameters, updates), moments, number + 1

    def step_or_not(carry: tuple[Any, ...], _: None) -> tuple[Any, None]:
        return jax.lax.cond(carry[2] < hyperparameters.steps, step, lambda carry: carry, carry), None

    carry = (state.parameters, state.optimizer, state.step)
    (parameters, moments, number), _ = jax.lax.scan(step_or_not, carry, length=every)
    score = _score(network, arrays._replace(parameters=parameters), pairs)
    better = score < state.best_score
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), parameters, state.best)
    best_score, best_step = jnp.where(better, score, state.best_score), jnp.where(better, number, state.best_step)
    return _State(parameters, moments, number, best, best_score, best_step), score


def _batch(
    n: int, pairs: _Pairs, key: PRNGKeyArray
) -> tuple[Float16[Array, "n dim"], Float16[Array, "n dim"], Float[Array, "n p"]]:
    """Vectors of tiles, of one view of each, and its parameters; drawn with replacement."""
    tile_key, view_key = jax.random.split(key)
    tiles = pairs.train[jax.random.randint(tile_key, (n,), 0, pairs.train_count)]
    view = jax.random.randint(view_key, (n,), 0, pairs.views.shape[1])
    return pairs.vectors[tiles], pairs.views[tiles, view], pairs.parameters[tiles, view]


def _loss(
    network: Network,
    arrays: AugmenterArrays,
    identity: Float[Array, ""],
    parameters: Parameters,
    vectors: Float16[Array, "n dim"],
    views: Float16[Array, "n dim"],
    view_parameters: Float[Array, "n p"],
) -> Float[Array, ""]:
    """Squared error of the views, and `identity` times that of tiles with nothing done to them."""
    arrays = arrays._replace(parameters=parameters)
    unchanged = vectors[: -(-len(vectors) // _IDENTITY_PART)]
    nothing_done = jnp.zeros((len(unchanged), view_parameters.shape[1]))
    inputs = jnp.concatenate([vectors, unchanged]), jnp.concatenate([view_parameters, nothing_done])
    error = _squared_error(arrays, apply_augmenter(network, arrays, *inputs), jnp.concatenate([views, unchanged]))
    return error[: len(vectors)].mean() + identity * error[len(vectors) :].mean()


def _squared_error(
    arrays: AugmenterArrays, predicted: Float[Array, "n dim"], true: Float16[Array, "n dim"]
) -> Float[Array, " n"]:
    """Mean over dimensions, each in its standard deviations."""
    return jnp.mean(jnp.square((predicted - true.astype(jnp.float32)) / arrays.std[None]), axis=1)


@partial(jax.jit, static_argnums=0)
def _score(network: Network, arrays: AugmenterArrays, pairs: _Pairs) -> Float[Array, ""]:
    """Mean squared error on views of the validation part."""
    tile, view = jnp.divmod(pairs.valid, pairs.views.shape[1])
    predicted = apply_augmenter(network, arrays, pairs.vectors[tile], pairs.parameters[tile, view])
    error = _squared_error(arrays, predicted, pairs.views[tile, view])
    return jnp.where(pairs.valid_weight > 0, error, 0.0).sum() / pairs.valid_weight.sum()
