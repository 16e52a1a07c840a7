"""The page and the picture of `paper.py`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from at_hand import CONTROLS, REFERENCE, TARGETS
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from paper_gains import Drawn, Scores, budgets_of
from paper_grid import FAMILIES

Row = Mapping[str, Any]

NAMES = {
    "lymph_node_metastasis_pcam": "lymph-node metastasis",
    "mitosis_atypical_vs_normal": "atypical mitosis",
    "lymph_node_metastasis_camelyon16_256": "CAMELYON16, 89 tiles",
}
#: Families that are shown, in colours that people who see few colours tell apart (Wong 2011, doi 10.1038/nmeth.1618).
COLOURS = {"arithmetic": "#0072B2", "views": "#009E73", "learned": "#D55E00", "both": "#CC79A7"}
#: The family whose gain stands beside that of selection.
FAMILY = "always"
_GAINS = ("selection", "augmentation", "both")
_METRICS = {"f1": "F1", "auroc": "AUROC"}


def page(f1: Scores, gain_rows: Sequence[Row], family_rows: Sequence[Row]) -> str:
    """Tables in Markdown: gains over the reference, families of augmentation, every extractor."""
    return "\n".join([_HEAD, *_gain_table(gain_rows), "", *_family_table(family_rows), "", *_f1_tables(f1)]) + "\n"


_HEAD = """# The paper's claims, measured

