"""What every audit reports."""

from collections.abc import Sequence
from dataclasses import dataclass

SHOWN_FINDINGS = 5


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

    def _shown(self, headline: str, findings: Sequence[str]) -> str:
        """What a terminal or a notebook shows of the audit: a headline, the first findings and the notes."""
        lines = [f"{headline} ({self.sampled:,} of {self.candidates:,} tiles examined)"]
        lines += [f"  {finding}" for finding in findings[:SHOWN_FINDINGS]]
        lines += [f"  … and {more:,} more" if (more := len(findings) - SHOWN_FINDINGS) > 0 else ""]
        return "\n".join([*filter(None, lines), *(f"  note: {note}" for note in self.notes)])
