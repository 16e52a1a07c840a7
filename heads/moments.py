"""Means and standard deviations of vectors, over the rows that each fold trains on."""

import numpy as np
from numpy.typing import NDArray

_BLOCK_ROWS = 8192


def moments(
    vectors: NDArray[np.float16], train: NDArray[np.bool_], shares: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float32], ...]:
    """Means and standard deviations of training rows: of all folds together, and of each policy and fold on top.

    A dimension that varies among views alone would be at an unbounded number of standard deviations from the mean of
    originals; and what varies among views should not count in a policy that takes none.

    Args:
        vectors: (n, dim), or with copies of a row (n, copies, dim).
        train: (folds, n).
        shares: (policies, copies) weight of each copy, 1 in all; one policy that weighs all alike when None.
    Returns:
        mean (dim,), std (dim,), shift (policies, folds, dim), scale (policies, folds, dim); a dimension that does not
        vary has std 1.
    """
    vectors = vectors if vectors.ndim == 3 else vectors[:, None]
    (_, copies, dim), folds = vectors.shape, len(train)
    shares = np.full((1, copies), 1 / copies) if shares is None else shares
    distinct, policy = np.unique(shares, axis=0, return_inverse=True)
    step = max(1, _BLOCK_ROWS // copies)
    centre = np.asarray(vectors[np.flatnonzero(train.any(0))[:256], 0], np.float32).mean(0)  # keeps squares small
    totals = np.zeros((2, len(distinct), folds + 1, dim))  # of values and their squares, by fold and of all together
    for start in range(0, len(vectors), step):
        in_fold = train[:, start : start + step]
        used = in_fold.any(0)
        if not used.any():
            continue
        block = vectors[start : start + step].astype(np.float32)
        block = block if used.all() else block[used]
        block -= centre
        of_folds = np.vstack([in_fold, used])[:, used].astype(np.float32)
        for total, values in zip(totals, (block, block * block), strict=True):
            for policy_total, share in zip(total, distinct.astype(np.float32), strict=True):
                policy_total += of_folds @ (values[:, 0] if copies == 1 else share @ values)
    (sums, squares), rows = totals, train.any(0).sum()
    mean, std = _spread(sums[:, -1].mean(0), squares[:, -1].mean(0), rows)
    if len(distinct) == folds == 1:
        shift, scale = np.zeros((1, 1, dim)), np.ones((1, 1, dim))
    else:
        fold_mean, fold_std = _spread(sums[:, :-1], squares[:, :-1], train.sum(1, keepdims=True))
        shift, scale = (fold_mean - mean) / std, fold_std / std
    of_policies = (a[policy.reshape(-1)] for a in (shift, scale))
    return tuple(np.asarray(a, np.float32) for a in (mean + centre, std, *of_policies))


def _spread(
    total: NDArray[np.float64], squares: NDArray[np.float64], count: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (…, dim) of values, from their sum and that of their squares."""
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return mean, np.where(std > 1e-6, std, 1.0)
