"""Evaluations as a PNG: curves of one head on one cohort beside its own, or metrics of several side by side."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from heads.cohorts.evaluation import CohortEvaluation
from heads.evaluation.plots import COLOURS, DPI, GREY, REFERENCE
from heads.evaluation.report import Metric, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Metrics that are drawn side by side.
_METRICS = {"auroc": "AUROC", "balanced_accuracy": "balanced accuracy", "calibration_error": "calibration error"}
#: Classes whose curves are drawn.
_CLASSES = 3
_HERE, _OWN = COLOURS[0], GREY


def evaluations_png(evaluations: Sequence[CohortEvaluation]) -> bytes:
    """Of one evaluation, ROC and reliability beside those of the head's test parts; of several, their metrics."""
    from matplotlib.figure import Figure

    drawn = [each for each in evaluations if each.report is not None]
    if len(drawn) == 1:
        lines = min(_CLASSES, len(drawn[0].own.classes)) * 2 if drawn[0].own.positive is None else 2
        height = 6.2 + 0.22 * lines
        figure = Figure(figsize=(11.6, height), dpi=DPI)
        _draw_one(
            [figure.add_axes((left, 1 - 5.5 / height, 0.42, 0.42 * 11.6 / height)) for left in (0.06, 0.56)], drawn[0]
        )
        figure.suptitle(f"{drawn[0].head} on {drawn[0].cohort_name}", fontsize=13)
    else:
        figure = Figure(figsize=(12, 1.6 + 0.42 * len(drawn)), dpi=DPI, layout="constrained")
        _draw_several(figure.subplots(1, len(_METRICS), sharey=True), drawn)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _draw_one(axes: "Sequence[Axes]", each: CohortEvaluation) -> None:
    assert each.report is not None
    roc, reliability = axes
    labels = (
        [each.report.positive]
        if each.report.positive
        else sorted(each.report.classes, key=lambda label: -each.report.support[label] if each.report else 0)[:_CLASSES]
    )
    for ax, title, x, y in (
        (roc, "ROC", "False positive rate (1 − specificity)", "True positive rate (sensitivity)"),
        (reliability, "Reliability", "Probability", "Share that came true"),
    ):
        ax.plot([0, 1], [0, 1], **REFERENCE)
        ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", title=title, xlabel=x, ylabel=y)
        ax.grid(color="#e6e6e6", linewidth=0.8)
    for report, where, style in ((each.own, "its test parts", "--"), (each.report, "here", "-")):
        for i, label in enumerate(labels):
            own = style == "--"
            colour = _OWN if own and len(labels) == 1 else COLOURS[i]
            if label in report.roc:
                curve, value = report.roc[label], report.per_class[label]["auroc"]
                roc.plot(curve.x, curve.y, style, color=colour, label=f"{label}, {where}: AUROC {value}")
        _draw_reliability(reliability, report, where, style)
    for ax in axes:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), fontsize=9, frameon=False)


def _draw_reliability(axes: "Axes", report: Report, where: str, style: str) -> None:
    colour = _OWN if style == "--" else _HERE
    error = report.metrics["calibration_error"]
    for i, bins in enumerate([*report.reliability.values()][:_CLASSES]):
        label = f"{where}: calibration error {error}" if i == 0 else None
        axes.plot(bins.confidence, bins.frequency, style, color=colour, marker="o", markersize=4, label=label)


def _draw_several(axes: "Sequence[Axes]", evaluations: Sequence[CohortEvaluation]) -> None:
    names = [f"{each.head}\n{each.cohort_name}" for each in evaluations]
    for ax, (name, title) in zip(axes, _METRICS.items(), strict=True):
        for place, each in enumerate(evaluations):
            _draw_metric(ax, each.own.metrics.get(name), place + 0.14, _OWN, "its test parts" if place == 0 else None)
            here = None if each.report is None else each.report.metrics.get(name)
            _draw_metric(ax, here, place - 0.14, _HERE, "here" if place == 0 else None)
        ax.set(title=title, ylim=(len(names) - 0.5, -0.5))
        ax.set_yticks(range(len(names)), names, fontsize=8.5)
        ax.grid(axis="x", color="#e6e6e6", linewidth=0.8)
    axes[-1].legend(fontsize=8.5, frameon=False, loc="best")


def _draw_metric(axes: "Axes", metric: Metric | None, y: float, colour: str, label: str | None) -> None:
    if metric is None or metric.value is None:
        return
    axes.plot([metric.value], [y], "o", color=colour, markersize=5, label=label)
    if metric.low is not None and metric.high is not None:
        axes.plot([metric.low, metric.high], [y, y], color=colour, linewidth=1.4)
