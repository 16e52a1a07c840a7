"""Metrics on a cohort beside those on a head's own test parts, with their difference and what it means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from typing import Literal

from heads.evaluation.report import Metric, Report

#: Metrics that are better the smaller they are.
_ERRORS = ("calibration_error", "brier")
#: Shares of a class that differ by less are taken for alike.
_SHARE = 0.05

Meaning = Literal["better", "worse", "alike", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A metric on a cohort and on the test parts of the head's own data.

    Attributes:
        name: Of the metric.
        here, own: On the cohort, and on the head's test parts.
        difference: `here` less `own` with its 95 % interval; None where one of them is undefined.
    """

    name: str
    here: Metric
    own: Metric
    difference: Metric | None

    @property
    def meaning(self) -> Meaning:
        """better, worse, or alike (no difference can be told); unknown where there is no interval."""
        if self.difference is None or self.difference.low is None or self.difference.high is None:
            return "unknown"
        if self.difference.low <= 0 <= self.difference.high:
            return "alike"
        return "better" if (self.difference.low > 0) != (self.name in _ERRORS) else "worse"


def compared(here: Mapping[str, Metric], own: Mapping[str, Metric]) -> tuple[Comparison, ...]:
    """Every metric here, beside what the test parts had; a head that was measured on nothing has nothing there."""
    pairs = ((name, metric, own.get(name, Metric(value=None))) for name, metric in here.items())
    return tuple(
        Comparison(name=name, here=metric, own=there, difference=difference(metric, there))
        for name, metric, there in pairs
    )


def difference(here: Metric, own: Metric) -> Metric | None:
    """The difference of two metrics of different patients, with a 95 % interval from those of the two.

    It is that of Zou & Donner 2008 (doi 10.1002/sim.3095): the distances of the two values from the ends of their
    intervals that lie towards each other, added as independent spreads are. No interval where one of the two has none.
    """
    if here.value is None or own.value is None:
        return None
    value = here.value - own.value
    if here.low is None or here.high is None or own.low is None or own.high is None:
        return Metric(value=value)
    return Metric(
        value=value,
        low=value - hypot(here.value - here.low, own.high - own.value),
        high=value + hypot(here.high - here.value, own.value - own.low),
    )


def verdict(comparisons: Sequence[Comparison]) -> str:
    """What the differences say of the head, in a sentence without its end."""
    by_name = {each.name: each for each in comparisons}
    ranks, decides = by_name.get("auroc"), by_name.get("balanced_accuracy")
    calibrated = by_name.get("brier")
    if ranks is not None and ranks.meaning == "worse":
        return f"tells the classes apart less well than on its own test parts: AUROC {_told(ranks)}"
    if decides is not None and decides.meaning == "worse":
        if ranks is None or ranks.meaning == "unknown":
            return f"decides less well than on its own test parts: balanced accuracy {_told(decides)}"
        return (
            "ranks as well as on its own test parts, but decides less well: its probabilities have shifted against its "
            f"threshold; balanced accuracy {_told(decides)}"
        )
    if ranks is not None and ranks.meaning == "better":
        return f"tells the classes apart better than on its own test parts: AUROC {_told(ranks)}"
    if all(each.own.value is None for each in comparisons):
        return "has no test parts of its own to compare with"
    shown = next((each for each in (ranks, decides) if each is not None and each.meaning == "alike"), None)
    if shown is None:
        return "cannot be compared with its own test parts: too few patients, or classes, for an interval"
    if calibrated is not None and calibrated.meaning == "worse" and ranks is not None:
        return (
            f"ranks as well as on its own test parts, AUROC {_told(ranks)}, but its probabilities fit less well: Brier "
            f"score {_told(calibrated)}"
        )
    name = "AUROC" if shown is ranks else "balanced accuracy"
    return f"no difference from its own test parts can be told: {name} {_told(shown)}"


def share_note(here: Report, own: Report) -> str | None:
    """That classes are of other shares than on the test parts, which moves some metrics by itself."""
    if not own.rows:
        return None
    shares = {label: (here.support[label] / here.rows, own.support[label] / own.rows) for label in here.classes}
    label, (now, then) = max(shares.items(), key=lambda item: abs(item[1][0] - item[1][1]))
    if abs(now - then) < _SHARE:
        return None
    label = here.positive or label
    now, then = shares[label]
    return (
        f"{now:.0%} of the examples here are {label!r}, {then:.0%} of the test parts: F1, AUPRC, accuracy and Brier "
        "score differ by that alone; AUROC, recall and balanced accuracy do not"
    )


def _told(comparison: Comparison) -> str:
    """'0.81 here, 0.93 there, a difference of -0.12 (-0.20 to -0.05)'."""
    change, here, own = comparison.difference, comparison.here.value, comparison.own.value
    if change is None or change.value is None or here is None or own is None:
        return "undefined"
    interval = "" if change.low is None else f" ({change.low:+.3f} to {change.high:+.3f})"
    return f"{here:.3f} here, {own:.3f} there, a difference of {change.value:+.3f}{interval}"
