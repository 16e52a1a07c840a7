"""The table and the picture of `paper.py`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from at_hand import CONTROLS, REFERENCE, TARGETS
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from paper_gains import Drawn, Key
from paper_grid import BUDGETS, FAMILIES

NAMES = {
    "lymph_node_metastasis_pcam": "lymph-node metastasis",
    "mitosis_atypical_vs_normal": "atypical mitosis",
    "lymph_node_metastasis_camelyon16_256": "CAMELYON16, 89 tiles",
}
#: Colours that people who see few colours tell apart (Wong 2011, doi 10.1038/nmeth.1618), one a family.
COLOURS = dict(zip(FAMILIES, ("#000000", "#0072B2", "#009E73", "#D55E00", "#CC79A7"), strict=True))
#: The picture shows the gains of these.
_FAMILY, _GAINS = "any", ("selection", "augmentation", "both")


def table(f1: Mapping[Key, Drawn], gain_rows: Sequence[Mapping[str, Any]]) -> str:
    """F1 of every extractor at every budget, without augmentation and with the best family; then the gains."""
    lines = []
    for task in TARGETS:
        lines += [
            f"**{NAMES[task]}**: F1, mean of the seeds, [95 % interval]; none → any augmentation\n",
            "| extractor | " + " | ".join(f"{budget or 'all'} a class" for budget in BUDGETS) + " |",
            "|---|" + "---|" * len(BUDGETS),
        ]
        for name in _ordered(f1, task):
            cells = (f"{_short(f1[task, name, b, 'none'])} → {_short(f1[task, name, b, 'any'])}" for b in BUDGETS)
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += [
        f"Over {REFERENCE} without augmentation, points of F1 [95 % interval] (per cent):\n",
        "| target | proxy → selected (τ) | labels a class | selection | augmentation | both |",
        "|---|---|---|---|---|---|",
    ]
    for row in gain_rows:
        if row["augmentation"] == _FAMILY:
            found = " | ".join(
                f"{row[f'{gain}_points']:+.1f} [{row[f'{gain}_low']:+.1f}, {row[f'{gain}_high']:+.1f}] "
                f"({row[f'{gain}_per_cent']:+.1f} %)"
                for gain in _GAINS
            )
            chosen = f"{NAMES[row['proxy']]} → {row['selected']} ({row['tau']:.2f})"
            lines.append(f"| {NAMES[row['target']]} | {chosen} | {row['budget']} | {found} |")
    return "\n".join(lines) + "\n"


def _ordered(f1: Mapping[Key, Drawn], task: str) -> list[str]:
    """Extractors from the best down, with all labels and no augmentation."""
    names = {key[1] for key in f1 if key[0] == task}
    return sorted(names, key=lambda name: -f1[task, name, 0, "none"].value)


def _short(drawn: Drawn) -> str:
    low, high = drawn.interval
    return f"{drawn.value:.3f} [{low:.3f}, {high:.3f}]"


def draw(f1: Mapping[Key, Drawn], gain_rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A row a task: F1 of extractors by budget; what each family of augmentation adds; gains over the reference."""
    figure = Figure(figsize=(15, 4.4 * len(TARGETS)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(TARGETS), 3)
    for row, task in enumerate(TARGETS):
        _by_budget(axes[row, 0], f1, task)
        _by_family(axes[row, 1], f1, task)
        _gains(axes[row, 2], [r for r in gain_rows if r["target"] == task and r["augmentation"] == _FAMILY])
        axes[row, 0].set_title(f"{NAMES[task]}: no augmentation", loc="left", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def _by_budget(axis, f1: Mapping[Key, Drawn], task: str) -> None:
    for i, name in enumerate(_ordered(f1, task)):
        drawn = [f1[task, name, budget, "none"] for budget in BUDGETS]
        dashed = ":" if name in CONTROLS else "-"
        axis.plot(
            range(len(BUDGETS)), [one.value for one in drawn], dashed, marker="o", ms=3, color=f"C{i}", label=name
        )
    axis.set_xticks(range(len(BUDGETS)), [str(budget or "all") for budget in BUDGETS])
    axis.set(xlabel="labels a class", ylabel="F1 on test tiles")
    axis.legend(fontsize=7, frameon=False)


def _by_family(axis, f1: Mapping[Key, Drawn], task: str) -> None:
    """Mean over the trained extractors of what each family adds, with the spread of extractors."""
    names = [name for name in _ordered(f1, task) if name not in CONTROLS]
    families = [family for family in FAMILIES if family != "none"]
    width = 0.8 / len(families)
    for i, family in enumerate(families):
        gain = 100 * np.array(
            [[f1[task, n, b, family].value - f1[task, n, b, "none"].value for n in names] for b in BUDGETS]
        )
        at = np.arange(len(BUDGETS)) + (i - (len(families) - 1) / 2) * width
        axis.bar(at, gain.mean(axis=1), width, color=COLOURS[family], alpha=0.75, label=family)
        axis.plot(np.repeat(at, len(names)), gain.ravel(), ".", color="black", ms=2.5)
    axis.axhline(0, color="black", lw=0.8)
    axis.set_xticks(range(len(BUDGETS)), [str(budget or "all") for budget in BUDGETS])
    axis.set(xlabel="labels a class", ylabel="points of F1 over none")
    axis.set_title("augmentation: mean of extractors, a dot each", loc="left", fontsize=10)
    axis.legend(fontsize=7, frameon=False)


def _gains(axis, rows: Sequence[Mapping[str, Any]]) -> None:
    offset = 0.5
    ticks: list[tuple[float, str]] = []
    for proxy in dict.fromkeys(row["proxy"] for row in rows):
        mine = [row for row in rows if row["proxy"] == proxy]
        text = f"proxy {NAMES[proxy]}: {mine[0]['selected']}"
        axis.annotate(text, (0.01, offset - 0.45), xycoords=("axes fraction", "data"), fontsize=7.5)
        for row in mine:
            for g, gain in enumerate(_GAINS):
                at = offset + 0.25 * g
                value, low, high = (row[f"{gain}_{k}"] for k in ("points", "low", "high"))
                axis.errorbar(
                    value, at, xerr=[[max(value - low, 0)], [max(high - value, 0)]], fmt="o", ms=4, color=f"C{g}",
                    label=gain if not ticks else None,
                )  # fmt: skip
            ticks.append((offset + 0.25, str(row["budget"])))
            offset += 1.1
        offset += 0.8
    axis.axvline(0, color="black", lw=0.8)
    axis.set_yticks([at for at, _ in ticks], [text for _, text in ticks], fontsize=7)
    axis.set_ylim(offset - 0.8, -0.3)
    axis.set(xlabel="points of F1, 95 % interval", ylabel="labels a class")
    axis.set_title(f"over {REFERENCE}, none", loc="left", fontsize=10)
    handles, labels = axis.get_legend_handles_labels()
    axis.legend(
        handles[: len(_GAINS)],
        labels[: len(_GAINS)],
        fontsize=7,
        frameon=False,
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncol=3,
    )
