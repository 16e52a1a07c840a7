"""One vector a bag: the mean, or the maximum by dimension, of its tiles."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.store import Collection, read_vectors
from heads.examples import Bags

_ROWS = 20_000


def pool(collection: Collection, bags: Bags, *, version: int, how: str) -> NDArray[np.float32]:
    """Pool the tiles of each bag, in bounded memory.

    Args:
        how: `mean` or `max`.
    Returns:
        (bags, dim).
    """
    pooled = np.full((len(bags), collection.dim), -np.inf if how == "max" else 0.0, np.float32)
    order = np.argsort(bags.rows, kind="stable")
    of_bag = np.repeat(np.arange(len(bags)), bags.sizes)
    for start in range(0, len(order), _ROWS):
        chosen = order[start : start + _ROWS]
        vectors = read_vectors(collection, bags.rows[chosen], version=version)
        _reduce(pooled, of_bag[chosen], vectors.astype(np.float32), how)
    if how == "mean":
        pooled /= bags.sizes[:, None]
    return pooled


def _reduce(pooled: NDArray[np.float32], of_bag: NDArray[Any], vectors: NDArray[np.float32], how: str) -> None:
    order = np.argsort(of_bag, kind="stable")
    bags, first = np.unique(of_bag[order], return_index=True)
    if how == "max":
        pooled[bags] = np.maximum(pooled[bags], np.maximum.reduceat(vectors[order], first))
    else:
        pooled[bags] += np.add.reduceat(vectors[order], first)
