"""How long calls report how far they have come: one contract for every layer."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a long call has come.

    Attributes:
        stage: What is being done, such as "ingest", "fit" or "predict".
        message: One line for people; "" where the counts say it all.
        done: Units that are finished.
        total: Units in all; None where that is not known.
        unit: What is counted, in the plural.
    """

    stage: str
    message: str = ""
    done: int = 0
    total: int | None = None
    unit: str = ""


#: Called now and then, in the caller's thread, by whatever takes long.
OnProgress = Callable[[Progress], None]


def no_progress(progress: Progress) -> None:
    """Report to nobody: the default of every long call."""
