"""What a ranking comes to, in a sentence."""

from collections.abc import Sequence
from itertools import takewhile

from heads.evaluation.report import Metric
from heads.select.selection_report import CandidateReport, title_of

#: How much less time a candidate must take to be named as the cheaper one: timings of a short run vary by a tenth.
CHEAPER = 1.2


def verdict(rows: Sequence[CandidateReport], rank_by: str) -> str:
    """Who leads, whether by more than noise, and what cannot be told from it and is cheaper.

    A candidate that is noisier than one before it, which is told from the leader, is not named as being as good.

    Args:
        rows: Best first; those that could not be tried are passed over.
        rank_by: The probe that ranked them.
    """
    tried = [row for row in rows if row.error is None]
    leader = tried[0]
    said = f"{leader.name} leads by {title_of(rank_by)}: {leader.scores[rank_by]}"
    if len(tried) == 1:
        return f"{said}; it is the only candidate that could be tried"
    behind = tried[1].behind
    assert behind is not None
    said += f", {behind} ahead of {tried[1].name}"
    if behind.low is None:
        return f"{said}; without an interval, nobody can say whether that is more than noise"
    said += ", more than noise" if above_zero(behind) else ": NO MORE THAN NOISE"
    alike = takewhile(lambda row: row.behind is not None and not above_zero(row.behind), tried[1:])
    cheapest = min(alike, key=lambda row: row.hours or 0, default=None)
    if cheapest is not None and cheapest.hours and (leader.hours or 0) > CHEAPER * cheapest.hours:
        times = (leader.hours or 0) / cheapest.hours
        said += f"; {cheapest.name} cannot be told from it and is {times:.1f} times as fast over the collection"
    return said


def above_zero(difference: Metric) -> bool:
    """Whether the whole interval of a difference lies above 0."""
    return difference.low is not None and difference.low > 0
