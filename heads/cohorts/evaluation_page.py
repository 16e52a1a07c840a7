"""Evaluations as a self-contained web page: a table of heads and cohorts, then a card of each."""

from collections.abc import Iterator, Sequence
from html import escape

from heads.cohorts.comparison import Comparison
from heads.cohorts.evaluation import CohortEvaluation
from heads.cohorts.evaluation_picture import evaluations_png
from heads.evaluation.report import METRIC_NAMES
from heads.web_page import listing, metric_cell, page, picture, table

_OVERVIEW = ("auroc", "balanced_accuracy", "f1", "calibration_error")
_HOW = (
    "Heads decide at the thresholds and temperatures that they were stored with. Examples of patients, or slides, that "
    "a head was fitted on are left out unless it says so. Intervals are of 95 % by patient. The test parts are those "
    "of the head's own data, each predicted by networks that had not seen it; differences are those to them, with an "
    "interval that follows from the two (Zou & Donner 2008). The calibration error has no interval: it errs to the "
    "high side by more than it varies."
)


def evaluations_page(evaluations: Sequence[CohortEvaluation]) -> str:
    """The page, from one evaluation or more."""
    heads = ", ".join(dict.fromkeys(each.head for each in evaluations))
    return page(f"Heads on other cohorts: {heads}", _parts(evaluations))


def _parts(evaluations: Sequence[CohortEvaluation]) -> Iterator[str]:
    if len(evaluations) > 1:
        titles = [METRIC_NAMES.get(name, name) for name in _OVERVIEW]
        header = ["", "head", "cohort", "examples", "patients", *titles, "verdict"]
        yield from table(header, ([str(i), *_overview(each)] for i, each in enumerate(evaluations, 1)))
        yield picture(evaluations_png(evaluations), "Metrics of each head on each cohort, and on its test parts")
    for each in evaluations:
        yield from _card(each, alone=len(evaluations) == 1)
    yield f'<h2>How it was measured</h2><p class="quiet">{_HOW}</p>'


def _overview(each: CohortEvaluation) -> list[str]:
    by_name = {comparison.name: comparison for comparison in each.comparison}
    cells = [metric_cell(by_name[name].here) if name in by_name else "" for name in _OVERVIEW]
    return [escape(each.head), escape(each.cohort_name), f"{each.examples:,}", f"{each.patients:,}", *cells,
            f'<span class="quiet">{escape(each.verdict)}</span>']  # fmt: skip


def _card(each: CohortEvaluation, *, alone: bool) -> Iterator[str]:
    yield f"<h2>{escape(each.head)} on {escape(each.cohort_name)}</h2>"
    yield f'<p class="quiet">{escape(each.description)}</p>'
    yield f'<p class="verdict">{escape(each.head)} {escape(each.verdict)}.</p>'
    if each.report is None:
        return
    header = ["", "metric", "here", "its test parts", "difference", "no skill"]
    yield from table(header, ([_mark(row), *_row(row, each)] for row in each.comparison))
    yield from table(["", "class", "examples", "F1", "precision", "recall", "AUROC", "threshold"], _classes(each))
    if alone:
        yield picture(evaluations_png([each]), "ROC and reliability here and on the head's test parts")
    yield listing("Calibration", map(str, each.calibration))
    yield listing("Notes", each.all_notes)


def _mark(row: Comparison) -> str:
    return {"better": "▲", "worse": "▼", "alike": "=", "unknown": ""}[row.meaning]


def _row(row: Comparison, each: CohortEvaluation) -> list[str]:
    no_skill = each.report.no_skill.get(row.name) if each.report else None
    return [
        escape(METRIC_NAMES.get(row.name, row.name)), metric_cell(row.here), metric_cell(row.own),
        metric_cell(row.difference, signed=True), "" if no_skill is None else f"{no_skill:.3f}",
    ]  # fmt: skip


def _classes(each: CohortEvaluation) -> Iterator[list[str]]:
    assert each.report is not None
    for label, metrics in each.report.per_class.items():
        cells = [metric_cell(metrics.get(name)) for name in ("f1", "precision", "recall", "auroc")]
        yield ["", escape(label), f"{each.report.support[label]:,}", *cells, f"{each.thresholds[label]:.3f}"]
