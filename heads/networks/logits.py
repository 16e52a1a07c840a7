"""Logits of an ensemble on the device: one compiled program for blocks of one size."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from heads.networks.ensemble import Ensemble
from heads.networks.models import Network, Parameters, apply, from_arrays, make_network, standardise

#: Rows that go through a head at once; the last ones are padded, so that one program serves all.
BLOCK_ROWS = 4096


def compiled_logits(ensemble: Ensemble, vectors: NDArray[Any]) -> NDArray[np.float32]:
    """(M, n, columns) of tiles (n, dim), as `Ensemble.logits`, by JAX."""
    n, network = len(vectors), network_of(ensemble)
    standard = ensemble.mean, ensemble.std, ensemble.shift, ensemble.scale
    parameters = from_arrays(ensemble.parameters)
    parts = []
    for start in range(0, n, BLOCK_ROWS):
        block = np.asarray(vectors[start : start + BLOCK_ROWS])
        block = np.pad(block, ((0, BLOCK_ROWS - len(block)), (0, 0)))
        parts.append(np.asarray(_logits(network, parameters, *standard, jnp.asarray(block))))
    empty = np.zeros((len(ensemble), 0, ensemble.offset.shape[1]), np.float32)
    return np.concatenate([empty, *parts], axis=1)[:, :n]


def network_of(ensemble: Ensemble) -> Network:
    """The network of an ensemble, without dropout, which plays no part in its logits."""
    hidden = ensemble.parameters["kernel"].shape[-1]
    return make_network(
        ensemble.model, dim=len(ensemble.mean), classes=ensemble.offset.shape[1], hidden=hidden, dropout=0.0
    )


@partial(jax.jit, static_argnums=0)
def _logits(
    network: Network,
    parameters: Parameters,
    mean: Float[Array, " dim"],
    std: Float[Array, " dim"],
    shift: Float[Array, "members dim"],
    scale: Float[Array, "members dim"],
    block: Float[Array, "n dim"],
) -> Float[Array, "members n k"]:
    x = standardise(block, mean, std)
    return jax.vmap(lambda p, by, per: apply(network, p, x, by, per, None))(parameters, shift, scale)
