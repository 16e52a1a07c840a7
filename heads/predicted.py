"""What `predict` wrote, in numbers; here, so that a client has it without JAX."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What a run of `predict` wrote.

    Attributes:
        head: Name of the head.
        collection: The collection whose vectors it was given.
        slides: Number of slides that were predicted.
        rows: Number of rows written: tiles, or slides.
        table: Name of the table that they are in.
        shares: Share of each class among the decisions.
    """

    head: str
    collection: str
    slides: int
    rows: int
    table: str
    shares: dict[str, float]

    def __repr__(self) -> str:
        shares = ", ".join(f"{name} {share:.1%}" for name, share in self.shares.items())
        return f"{self.head}: {self.rows:,} rows of {self.slides} slide(s){': ' if shares else ''}{shares}"
