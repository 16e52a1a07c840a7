"""An ensemble: networks that were fitted on different folds or from different seeds, and their mean probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray
from scipy.special import expit, softmax

from heads.networks.models import Network, Parameters, apply, standardise
from heads.tasks import is_binary, is_softmax

#: Rows that go through a head at once; the last ones are padded, so that one program serves all.
BLOCK_ROWS = 4096


@dataclass(frozen=True, kw_only=True, eq=False)
class Ensemble:
    """Fitted networks, M of them, and how each reads vectors and gives probabilities.

    Attributes:
        network: The network of all of them.
        parameters: (M, …) each.
        mean, std: (dim,) that vectors are standardised by.
        shift, scale: (M, dim) that each network's inputs are standardised by after that, from its own training data.
        offset: (M, columns) that is added to logits: it takes out the weights that classes had in fitting, so that
            probabilities are those of the classes as they come (Elkan 2001).
        temperature: (M,) that logits are divided by (Guo et al. 2017).
    """

    network: Network
    parameters: Parameters
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    shift: NDArray[np.float32]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    temperature: NDArray[np.float32]

    @classmethod
    def concatenate(cls, ensembles: "Sequence[Ensemble]") -> "Ensemble":
        """All networks of some ensembles; they share network, mean and std."""
        arrays = {
            name: np.concatenate([getattr(ensemble, name) for ensemble in ensembles])
            for name in ("shift", "scale", "offset", "temperature")
        }
        parameters = jax.tree.map(lambda *a: np.concatenate(a), *[ensemble.parameters for ensemble in ensembles])
        first = ensembles[0]
        return cls(network=first.network, mean=first.mean, std=first.std, parameters=parameters, **arrays)

    def __len__(self) -> int:
        return len(self.temperature)

    def logits(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """(M, n, columns) of tiles (n, dim), as the networks give them, without offset and temperature."""
        n = len(vectors)
        parts = []
        for start in range(0, n, BLOCK_ROWS):
            block = np.asarray(vectors[start : start + BLOCK_ROWS])
            block = np.pad(block, ((0, BLOCK_ROWS - len(block)), (0, 0)))
            standard = self.mean, self.std, self.shift, self.scale
            parts.append(np.asarray(_logits(self.network, self.parameters, *standard, jnp.asarray(block))))
        empty = np.zeros((len(self), 0, self.offset.shape[1]), np.float32)
        return np.concatenate([empty, *parts], axis=1)[:, :n]

    def probabilities(
        self, logits: NDArray[np.float32], classes: int, multi_label: bool, members: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float32]:
        """(n, classes): the mean over members of their calibrated probabilities, from logits (M, n, columns).

        Args:
            members: (M, n) whether each member counts for each row, one at least; all when None.
        """
        calibrated = (logits + self.offset[:, None]) / self.temperature[:, None, None]
        columns = softmax(calibrated, axis=-1) if is_softmax(classes, multi_label) else expit(calibrated)
        if members is None:
            mean = columns.mean(axis=0)
        else:
            mean = np.where(members[:, :, None], columns, 0).sum(axis=0) / members.sum(axis=0)[:, None]
            mean = mean.astype(columns.dtype)
        return np.concatenate([1 - mean, mean], axis=1) if is_binary(classes, multi_label) else mean


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