Written by `python benchmarks/paper.py`, whose first lines say what it does. [The paper's claims](claims.md) says what
follows from the numbers. The rows are in `benchmarks/results/paper_*.csv`.
"""


def _gain_table(rows: Sequence[Row]) -> Iterator[str]:
    yield f"Points of F1 over {REFERENCE} without augmentation, [95 % interval] (per cent); augmentation: {FAMILY}\n"
    yield f"| target | proxy → selected | labels a class | τ (p) | {REFERENCE} | selection | augmentation | both |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        if row["augmentation"] == FAMILY and row["metric"] == "f1":
            cells = " | ".join(_points(row, f"{gain}_") for gain in _GAINS)
            chosen = f"{NAMES[row['proxy']]} → {row['selected']}"
            yield (
                f"| {NAMES[row['target']]} | {chosen} | {row['budget']} | {row['tau']:.2f} ({row['tau_p']:.2f}) "
                f"| {row['reference']:.3f} | {cells} |"
            )


def _family_table(rows: Sequence[Row]) -> Iterator[str]:
    """A row a metric, task and budget."""
    families = list(dict.fromkeys(row["augmentation"] for row in rows))
    yield "Points over no augmentation: mean of extractors, the untrained left out [95 % interval]; how many gained\n"
    yield f"| | labels a class | {' | '.join(families)} |"
    yield "|---|---|" + "---|" * len(families)
    found = {(r["metric"], r["target"], r["budget"], r["augmentation"]): r for r in rows}
    for metric, target, budget in dict.fromkeys(key[:3] for key in found):
        of = (found[metric, target, budget, family] for family in families)
        cells = " | ".join(f"{_interval(r)} {r['better']}/{r['extractors']}" for r in of)
        yield f"| {NAMES[target]}, {_METRICS[metric]} | {budget} | {cells} |"


def _f1_tables(f1: Scores) -> Iterator[str]:
    for task in TARGETS:
        yield f"**{NAMES[task]}**: F1, mean of the seeds [95 % interval]; none → {FAMILY}\n"
        budgets = budgets_of(f1, task)
        yield "| extractor | " + " | ".join(f"{budget or 'all'} a class" for budget in budgets) + " |"
        yield "|---|" + "---|" * len(budgets)
        for name in _ordered(f1, task):
            cells = (f"{_short(f1[task, name, b, 'none'])} → {_short(f1[task, name, b, FAMILY])}" for b in budgets)
            yield f"| {name} | " + " | ".join(cells) + " |"
        yield ""


def _points(row: Row, prefix: str = "") -> str:
    return f"{_interval(row, prefix)} ({row[f'{prefix}per_cent']:+.1f} %)"


def _interval(row: Row, prefix: str = "") -> str:
    points, low, high = (row[f"{prefix}{key}"] for key in ("points", "low", "high"))
    return f"{points:+.1f} [{low:+.1f}, {high:+.1f}]"


def _ordered(f1: Scores, task: str) -> list[str]:
    """Extractors from the best down, with all labels and no augmentation."""
    names = {key[1] for key in f1 if key[0] == task}
    return sorted(names, key=lambda name: -f1[task, name, 0, "none"].value)


def _short(drawn: Drawn) -> str:
    low, high = drawn.interval
    return f"{drawn.value:.3f} [{low:.3f}, {high:.3f}]"


def draw(f1: Scores, gain_rows: Sequence[Row], family_rows: Sequence[Row], path: Path) -> None:
    """A row a task: F1 of extractors by budget; what families of augmentation add; gains over the reference."""
    figure = Figure(figsize=(15, 4.6 * len(TARGETS)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(TARGETS), 3)
    for row, task in enumerate(TARGETS):
        _by_budget(axes[row, 0], f1, task)
        _by_family(axes[row, 1], f1, [r for r in family_rows if r["target"] == task and r["metric"] == "f1"], task)
        mine = [r for r in gain_rows if r["target"] == task and r["metric"] == "f1" and r["augmentation"] == FAMILY]
        _gains(axes[row, 2], mine)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _budget_axis(axis: Axes, budgets: Sequence[int]) -> None:
    axis.set_xticks(range(len(budgets)), [str(budget or "all") for budget in budgets])
    axis.set_xlabel("labels a class")


def _by_budget(axis: Axes, f1: Scores, task: str) -> None:
    budgets = budgets_of(f1, task)
    for i, name in enumerate(_ordered(f1, task)):
        values = [f1[task, name, budget, "none"].value for budget in budgets]
        dashed = ":" if name in CONTROLS else "-"
        axis.plot(range(len(budgets)), values, dashed, marker="o", ms=3, color=f"C{i}", label=name)
    _budget_axis(axis, budgets)
    axis.set_ylabel("F1 on test tiles, mean of the seeds")
    axis.set_title(f"{NAMES[task]}: no augmentation", loc="left", fontsize=10)
    axis.legend(fontsize=7, frameon=False)


def _by_family(axis: Axes, f1: Scores, rows: Sequence[Row], task: str) -> None:
    """Mean over extractors of what each family adds, with its interval, and each extractor as a dot."""
    names, budgets = [name for name in _ordered(f1, task) if name not in CONTROLS], budgets_of(f1, task)
    width = 0.8 / len(COLOURS)
    for i, (family, colour) in enumerate(COLOURS.items()):
        mine = [row for row in rows if row["augmentation"] == family]
        at = np.arange(len(budgets)) + (i - (len(COLOURS) - 1) / 2) * width
        points, low, high = (np.array([row[key] for row in mine]) for key in ("points", "low", "high"))
        axis.bar(at, points, width, color=colour, alpha=0.6, label=family)
        axis.errorbar(at, points, yerr=_around(points, low, high), fmt="none", ecolor="black", lw=1)
        each = [
            [f1[task, n, b, family].value - f1[task, n, b, FAMILIES[family].base].value for n in names] for b in budgets
        ]
        axis.plot(np.repeat(at + 0.25 * width, len(names)), 100 * np.ravel(each), ".", color="#444444", ms=3)
    axis.axhline(0, color="black", lw=0.8)
    _budget_axis(axis, budgets)
    axis.set_ylabel("points of F1 over none")
    axis.set_title(f"augmentation: mean of {len(names)} extractors, 95 % interval, a dot each", loc="left", fontsize=10)
    low, high = axis.get_ylim()
    axis.set_ylim(low - 0.12 * (high - low), high)  # for the legend
    axis.legend(fontsize=7, frameon=False, ncols=4, loc="lower left")


def _gains(axis: Axes, rows: Sequence[Row]) -> None:
    offset = 0.6
    ticks: list[tuple[float, str]] = []
    for proxy in dict.fromkeys(row["proxy"] for row in rows):
        mine = [row for row in rows if row["proxy"] == proxy]
        text = f"chosen by {NAMES[proxy]}: {mine[0]['selected']}"
        axis.annotate(text, (0.01, offset - 0.5), xycoords=("axes fraction", "data"), fontsize=7.5)
        for row in mine:
            for g, gain in enumerate(_GAINS):
                at = offset + 0.25 * g
                value, low, high = (row[f"{gain}_{k}"] for k in ("points", "low", "high"))
                label = gain if not ticks else None
                axis.errorbar(value, at, xerr=_around(value, low, high), fmt="o", ms=4, color=f"C{g}", label=label)
            ticks.append((offset + 0.25, str(row["budget"])))
            offset += 1.1
        offset += 0.9
    axis.axvline(0, color="black", lw=0.8)
    axis.set_yticks([at for at, _ in ticks], [text for _, text in ticks], fontsize=7)
    axis.set_ylim(offset, -0.3)  # with a line for the legend
    axis.set(xlabel=f"points of F1 over {REFERENCE} without augmentation", ylabel="labels a class")
    axis.set_title(f"selection, augmentation ({FAMILY}), both; 95 % interval", loc="left", fontsize=10)
    axis.legend(fontsize=7, frameon=False, ncols=3, loc="lower center")


def _around(value: Any, low: Any, high: Any) -> Any:
    """The two arms of an error bar, (2, n)."""
    return np.reshape(np.maximum([np.subtract(value, low), np.subtract(high, value)], 0), (2, -1))
