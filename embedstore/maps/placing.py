"""Places tiles into a map that there is: beside the tiles on it that they resemble."""

import numpy as np
from numpy.typing import NDArray

from embedstore.progress import OnProgress, Progress

#: A tile is placed by so many of the tiles on the map that are nearest to it.
NEIGHBOURS = 10
#: Distances that are held at once: 64 MB.
_BLOCK_CELLS = 16 << 20


def place(
    new: NDArray[np.float32],
    known: NDArray[np.float32],
    places: NDArray[np.float32],
    *,
    on_progress: OnProgress,
) -> NDArray[np.float32]:
    """Places of new tiles: the mean of those of their nearest tiles on the map, by the inverse of their distance.

    Args:
        new: (m, c) components of the new tiles.
        known: (n, c) components of the tiles on the map; n >= 1.
        places: (n, 2) where these are.
    Returns:
        (m, 2) float32.
    """
    k = min(NEIGHBOURS, len(known))
    lengths = (known**2).sum(axis=1)
    placed = np.empty((len(new), 2), np.float32)
    step = max(1, _BLOCK_CELLS // len(known))
    for start in range(0, len(new), step):
        block = new[start : start + step]
        squares = lengths - 2 * (block @ known.T)
        near = np.argpartition(squares, k - 1, axis=1)[:, :k]
        distance = np.sqrt(((known[near] - block[:, None]) ** 2).sum(axis=2))
        weight = 1 / np.maximum(distance, 1e-6)
        weight /= weight.sum(axis=1, keepdims=True)
        placed[start : start + step] = (places[near] * weight[:, :, None]).sum(axis=1)
        done = min(start + step, len(new))
        on_progress(Progress(stage="place", done=done, total=len(new), unit="tiles"))
    return placed
