"""Curves of a head as PNG: ROC, precision-recall, reliability, confusion."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from embedstore.errors import LabelError
from heads.evaluation.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's colours without yellow: told apart by people who see fewer, and on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#767676"
PALE = "#c4c4c4"
DPI = 100  # a sheet is 1,200 px wide
LINES = len(COLOURS)  # classes with a colour and a line in the legend, those with most rows; the others are grey
NAME_CHARS = 32
TICK_CHARS = 24
CELL_CLASSES = 12  # classes above which the cells of a confusion matrix bear no figures
# A drawing is a square of axes with room for its names and its legend; inches. Matplotlib's own layouts cut legends off
# that stand below axes of equal aspect.
WIDTH, EDGE, LEFT, TOP, BELOW, LINE = 6.0, 4.9, 0.8, 0.4, 0.75, 0.21


def write_curves(report: Report, folder: str | Path, *, name: str) -> list[Path]:
    """Write `sheet.png` with all four, `roc.png`, `precision-recall.png`, `reliability.png` and `confusion.png`.

    Args:
        report: What `evaluate` found.
        folder: Where to; made if it is not there. Files of these names are written over.
        name: Of the head; stands above each.
    Returns:
        The files, in that order.
    Raises:
        LabelError: nothing was evaluated.
    """
    from matplotlib.figure import Figure

    _require_rows(report, name)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "sheet.png"]
    paths[0].write_bytes(curves_png(report, name=name))
    for kind in _DRAWINGS:
        figure = Figure(figsize=(WIDTH, 0.45 + _height(report, kind)), dpi=DPI)
        _draw(figure, kind, report, left=0, top=0.45)
        _write(figure, _shortened(name, 60), size=13, top=0.25)
        paths.append(folder / f"{kind}.png")
        figure.savefig(paths[-1], format="png")
    return paths


def curves_png(report: Report, *, name: str) -> bytes:
    """All four on one sheet, 1,200 px wide, as the bytes of a PNG; `name` of the head stands above.

    Raises:
        LabelError: nothing was evaluated.
    """
    from matplotlib.figure import Figure

    _require_rows(report, name)
    heights = _height(report, "roc"), _height(report, "reliability")
    figure = Figure(figsize=(2 * WIDTH, 0.9 + sum(heights)), dpi=DPI)
    _write(figure, _shortened(name, 90), size=15, top=0.32)
    _write(figure, _summary(report), size=11.5, top=0.7)
    for place, kind in enumerate(_DRAWINGS):
        _draw(figure, kind, report, left=WIDTH * (place % 2), top=0.9 + heights[0] * (place // 2))
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _require_rows(report: Report, name: str) -> None:
    if not report.rows:
        raise LabelError(
            f"head {name!r} was measured on no labelled tile, so it has no curves; label some tiles of its classes, "
            "and make it again: `embedstore zero-shot --replace`"
        )


def _draw(figure: "Figure", kind: str, report: Report, *, left: float, top: float) -> None:
    """One of the four into a figure; its top-left corner in inches from that of the figure."""
    names = 0.0
    if kind == "confusion":  # a letter is about 0.6 of its height wide
        longest = max(len(_shortened(label, TICK_CHARS)) for label in report.classes)
        names = max(0.0, longest * 0.6 * _cell_points(report) / 72 - 0.3)
    across, down = EDGE - names, EDGE if report.multi_label else EDGE - names
    width, height = figure.get_size_inches()
    at = (left + LEFT + names) / width, 1 - (top + TOP + down) / height
    _DRAWINGS[kind](figure.add_axes((*at, across / width, down / height)), report)


def _write(figure: "Figure", text: str, *, size: float, top: float) -> None:
    figure.text(0.5, 1 - top / figure.get_size_inches()[1], text, ha="center", va="center", fontsize=size)


def _height(report: Report, kind: str) -> float:
    """Of a drawing, inches; a legend has a title, the reference, the classes, and a line for those in grey."""
    one = report.positive is not None or (kind in ("reliability", "confusion") and not report.multi_label)
    lines = 3 if one else 2 + min(len(report.classes), LINES + 1)
    return TOP + EDGE + BELOW + LINE * lines


def _summary(report: Report) -> str:
    shown = {"f1": "F1", "f1_macro": "macro F1", "balanced_accuracy": "balanced accuracy"}
    if "f1" in report.metrics:
        del shown["f1_macro"]
    figures = [f"{title} {report.metrics[key]}" for key, title in shown.items() if key in report.metrics]
    return "   ·   ".join([*figures, f"{report.rows:,} tested, in {report.groups:,} groups"])


# -- the four -------------------------------------------------------------------------------


def _draw_roc(axes: "Axes", report: Report) -> None:
    axes.plot([0, 1], [0, 1], label="no skill  0.500", **REFERENCE)
    for label, colour in _shown(report):
        if label in report.roc:
            curve = report.roc[label]
            axes.plot(curve.x, curve.y, label=_entry(report, label, colour, "auroc"), **_line(colour))
    _finish(axes, report, "ROC", "False positive rate (1 − specificity)", "True positive rate (sensitivity)", "auroc")


def _draw_precision_recall(axes: "Axes", report: Report) -> None:
    axes.plot([], [], label=f"no skill  {report.no_skill['auprc']:.3f}", **{**REFERENCE, "linestyle": ":"})
    for label, colour in _shown(report):
        if label in report.precision_recall:
            curve = report.precision_recall[label]
            axes.plot(curve.x, curve.y, label=_entry(report, label, colour, "auprc"), **_line(colour))
            if colour:
                axes.axhline(report.support[label] / report.rows, color=colour, linestyle=":", linewidth=1.2)
    _finish(axes, report, "Precision and recall", "Recall (sensitivity)", "Precision", "auprc")


def _draw_reliability(axes: "Axes", report: Report) -> None:
    axes.plot([0, 1], [0, 1], label="as it should be", **REFERENCE)
    colours = dict(_shown(report)) if report.multi_label else dict.fromkeys(report.reliability, COLOURS[0])
    for label, colour in colours.items():
        bins = report.reliability[label]
        title = _shortened(label) if report.multi_label or report.positive else "the most probable class"
        axes.plot(bins.confidence, bins.frequency, label=title if colour else None, **{**_line(colour), "linewidth": 1})
        area = 6 + 300 * np.asarray(bins.count) / report.rows
        axes.scatter(bins.confidence, bins.frequency, area, color=colour or GREY, alpha=0.7, linewidths=0, zorder=3)
    came_true = "Share that is of the class" if report.multi_label or report.positive else "Share decided rightly"
    title = "Reliability (larger dots: more rows)"
    _finish(axes, report, title, "Probability", came_true, "calibration_error")


def _draw_confusion(axes: "Axes", report: Report) -> None:
    """Counts, and their shares of the rows of a class, or in multi-label tasks of the rows that are not of it."""
    counts, k = report.confusion, len(report.classes)
    if report.multi_label:
        truths = (1, 1, 0, 0)
        cells, whole = counts[:, truths, (1, 0, 1, 0)], counts.sum(axis=2)[:, truths]
        names = ["found", "missed", "false\nalarm", "rightly\nnot"]
    else:
        cells, whole = counts, np.broadcast_to(counts.sum(axis=1, keepdims=True), counts.shape)
        names = [_shortened(label, TICK_CHARS) for label in report.classes]
    shares = np.divide(cells, whole, out=np.zeros(cells.shape), where=whole > 0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto" if report.multi_label else "equal")
    size = _cell_points(report)
    if k <= CELL_CLASSES:
        for (row, column), share in np.ndenumerate(shares):
            text = f"{cells[row, column]:,}\n{share:.0%}" if k <= 7 else f"{share:.0%}"
            ink = "white" if share > 0.55 else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=size, color=ink)
    axes.set_xticks(range(len(names)), names, fontsize=size)
    axes.set_yticks(range(k), [_shortened(label, TICK_CHARS) for label in report.classes], fontsize=size)
    if sum(map(len, names)) > 40:
        upright = len(names) > CELL_CLASSES
        axes.tick_params(axis="x", labelrotation=90 if upright else 30)
        if not upright:
            plain = axes.get_xticklabels()
            for tick in plain:
                tick.set(ha="right", rotation_mode="anchor")
    axes.set_xlabel("Decision" if report.multi_label else "Decided")
    axes.set_ylabel("Class" if report.multi_label else "Truth")
    axes.set_title("Confusion (shares of the truth)", fontsize=12)


def _cell_points(report: Report) -> float:
    """Height of the letters in and beside a confusion matrix."""
    k = len(report.classes)
    return 11 if k <= 4 else 10 if k <= 7 else 8 if k <= CELL_CLASSES else 7


_DRAWINGS = {
    "roc": _draw_roc,
    "precision-recall": _draw_precision_recall,
    "reliability": _draw_reliability,
    "confusion": _draw_confusion,
}


# -- lines and legends ----------------------------------------------------------------------

REFERENCE: dict[str, Any] = {"color": GREY, "linestyle": "--", "linewidth": 1}
_METRIC_NAMES = {"auroc": "AUROC", "auprc": "average precision", "calibration_error": "calibration error"}


def _shown(report: Report) -> Iterator[tuple[str, str | None]]:
    """Classes to draw with their colours: the positive one of two, else all; None (grey) for those beyond `LINES`."""
    labels = [report.positive] if report.positive is not None else list(report.classes)
    largest = sorted(labels, key=lambda label: -report.support[label])[:LINES]
    colours = iter(COLOURS)
    return ((label, next(colours) if label in largest else None) for label in labels)


def _line(colour: str | None) -> dict[str, Any]:
    if colour is None:
        return {"color": PALE, "linewidth": 1, "zorder": 1}
    return {"color": colour, "linewidth": 1.8, "zorder": 2}


def _entry(report: Report, label: str, colour: str | None, metric: str) -> str | None:
    metric_name = f"{_METRIC_NAMES[metric]} " if report.positive is not None else ""
    return f"{_shortened(label)}  {metric_name}{report.per_class[label][metric]}" if colour else None


def _finish(axes: "Axes", report: Report, title: str, x: str, y: str, metric: str) -> None:
    """Frame, names and legend of a drawing from 0 to 1; the legend stands below, where it hides nothing."""
    ticks = np.linspace(0, 1, 6)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xticks=ticks, yticks=ticks, aspect="equal", xlabel=x, ylabel=y)
    axes.set_title(title, fontsize=12)
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    heading = f"{_METRIC_NAMES[metric]} {report.metrics[metric]}"
    if metric != "calibration_error":
        heading = "" if report.positive is not None else f"mean {heading}"  # of two, the line of the class says it
    grey = len(report.classes) - LINES
    if grey > 0 and (metric != "calibration_error" or report.multi_label):
        axes.plot([], [], color=PALE, linewidth=1, label=f"{grey} more classes, of fewer rows")
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.1), fontsize=9.5, frameon=False, title=heading, title_fontsize=10
    )


def _shortened(name: str, most: int = NAME_CHARS) -> str:
    """The name, with its middle left out where it is too long: both ends tell classes apart."""
    return name if len(name) <= most else f"{name[: most - most // 2 - 1]}…{name[-(most // 2) :]}"
