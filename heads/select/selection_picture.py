"""A report on extractors as one picture: scores by probe, cost beside accuracy, robustness."""

import io
from typing import TYPE_CHECKING

from heads.evaluation.report import Metric
from heads.select.selection_report import CandidateReport, SelectionReport, title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colours that people who see few colours tell apart (Wong 2011, doi 10.1038/nmeth.1618).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#999999")
DPI = 110
NAME_CHARS = 28
TITLE_PAD = 20  # points: a line of the legend stands between a title and its axes, where it hides nothing


def report_png(report: SelectionReport) -> bytes:
    """The bytes of a PNG; candidates from the best down."""
    from matplotlib.figure import Figure

    tried = report.tried
    height = max(3.2, 0.42 * len(tried) + 1.6)
    figure = Figure(figsize=(14, height), dpi=DPI, layout="constrained")
    scores, cost, robustness = figure.subplots(1, 3, width_ratios=[1.5, 1, 1.1])
    _draw_scores(scores, report)
    _draw_cost(cost, report)
    _draw_robustness(robustness, tried)
    figure.suptitle(f"{_plain(report.task)}: {report.sample}", x=0.01, ha="left")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _draw_scores(axes: "Axes", report: SelectionReport) -> None:
    tried = report.tried
    probes = [name for name in tried[0].scores if name != "linear_auroc"]
    for p, probe in enumerate(probes):
        for row, candidate in enumerate(tried):
            at = row + 0.6 * (p / max(len(probes) - 1, 1) - 0.5)
            label = title_of(probe) if row == 0 else None
            _point(axes, candidate.scores[probe], at, COLOURS[p % len(COLOURS)], label, strong=probe == report.rank_by)
    chance = 1 / len(report.classes)
    axes.axvline(chance, color="#999999", lw=0.8, ls=":")
    axes.set_yticks(range(len(tried)), [f"{candidate.rank}  {_short(candidate.name)}" for candidate in tried])
    axes.set_ylim(len(tried) - 0.5, -0.5)
    axes.set_xlabel("balanced accuracy, 95 % interval by patient (dotted: chance)")
    axes.set_title(f"probes; ranked by {title_of(report.rank_by)}", loc="left", fontsize=10, pad=TITLE_PAD)
    _legend(axes)


def _draw_cost(axes: "Axes", report: SelectionReport) -> None:
    for i, candidate in enumerate(report.tried):
        score = candidate.scores[report.rank_by]
        colour = COLOURS[i % len(COLOURS)]
        axes.plot([candidate.tiles_per_s or 0], [score.value or 0], "o", color=colour)
        if score.low is not None and score.high is not None:
            axes.plot([candidate.tiles_per_s or 0] * 2, [score.low, score.high], color=colour, lw=1.2)
        axes.annotate(
            f" {candidate.rank}", (candidate.tiles_per_s or 0, score.value or 0), fontsize=9, va="bottom", color=colour
        )
    axes.set_xscale("log")
    axes.set_xlabel(f"tiles a second on {report.tried[0].device or 'this machine'}")
    axes.set_ylabel(title_of(report.rank_by))
    axes.set_title("cost beside accuracy; numbers are ranks", loc="left", fontsize=10, pad=TITLE_PAD)


def _draw_robustness(axes: "Axes", tried: tuple[CandidateReport, ...]) -> None:
    kinds = [name for name in tried[0].robustness if not name.endswith("_found")]
    if not kinds:
        axes.set_axis_off()
        return
    for k, kind in enumerate(kinds):
        for row, candidate in enumerate(tried):
            metric = candidate.robustness.get(kind)
            if metric is not None:
                at = row + 0.6 * (k / max(len(kinds) - 1, 1) - 0.5)
                _point(axes, metric, at, COLOURS[k % len(COLOURS)], title_of(kind) if row == 0 else None, strong=False)
    axes.set_yticks(range(len(tried)), [str(candidate.rank) for candidate in tried])
    axes.set_ylim(len(tried) - 0.5, -0.5)
    axes.set_xlabel("1: unmoved (site index: follows tissue)")
    axes.set_title("robustness; 0 is another patient's tile", loc="left", fontsize=10, pad=TITLE_PAD)
    _legend(axes)


def _legend(axes: "Axes") -> None:
    axes.legend(
        fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(-0.01, 0.99), ncols=8, columnspacing=1,
        handletextpad=0.1, borderaxespad=0.2,
    )  # fmt: skip


def _point(axes: "Axes", metric: Metric, at: float, colour: str, label: str | None, *, strong: bool) -> None:
    if metric.value is None:
        return
    axes.plot([metric.value], [at], "o", color=colour, ms=6 if strong else 4, label=label)
    if metric.low is not None and metric.high is not None:
        axes.plot([metric.low, metric.high], [at, at], color=colour, lw=2 if strong else 1)


def _short(name: str) -> str:
    return _plain(name if len(name) <= NAME_CHARS else f"{name[: NAME_CHARS - 1]}…")


def _plain(name: str) -> str:
    """A name whose dollars are no mathematics to matplotlib."""
    return name.replace("$", r"\$")
