"""From scores to decisions, on validation data: a temperature for the probabilities, and a threshold."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import VectorError
from heads.tasks import is_binary

TEMPERATURES = (1 / 20, 20.0)  # beyond them a head is not miscalibrated but broken
DEFAULT_THRESHOLD = 0.5


def fit_temperature(
    logits: NDArray[Any],
    targets: NDArray[np.bool_],
    weights: NDArray[Any] | None = None,
    *,
    multi_label: bool = False,
) -> float:
    """The temperature T at which softmax(logits / T) has the least cross-entropy (Guo et al. 2017).

    With multi-label tasks it is sigmoid(logits / T), and cross-entropy is summed over classes.

    Args:
        logits: (n, K) float.
        targets: (n, K) bool: the truth; one class a row unless multi-label.
        weights: (n,) weight of each row, 0 or more; 1 when None.
        multi_label: A row may be of several classes, or of none.
    Returns:
        T from 1/20 to 20; above 1 where the head is overconfident. 1 where the rows (of a weight above 0) say nothing:
        none, of one class only, or all decided correctly. (For the latter the likelihood has no maximum: it grows as T
        falls, and a few easy validation rows would make a head overconfident.)
    Raises:
        VectorError: logits that are not finite.
    """
    from scipy.optimize import minimize_scalar  # a fifth of a second, which predictions do not need
    from scipy.special import log_softmax

    logits, targets = np.asarray(logits, np.float64), np.asarray(targets, bool)
    weights = np.ones(len(logits)) if weights is None else np.asarray(weights, np.float64)
    kept = weights > 0
    logits, targets, weights = logits[kept], targets[kept], weights[kept]
    if not np.isfinite(logits).all():
        bad = int((~np.isfinite(logits)).any(axis=1).sum())
        raise VectorError(f"{bad:,} of {len(logits):,} rows have logits that are NaN or infinite; nothing to calibrate")
    if _is_uninformative(logits, targets, multi_label):
        return 1.0

    def cross_entropy(log_temperature: float) -> float:
        scaled = logits * np.exp(-log_temperature)
        if multi_label:
            losses = np.logaddexp(0, np.where(targets, -scaled, scaled)).sum(axis=1)
        else:
            losses = -log_softmax(scaled, axis=1)[targets]
        return float(losses @ weights / weights.sum())

    optimum = minimize_scalar(cross_entropy, bounds=np.log(TEMPERATURES), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(optimum.x))


def _is_uninformative(logits: NDArray[np.float64], targets: NDArray[np.bool_], multi_label: bool) -> bool:
    """Whether the rows are of one class only, or all decided correctly."""
    if multi_label:
        return bool(targets.all() or not targets.any() or ((logits > 0) == targets).all())
    if targets.any(axis=0).sum() < 2:
        return True
    others = np.where(targets, -np.inf, logits).max(axis=1)
    return bool((logits[targets] > others).all())


def choose_threshold(probability: NDArray[Any], target: NDArray[np.bool_]) -> float:
    """The threshold at which deciding `probability >= threshold` has the highest F1.

    Args:
        probability: (n,) float, of the class.
        target: (n,) bool: of the class.
    Returns:
        The middle between the two neighbouring probabilities that it separates, which it also does in their own type;
        half the lowest where all rows are above it. Of equally good thresholds, the one nearest to 0.5. 0.5 where all
        rows, or none, are of the class.
    Raises:
        VectorError: probabilities that are not finite.
    """
    probability, target = np.asarray(probability), np.asarray(target, bool)
    if not np.isfinite(probability).all():
        bad = int((~np.isfinite(probability)).sum())
        raise VectorError(f"{bad:,} of {len(probability):,} probabilities are NaN or infinite; no threshold to choose")
    if target.all() or not target.any():
        return DEFAULT_THRESHOLD
    values, place = np.unique(probability, return_inverse=True)
    predicted = np.bincount(place)[::-1].cumsum()[::-1]  # rows at or above each distinct probability
    true_positives = np.bincount(place, target)[::-1].cumsum()[::-1]
    f1 = 2 * true_positives / (predicted + target.sum())
    below = np.concatenate([np.zeros(1, values.dtype), values[:-1]])
    middles = (below + values) / 2
    middles = np.where(middles > below, middles, values)  # of neighbouring floats the middle is one of the two
    best = np.flatnonzero(f1 == f1.max())
    return float(middles[best[np.abs(middles[best] - 0.5).argmin()]])


def decide(
    probabilities: NDArray[np.floating],
    thresholds: NDArray[np.floating],
    classes: Sequence[str],
    multi_label: bool,
    positive: str | None,
) -> NDArray[np.bool_]:
    """Which classes (n, classes) each row is decided to be of, from probabilities (n, classes).

    Of two classes the positive one, where its probability reaches its threshold. In a multi-label task each class that
    reaches its own. Of three or more: the one whose probability is the highest multiple of its threshold.
    """
    if multi_label:
        return probabilities >= thresholds
    if is_binary(len(classes), multi_label):
        at = list(classes).index(positive or classes[1])
        is_positive = probabilities[:, at] >= thresholds[at]
        decisions = np.zeros(probabilities.shape, bool)
        decisions[:, at], decisions[:, 1 - at] = is_positive, ~is_positive
        return decisions
    return np.arange(len(classes)) == (probabilities / thresholds).argmax(axis=1)[:, None]
