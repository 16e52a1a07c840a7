"""Ids looked up among sorted ids."""

import numpy as np
from numpy.typing import NDArray


def positions_in(
    known: NDArray[np.integer], ids: NDArray[np.integer], *, order: NDArray[np.intp] | None = None
) -> NDArray[np.intp]:
    """Where each id stands among known ids.

    Args:
        known: (m,) ids, each once, ascending; in any order where `order` is given.
        ids: (n,).
        order: (m,) what `np.argsort(known)` returns.
    Returns:
        (n,) index into `known`, -1 where an id is not among them.
    """
    if not len(known):
        return np.full(len(ids), -1, np.intp)
    at = np.minimum(np.searchsorted(known, ids, sorter=order), len(known) - 1)
    if order is not None:
        at = order[at]
    return np.where(known[at] == ids, at, -1)
