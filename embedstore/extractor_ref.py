"""Which extractor a vector is of: what collections, heads and augmenters keep of an extractor's record."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ExtractorRef:
    """An extractor by name and digest: the part of its record that says which vectors are comparable.

    Attributes:
        name: What it is called in the store.
        digest: `sha256:…` over weights and preprocessing: vectors of the same digest are comparable.
        dim: Length of an embedding.
    """

    name: str
    digest: str
    dim: int

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "ExtractorRef":
        """Parse what `Extractor.record` or `as_record` gave, before or after a way through JSON."""
        return cls(name=record["name"], digest=record["digest"], dim=record["dim"])

    def as_record(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.name} ({self.digest})"
