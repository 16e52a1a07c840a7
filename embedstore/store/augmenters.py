"""Latent augmenters, each a row: what it was trained on, how it was judged, and its parameters."""

from dataclasses import dataclass
from typing import Any

from embedstore.errors import AugmenterExistsError, AugmenterNotFoundError
from embedstore.store.named import NamedRows
from embedstore.store.schema import AUGMENTERS


@dataclass(frozen=True, kw_only=True)
class StoredAugmenter:
    """An augmenter as the store keeps it.

    Attributes:
        name: Its name in the store.
        collection: Whose views it was trained on; it serves every collection of the same extractor.
        digest: Of its parameters and what it expects.
        record: Configuration, data versions, extractor, views, report: its card.
        parameters: safetensors.
    """

    name: str
    collection: str
    digest: str
    record: dict[str, Any]
    parameters: bytes
    created_at: Any = None


class Augmenters(NamedRows[StoredAugmenter]):
    """The table `augmenters` of a store."""

    noun = "augmenter"
    kind = StoredAugmenter
    schema = AUGMENTERS
    heavy = ("parameters",)
    not_found = AugmenterNotFoundError
    exists = AugmenterExistsError
    make = "embedstore fit-augmenter"
