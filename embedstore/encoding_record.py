"""How the slides of a collection were encoded, a vector a slide."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from embedstore.extractor_ref import ExtractorRef


@dataclass(frozen=True, kw_only=True)
class EncoderRef:
    """A slide encoder by name and digest: the digest says which vectors of slides are comparable.

    Attributes:
        name: Of the encoding, in the store.
        digest: `sha256:…` over all that decides a slide's vector but the vectors of its tiles.
        dim: Length of a slide's vector.
    """

    name: str
    digest: str
    dim: int

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "EncoderRef":
        return cls(name=record["name"], digest=record["digest"], dim=record["dim"])

    def as_record(self) -> dict[str, Any]:
        """JSON values, from which `from_record` makes the same object."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return f"{self.name} ({self.digest})"


@dataclass(frozen=True, kw_only=True)
class EncodingRecord:
    """How an encoding was made.

    Attributes:
        ref: The encoder.
        source: `builtin:NAME`, or the user's function, as `file.py:function` or `module:function`.
        collection: Whose tiles were encoded.
        extractor: Which extractor made their vectors.
        collection_version: Version of the collection's table when the encoding was begun.
        embedstore: Version of embedstore.
        created_at: ISO 8601.
        details: Everything else that is known of the encoder, as JSON values.
    """

    ref: EncoderRef
    source: str
    collection: str
    extractor: ExtractorRef
    collection_version: int
    embedstore: str
    created_at: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_record(self) -> dict[str, Any]:
        """As JSON values; `from_record` takes them back."""
        values = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        plain = {"ref": self.ref.as_record(), "extractor": self.extractor.as_record(), "details": dict(self.details)}
        return values | plain

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "EncodingRecord":
        known = {each.name for each in dataclasses.fields(cls)}
        values = {name: value for name, value in record.items() if name in known}
        refs = {
            "ref": EncoderRef.from_record(record["ref"]),
            "extractor": ExtractorRef.from_record(record["extractor"]),
        }
        return cls(**{**values, **refs})


@dataclass(frozen=True, kw_only=True)
class EncodingFacts:
    """What an encoding holds now.

    Attributes:
        record: How it was made.
        slides: Slides of the collection whose present tiles are encoded.
        lacking: Slides of the collection that are not, or whose tiles changed since.
    """

    record: EncodingRecord
    slides: int
    lacking: int

    @property
    def note(self) -> str:
        """'mean: 12 slides', with what it lacks."""
        text = f"{self.record.ref.name}: {self.slides:,} slides"
        return f"{text}, lacks {self.lacking:,}" if self.lacking else text


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """What a run of `encode-slides` did.

    Attributes:
        record: How the encoding was made; None where no slide was ever encoded.
        encoded: Ids of the slides that were encoded now.
        already: Number of slides whose present tiles were encoded before.
        failed: {slide: reason}.
        notes: What the user should know.
    """

    record: EncodingRecord | None
    encoded: tuple[str, ...] = ()
    already: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
