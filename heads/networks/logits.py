"""Logits of an ensemble on the device: one compiled program for blocks of one size."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from heads.networks.models import Network, Parameters, apply, from_arrays, make_network, standardise

#: Rows that go through a head at once; the last ones are padded, so that one program serves all.
BLOCK_ROWS = 4096
#: mean and std (dim,), shift and scale (M, dim).
Standard = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


def compiled_logits(
    model: str, parameters: Mapping[str, NDArray[np.float32]], standard: Standard, vectors: NDArray[Any]
) -> NDArray[np.float32]:
    """(M, n, columns) of tiles (n, dim); arguments as the attributes of `heads.networks.ensemble.Ensemble`."""
    n, network = len(vectors), network_of(model, parameters)
    arrays = from_arrays(parameters)
    parts = []
    for start in range(0, n, BLOCK_ROWS):
        block = np.asarray(vectors[start : start + BLOCK_ROWS])
        block = np.pad(block, ((0, BLOCK_ROWS - len(block)), (0, 0)))
        parts.append(np.asarray(_logits(network, arrays, *standard, jnp.asarray(block))))
    last = parameters.get("out_kernel", parameters["kernel"])
    empty = np.zeros((len(last), 0, last.shape[-1]), np.float32)
    return np.concatenate([empty, *parts], axis=1)[:, :n]


def network_of(model: str, parameters: Mapping[str, NDArray[np.float32]]) -> Network:
    """The network that has these parameters (M, …), without dropout, which plays no part in logits."""
    dim, hidden = parameters["kernel"].shape[1:]
    columns = parameters.get("out_kernel", parameters["kernel"]).shape[-1]
    return make_network(model, dim=dim, classes=columns, hidden=hidden, dropout=0.0)


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
