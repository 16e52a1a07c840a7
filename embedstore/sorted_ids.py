"""Ids looked up in a sorted array."""

import numpy as np
from numpy.typing import NDArray


def positions_in(
    reference: NDArray[np.integer], ids: NDArray[np.integer], *, order: NDArray[np.intp] | None = None
) -> NDArray[np.intp]:
    """Position of each id in an array of reference ids.

    Args:
        reference: (m,) distinct ids, ascending; in any order where `order` is given.
        ids: (n,).
        order: (m,) from `np.argsort(reference)`.
    Returns:
        (n,) index into `reference`, -1 where it does not hold the id.
    """
    if not len(reference):
        return np.full(len(ids), -1, np.intp)
    positions = np.minimum(np.searchsorted(reference, ids, sorter=order), len(reference) - 1)
    if order is not None:
        positions = order[positions]
    return np.where(reference[positions] == ids, positions, -1)
