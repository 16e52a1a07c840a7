"""Evaluations as rows of a table."""

from collections.abc import Iterator, Sequence
from typing import Any

from heads.cohorts.comparison import Comparison, compared
from heads.cohorts.evaluation import CohortEvaluation
from heads.evaluation.report import Metric


def metric_rows(evaluations: Sequence[CohortEvaluation]) -> list[dict[str, Any]]:
    """A row for each metric of each evaluation, over all classes and of each class; one without values where there
    is no evaluation."""
    return [row for each in evaluations for row in _rows(each)]


def _rows(each: CohortEvaluation) -> Iterator[dict[str, Any]]:
    facts = {
        "head": each.head,
        "task": each.task,
        "collection": each.collection,
        "by": each.by,
        "cohort": each.cohort,
        "where": each.where,
        "examples": each.examples,
        "patients": each.patients,
        "seen": each.seen.examples,
    }
    if each.report is None:
        yield {**facts, "class": "", "metric": None, **_values(None), "reason": each.reason}
        return
    for comparison in each.comparison:
        yield {**facts, "class": "", "metric": comparison.name, **_values(comparison), "reason": None}
    for label, metrics in each.report.per_class.items():
        for comparison in compared(metrics, each.own.per_class[label]):
            yield {**facts, "class": label, "metric": comparison.name, **_values(comparison), "reason": None}


def _values(comparison: Comparison | None) -> dict[str, Any]:
    here, own, change = (None,) * 3 if comparison is None else (comparison.here, comparison.own, comparison.difference)
    return {
        **_interval("value", here),
        **_interval("test", own),
        **_interval("difference", change),
        "meaning": None if comparison is None else comparison.meaning,
    }


def _interval(name: str, metric: Metric | None) -> dict[str, float | None]:
    value, low, high = (None,) * 3 if metric is None else (metric.value, metric.low, metric.high)
    return {name: value, f"{name}_low": low, f"{name}_high": high}
