"""Fitted heads, each a row: what it is, its parameters, and the examples that it was fitted on."""

from dataclasses import dataclass
from typing import Any

from embedstore.errors import HeadExistsError, HeadNotFoundError
from embedstore.store.named import NamedRows
from embedstore.store.schema import HEADS


@dataclass(frozen=True, kw_only=True)
class StoredHead:
    """A head as the store keeps it.

    Attributes:
        name: Its name in the store.
        task: The question that it answers.
        collection: Whose vectors it takes.
        model: Its model.
        level: What it looks at: a tile, a slide, a patient.
        digest: Of its parameters.
        record: Configuration, data version, extractor, split, metrics: its card.
        parameters: safetensors.
        examples: What it was fitted on, by `tile_id`; no names, so that a patient who is removed leaves none here.
    """

    name: str
    task: str
    collection: str
    model: str
    level: str
    digest: str
    record: dict[str, Any]
    parameters: bytes
    examples: bytes
    created_at: Any = None


class Heads(NamedRows[StoredHead]):
    """The table `heads` of a store."""

    noun = "head"
    kind = StoredHead
    schema = HEADS
    heavy = ("parameters", "examples")
    not_found = HeadNotFoundError
    exists = HeadExistsError
    make = "embedstore fit-head --task TASK"
