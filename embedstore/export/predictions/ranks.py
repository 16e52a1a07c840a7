"""Ranks, which make attention comparable from slide to slide."""

import numpy as np
from numpy.typing import NDArray


def ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Ranks of (n,) values, 0 (least) to 1 (most); equal values share the mean of their ranks."""
    from scipy.stats import rankdata

    if len(values) < 2:
        return np.ones(len(values))
    return (rankdata(values) - 1) / (len(values) - 1)
