"""The kind of job that encodes slides."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from embedstore.encoder_config import BuiltinEncoder, VisualWordsConfig, check_encoding_name
from embedstore.service.jobs.kind import JobKind, Workplace
from embedstore.settings import build_config
from embedstore.store import Store as StoreTables


@dataclass(frozen=True, kw_only=True)
class EncodeSlides(JobKind):
    """Turn the tile vectors of each slide of a collection into one vector; never by a function of a user.

    Attributes:
        collection: The collection; the only one when None.
        encoder: A built-in encoder.
        name: Name of the vectors in the store; the encoder's when None.
        slides: Only these; all of the collection when empty.
        rebuild: Make them anew where there are some.
        codebook_of: A collection of the same extractor, whose codebook is used.
        settings: Fields of `VisualWordsConfig` that differ from their defaults.
    """

    NAME: ClassVar[str] = "encode-slides"

    collection: str | None = None
    encoder: BuiltinEncoder = "mean"
    name: str | None = None
    slides: tuple[str, ...] = ()
    rebuild: bool = False
    codebook_of: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    def check(self, tables: StoreTables) -> None:
        from embedstore.encoders import load_encoder

        tables.collection(self.collection)
        load_encoder(self.encoder, build_config(VisualWordsConfig, None, **self.settings) if self.settings else None)
        name = check_encoding_name(self.name or self.encoder)
        if self.codebook_of is not None:
            tables.encoding(self.codebook_of, name).record()

    def run(self, at: Workplace) -> dict[str, Any]:
        done = at.store.collection(self.collection).encode_slides(
            self.encoder, name=self.name, slides=self.slides, rebuild=self.rebuild, codebook_of=self.codebook_of,
            on_progress=at.on_progress, **self.settings,
        )  # fmt: skip
        record = None if done.record is None else done.record.as_record()
        return {**vars(done), "record": record}

    def left(self, tables: StoreTables, since: dt.datetime) -> str:
        return "slides that were encoded before that have their vectors; encode again for the rest"
