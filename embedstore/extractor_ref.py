"""What is stored about an extractor: a full record with a collection, a reference with heads and augmenters."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

#: How the digest of an extractor begins whose weights were not at hand when its vectors were imported.
UNKNOWN_DIGEST = "unknown:"


def is_known(digest: str) -> bool:
    """Whether a digest says which weights and preprocessing made vectors."""
    return not digest.startswith(UNKNOWN_DIGEST)


@dataclass(frozen=True, kw_only=True)
class ExtractorRef:
    """An extractor by name and digest: the part of its record that says which vectors are comparable.

    Attributes:
        name: What it is called in the store.
        digest: `sha256:…` over weights and preprocessing: vectors of the same digest are comparable.
            `unknown:…`, another one for each collection, where they were imported and the weights were not at hand.
        dim: Length of an embedding.
    """

    name: str
    digest: str
    dim: int

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "ExtractorRef":
        """Parse what `Extractor.record` or `as_record` returned, after a round trip through JSON or not."""
        return cls(name=record["name"], digest=record["digest"], dim=record["dim"])

    @property
    def is_known(self) -> bool:
        """Whether it is known which weights and preprocessing made the vectors."""
        return is_known(self.digest)

    def as_record(self) -> dict[str, Any]:
        """JSON values, from which `from_record` makes the same object."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.name} ({self.digest})"
            if self.is_known
            else f"{self.name} (imported, by weights that are not known)"
        )


def why_unknown(*digests: str) -> str:
    """What a message adds that compares digests, where one of them is not known; else ""."""
    if all(map(is_known, digests)):
        return ""
    return (
        "; which weights made imported vectors is not known, so heads and augmenters of such a collection serve only "
        "that one: import its folder into a new collection with --weights if you have them"
    )


@dataclass(frozen=True, kw_only=True)
class ExtractorRecord:
    """The record of an extractor that is stored with a collection.

    Attributes:
        ref: Which extractor it is.
        tile_px: Edge of the tiles that it takes, pixels; None where that was not recorded.
        mpp: Resolution of these tiles, micrometres per pixel; None where that is not known.
        details: Everything else that is recorded, as JSON values: source, architecture, precision, licence …
    """

    ref: ExtractorRef
    tile_px: int | None = None
    mpp: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "ExtractorRecord":
        """Parse what `Extractor.record` or `as_record` returned, after a round trip through JSON or not."""
        own = ("name", "digest", "dim", "tile_px", "mpp")
        details = {name: value for name, value in record.items() if name not in own}
        ref = ExtractorRef.from_record(record)
        return cls(ref=ref, tile_px=record.get("tile_px"), mpp=record.get("mpp"), details=details)

    def as_record(self) -> dict[str, Any]:
        """JSON values, from which `from_record` makes the same object."""
        return {**self.ref.as_record(), "tile_px": self.tile_px, "mpp": self.mpp, **self.details}
