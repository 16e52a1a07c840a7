"""The evaluation of a head: metrics with intervals, confusion matrix, curves; saved with the head."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from heads.evaluation.ranking import Curve

#: How people call metrics, where it is not their name.
METRIC_NAMES = {
    "f1": "F1", "f1_macro": "F1 macro", "auroc": "AUROC", "auprc": "AUPRC", "brier": "Brier",
    "balanced_accuracy": "balanced accuracy", "calibration_error": "calibration error",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric and its 95 % interval, in which the value lies; see `evaluate`.

    Attributes:
        value: Over all rows; None where undefined (a class that no row is of).
        low, high: The interval; None where there is none: fewer than 3 groups, no resamples, a metric that some of the
            groups or resamples leave undefined, and the calibration error.
    """

    value: float | None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        """'0.912 [0.881, 0.940]', '0.912', or 'undefined'."""
        if self.value is None:
            return "undefined"
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Bins of a reliability diagram; empty bins are left out.

    Attributes:
        count: Rows in the bin.
        confidence: Mean probability in the bin.
        frequency: Share of the rows in the bin that are of the class, or decided rightly.
    """

    count: tuple[int, ...]
    confidence: tuple[float, ...]
    frequency: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """The result of `evaluate`.

    Attributes:
        classes: Names of the classes, in the order of `confusion`.
        multi_label: Rows may be of several classes, or of none.
        positive: In a task of two classes, the one that f1, auroc, auprc, calibration error and Brier score are of.
        rows: How many rows were evaluated.
        groups: How many groups (patients) they are of; intervals rest on them.
        metrics: By name, over all classes.
        per_class: Class → name → metric.
        support: Rows of each class.
        confusion: (K, K) int64, rows are the truth; multi-label (K, 2, 2), [[tn, fp], [fn, tp]] of each class.
        no_skill: What an uninformative head would reach, by name of the metric.
        roc, precision_recall: Curves of each class that has one.
        reliability: Of the positive class; of 'decision' (the most probable class) with more classes; of each class in
            multi-label tasks.
        notes: What the user should know.
    """

    classes: tuple[str, ...]
    multi_label: bool
    positive: str | None
    rows: int
    groups: int
    metrics: Mapping[str, Metric]
    per_class: Mapping[str, Mapping[str, Metric]]
    support: Mapping[str, int]
    confusion: NDArray[np.int64]
    no_skill: Mapping[str, float]
    roc: Mapping[str, Curve]
    precision_recall: Mapping[str, Curve]
    reliability: Mapping[str, Reliability]
    notes: tuple[str, ...] = ()

    def as_record(self) -> dict[str, Any]:
        """Plain values, as JSON has them; `from_record` takes them back."""
        return {
            "classes": list(self.classes),
            "multi_label": self.multi_label,
            "positive": self.positive,
            "rows": self.rows,
            "groups": self.groups,
            "metrics": {name: asdict(metric) for name, metric in self.metrics.items()},
            "per_class": {
                label: {name: asdict(metric) for name, metric in metrics.items()}
                for label, metrics in self.per_class.items()
            },
            "support": dict(self.support),
            "confusion": self.confusion.tolist(),
            "no_skill": dict(self.no_skill),
            "roc": _as_lists(self.roc),
            "precision_recall": _as_lists(self.precision_recall),
            "reliability": _as_lists(self.reliability),
            "notes": list(self.notes),
        }

    @classmethod
    def of_no_rows(cls, classes: tuple[str, ...], *, positive: str | None, notes: tuple[str, ...]) -> "Report":
        """The report of a head that was measured on nothing."""
        return cls(
            classes=classes,
            multi_label=False,
            positive=positive,
            rows=0,
            groups=0,
            metrics={},
            per_class={label: {} for label in classes},
            support=dict.fromkeys(classes, 0),
            confusion=np.zeros((len(classes), len(classes)), np.int64),
            no_skill={},
            roc={},
            precision_recall={},
            reliability={},
            notes=notes,
        )

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Report":
        """A report from what `as_record` gave, after a round trip through JSON or not."""
        return cls(
            classes=tuple(record["classes"]),
            multi_label=record["multi_label"],
            positive=record["positive"],
            rows=record["rows"],
            groups=record["groups"],
            metrics={name: Metric(**metric) for name, metric in record["metrics"].items()},
            per_class={
                label: {name: Metric(**metric) for name, metric in metrics.items()}
                for label, metrics in record["per_class"].items()
            },
            support=dict(record["support"]),
            confusion=np.asarray(record["confusion"], np.int64),
            no_skill=dict(record["no_skill"]),
            roc=_from_lists(Curve, record["roc"]),
            precision_recall=_from_lists(Curve, record["precision_recall"]),
            reliability=_from_lists(Reliability, record["reliability"]),
            notes=tuple(record["notes"]),
        )


_T = TypeVar("_T", Curve, Reliability)


def _as_lists(items: Mapping[str, _T]) -> dict[str, dict[str, list[Any]]]:
    return {label: {name: list(values) for name, values in asdict(item).items()} for label, item in items.items()}


def _from_lists(kind: type[_T], records: Mapping[str, Mapping[str, list[Any]]]) -> dict[str, _T]:
    return {label: kind(**{name: tuple(values) for name, values in lists.items()}) for label, lists in records.items()}
