"""Progress of long calls: one contract for every layer."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a long call has come.

    Attributes:
        stage: What is being done, such as "ingest", "fit" or "predict".
        message: One line for people; "" where the counts suffice.
        done: Units that are finished.
        total: All units; None where that is not known.
        unit: What is counted, in the plural.
    """

    stage: str
    message: str = ""
    done: int = 0
    total: int | None = None
    unit: str = ""


#: Called from time to time by a long call, in the caller's thread.
OnProgress = Callable[[Progress], None]


def no_progress(progress: Progress) -> None:
    """Report to nobody: the default of every long call."""
