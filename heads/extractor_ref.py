"""Whose vectors a head or an augmenter takes: the part of an extractor's record that is kept with them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from embedstore.store import Collection


@dataclass(frozen=True, kw_only=True)
class ExtractorRef:
    """An extractor by name.

    Attributes:
        name: Its name.
        digest: Of its parameters and preprocessing: vectors of the same digest are comparable.
        dim: Dimensions of its vectors.
    """

    name: str
    digest: str
    dim: int

    @classmethod
    def of(cls, collection: Collection) -> "ExtractorRef":
        """The extractor of a collection's vectors."""
        return cls.from_record(collection.record()["extractor"])

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "ExtractorRef":
        return cls(name=record["name"], digest=record["digest"], dim=record["dim"])

    def as_record(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.name} ({self.digest})"
