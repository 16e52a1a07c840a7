"""How well scores rank one class above the rest: AUROC, average precision and their curves."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

GRADES = 4096  # of scores, for resampling: intervals differ by less than 0.001 from those of the scores themselves
CURVE_POINTS = 200


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Points of a curve, thinned to what a picture can show.

    Attributes:
        x, y: ROC: false and true positive rate. Precision-recall: recall and precision.
    """

    x: tuple[float, ...]
    y: tuple[float, ...]


class Ranking:
    """Rows of one class and the rest, sorted by their score.

    Args:
        score: (n,) float, finite; the higher, the more likely of the class.
        target: (n,) bool: of the class.
    Attributes:
        grade: (n,) the row's grade, 0 for the highest scores: a distinct score each where there are at most `GRADES`.
        grades: How many grades there are.
    """

    def __init__(self, score: NDArray[Any], target: NDArray[np.bool_]):
        values, place = np.unique(-score, return_inverse=True)
        self.positive = np.bincount(place[target], minlength=len(values)).astype(np.float64)
        self.negative = np.bincount(place[~target], minlength=len(values)).astype(np.float64)
        grade_of = _grades(self.positive, self.negative)
        self.grade: NDArray[np.intp] = grade_of[place]
        self.grades = int(grade_of[-1]) + 1 if len(grade_of) else 1

    def metrics(self) -> tuple[float, float]:
        """AUROC and average precision over all rows, from the scores themselves; NaN where undefined."""
        auroc, precision = rank_metrics(self.positive, self.negative)
        return float(auroc), float(precision)

    def roc(self) -> Curve | None:
        """False against true positive rate; None where there is no row of the class, or none of the rest."""
        if not (self.positive.sum() and self.negative.sum()):
            return None
        x = np.concatenate([[0.0], np.cumsum(self.negative) / self.negative.sum()])
        y = np.concatenate([[0.0], np.cumsum(self.positive) / self.positive.sum()])
        return _thinned(x, y)

    def precision_recall(self) -> Curve | None:
        """Recall against precision, from the highest score on; None where there is no row of the class."""
        if not self.positive.sum():
            return None
        true_positives = np.cumsum(self.positive)
        precision = true_positives / np.cumsum(self.positive + self.negative)
        recall = true_positives / true_positives[-1]
        last = np.searchsorted(recall, 1.0) + 1  # what comes after the last row of the class is not drawn
        return _thinned(np.concatenate([[0.0], recall[:last]]), np.concatenate([precision[:1], precision[:last]]))


def rank_metrics(
    positive: NDArray[np.float64], negative: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """AUROC (ties count half) and average precision, Σ (Rᵢ − Rᵢ₋₁) Pᵢ, as scikit-learn defines them.

    Args:
        positive: (…, grades) rows of the class at each grade, the highest scores first.
        negative: (…, grades) rows of the rest.
    Returns:
        (…,) each; NaN where no row is of the class, and for AUROC where none is of the rest.
    """
    true_positives = np.cumsum(positive, axis=-1)
    passed = true_positives + np.cumsum(negative, axis=-1)
    total = true_positives[..., -1]
    others = passed[..., -1] - total
    with np.errstate(invalid="ignore", divide="ignore"):
        auroc = np.einsum("...g,...g->...", negative, true_positives - positive / 2) / (total * others)
        average = np.einsum("...g,...g->...", positive, true_positives / np.maximum(passed, 1e-300)) / total
    return auroc, average


def _grades(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> NDArray[np.intp]:
    """The grade of each distinct score, ascending.

    Where there are too many, grades end at quantiles of the class and of the rest, so that few rows of the class share
    one however rare the class is.
    """
    if len(positive) <= GRADES:
        return np.arange(len(positive))
    ends = np.zeros(len(positive), bool)
    for counts in (positive, negative):
        passed = np.cumsum(counts)
        ends[np.searchsorted(passed, passed[-1] * np.arange(1, GRADES // 2) / (GRADES // 2))] = True
    return np.concatenate([[0], np.cumsum(ends)[:-1]])


def _thinned(x: NDArray[np.float64], y: NDArray[np.float64]) -> Curve:
    """The curve with at most `CURVE_POINTS` points, as close to it as possible (Douglas & Peucker 1973)."""
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    cell = np.floor(length * 10_000)  # a curve of a million points has as many that nobody can tell apart
    kept = np.concatenate([[True], cell[1:] != cell[:-1]])
    kept[-1] = True
    whole = shapely.LineString(np.stack([x[kept], y[kept]], axis=1))
    line, tolerance = whole, 1e-4
    while len(line.coords) > CURVE_POINTS:
        line = whole.simplify(tolerance, preserve_topology=False)
        tolerance *= 1.2
    points = np.round(np.asarray(line.coords), 5)
    return Curve(x=tuple(points[:, 0].tolist()), y=tuple(points[:, 1].tolist()))
