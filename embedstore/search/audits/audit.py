"""What every audit reports."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, eq=False)
class Audit:
    """The sample that an audit examined.

    Attributes:
        sampled: Tiles that were examined.
        candidates: Tiles that the sample was drawn from.
        notes: What the user should know.
    """

    sampled: int
    candidates: int
    notes: tuple[str, ...] = ()
