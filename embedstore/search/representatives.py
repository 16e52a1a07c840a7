"""A few tiles that stand for all tiles of a slide."""

import numpy as np
from numpy.typing import NDArray

#: Rounds of k-means; on 4,000 tiles of 24 kinds the centres stand still after 5 to 15.
ROUNDS = 20


def representatives(
    vectors: NDArray[np.float32], n: int, *, seed: int = 0
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Choose tiles that stand for all.

    Spherical k-means (Dhillon and Modha, Machine Learning 42, 2001), begun at a farthest-point cover (Gonzalez,
    Theoretical Computer Science 38, 1985) so that rare tissue has a centre of its own. The tile nearest to each centre
    is taken. Same in, same out.

    Args:
        vectors: (m, dim) float32, length 1.
        n: How many at most; there are fewer where fewer vectors differ.
    Returns:
        Positions of the chosen tiles, ascending, and how many tiles each stands for.
    """
    centres = vectors[_cover(vectors, n, np.random.default_rng(seed))]
    nearest = (vectors @ centres.T).argmax(axis=1)
    for _ in range(ROUNDS):
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, vectors)
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(length > 0, sums / np.maximum(length, 1e-12), centres)
        before, nearest = nearest, (vectors @ centres.T).argmax(axis=1)
        if (before == nearest).all():
            break
    similarity = vectors @ centres.T
    used, sizes = np.unique(nearest, return_counts=True)
    own = np.where(nearest[:, None] == used, similarity[:, used], -np.inf)
    chosen = own.argmax(axis=0)
    order = np.argsort(chosen)
    return chosen[order], sizes[order]


def _cover(vectors: NDArray[np.float32], n: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Positions of tiles, each the farthest from those before it."""
    chosen = [int(rng.integers(len(vectors)))]
    similarity = vectors @ vectors[chosen[0]]
    while len(chosen) < min(n, len(vectors)):
        farthest = int(similarity.argmin())
        if similarity[farthest] > 1 - 1e-6:  # all that is left is the same as what is chosen
            break
        chosen.append(farthest)
        similarity = np.maximum(similarity, vectors @ vectors[farthest])
    return np.array(chosen)
