"""Diverse neighbours: at most so many of a slide, or neighbours that differ from each other."""

import numpy as np
from numpy.typing import NDArray


def first_of_each(slides: list[str], most: int) -> NDArray[np.int64]:
    """Positions of the first `most` of each slide, ascending."""
    counts: dict[str, int] = {}
    kept = []
    for i, slide_id in enumerate(slides):
        counts[slide_id] = counts.get(slide_id, 0) + 1
        if counts[slide_id] <= most:
            kept.append(i)
    return np.array(kept, np.int64)


def marginal_relevance(
    vectors: NDArray[np.floating], distance: NDArray[np.floating], k: int, *, weight: float
) -> NDArray[np.int64]:
    """Choose neighbours that are near the query and far from those already chosen.

    Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): each next one has the largest
    (1 - weight) x similarity to the query - weight x similarity to the most similar one already chosen.

    Args:
        vectors: (n, dim), at length 1.
        distance: (n,) from the query, 1 - cosine.
        weight: 0 (the nearest) to 1 (the most different).
    Returns:
        Up to k positions, in the order in which they were chosen; the first is the nearest.
    """
    similarity = 1 - np.asarray(distance, np.float64)
    chosen: list[int] = []
    nearest_chosen = np.full(len(similarity), -np.inf)
    remaining = np.ones(len(similarity), bool)
    for _ in range(min(k, len(similarity))):
        score = (1 - weight) * similarity - weight * nearest_chosen if chosen else similarity
        best = int(np.argmax(np.where(remaining, score, -np.inf)))
        chosen.append(best)
        remaining[best] = False
        nearest_chosen = np.maximum(nearest_chosen, vectors @ vectors[best])
    return np.array(chosen, np.int64)
