"""An ensemble: networks that were fitted on different folds or from different seeds, and their mean probabilities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from heads.config import LBFGS_MODELS, ZERO_SHOT
from heads.tasks import is_binary, is_softmax

#: Models whose logits are one matrix product, which needs no JAX.
LINEAR_MODELS = (*LBFGS_MODELS, ZERO_SHOT)
#: Rows that NumPy standardises at once: 1 MB of 512 dimensions, which stays in the processor's cache.
_BLOCK_ROWS = 512
#: Multiplications of one matrix product: OpenBLAS divides larger ones among all cores, which take ten times as long to
#: wait for each other as the product takes (11 µs a tile instead of 0.7, 384 dimensions and 5 columns).
_PRODUCT = 1 << 18


@dataclass(frozen=True, kw_only=True, eq=False)
class Ensemble:
    """Fitted networks, M of them, and how each reads vectors and gives probabilities.

    Attributes:
        model: The kind of network of all of them.
        parameters: By name, (M, …) each.
        mean, std: (dim,) that vectors are standardised by.
        shift, scale: (M, dim) that each network's inputs are standardised by after that, from its own training data.
        offset: (M, columns) that is added to logits: it takes out the weights that classes had in fitting, so that
            probabilities are those of the classes as they come (Elkan 2001).
        temperature: (M,) that logits are divided by (Guo et al. 2017).
    """

    model: str
    parameters: Mapping[str, NDArray[np.float32]]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    shift: NDArray[np.float32]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    temperature: NDArray[np.float32]

    @classmethod
    def concatenate(cls, ensembles: "Sequence[Ensemble]") -> "Ensemble":
        """All networks of some ensembles; they share model, mean and std."""
        arrays = {
            name: np.concatenate([getattr(ensemble, name) for ensemble in ensembles])
            for name in ("shift", "scale", "offset", "temperature")
        }
        first = ensembles[0]
        parameters = {name: np.concatenate([e.parameters[name] for e in ensembles]) for name in first.parameters}
        return cls(model=first.model, mean=first.mean, std=first.std, parameters=parameters, **arrays)

    def __len__(self) -> int:
        return len(self.temperature)

    @property
    def standard(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """mean, std, shift and scale."""
        return self.mean, self.std, self.shift, self.scale

    def logits(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """(M, n, columns) of tiles (n, dim), as the networks give them, without offset and temperature.

        Those of linear networks need no JAX, and differ from `compiled_logits` by the rounding of float32.
        """
        return self._linear_logits(vectors) if self.model in LINEAR_MODELS else self.compiled_logits(vectors)

    def compiled_logits(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """The same by JAX, as in every fit so far: a head that is fitted again has the same bits."""
        from heads.devices import prepare_jax

        prepare_jax()
        from heads.networks.logits import compiled_logits

        return compiled_logits(self.model, self.parameters, self.standard, vectors)

    def _linear_logits(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """One matrix product for all networks, block by block."""
        members, columns = self.offset.shape
        kernel, bias = self._kernel_and_bias()
        kernel = np.ascontiguousarray(kernel.transpose(1, 0, 2).reshape(len(self.mean), members * columns))
        out = np.empty((len(vectors), members * columns), np.float32)
        block = np.zeros((_BLOCK_ROWS, len(self.mean)), np.float32)  # of one size: a row's sums depend on no other
        products = block.reshape(-1, _rows_at_once(kernel.size), len(self.mean))
        for start in range(0, len(vectors), _BLOCK_ROWS):
            stored = vectors[start : start + _BLOCK_ROWS]
            rows = block[: len(stored)]
            with np.errstate(invalid="ignore", over="ignore"):  # where a vector is not finite, its logits are not
                np.subtract(stored, self.mean, out=rows, dtype=np.float32)
                rows /= self.std
                product = (products @ kernel).reshape(_BLOCK_ROWS, -1)[: len(stored)]
                if self.model == ZERO_SHOT:
                    length = np.linalg.norm(rows, axis=1, keepdims=True)
                    product /= np.where(length == 0, 1, length)
            out[start : start + len(stored)] = product
        out += bias.reshape(-1)
        return out.reshape(len(vectors), members, columns).transpose(1, 0, 2)

    def _kernel_and_bias(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(M, dim, columns) and (M, columns), with shift and scale as `heads.networks.models.standardised_dense`."""
        kernel = self.parameters["kernel"]
        if self.model == ZERO_SHOT:
            return kernel, np.zeros(self.offset.shape, np.float32)
        kernel = kernel / self.scale[:, :, None]
        return kernel, self.parameters["bias"] - np.einsum("md,mdk->mk", self.shift, kernel)

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


def _rows_at_once(kernel_size: int) -> int:
    """Rows of one matrix product, which divide _BLOCK_ROWS."""
    return 1 << max(2, min(6, (_PRODUCT // max(kernel_size, 1)).bit_length() - 1))
