"""The writer of an import: takes vectors instead of pixels, and writes each slide's fragments."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actors.extractor_worker import FailedSlide, FinishedSlide
from actors.reader import Chunk, PlannedSlide
from embedstore.errors import ExtractorError, UnknownKeyError
from embedstore.extractor_ref import ExtractorRecord
from embedstore.store import Collection, FragmentWriter
from embedstore.store.outage import through_outages


class VectorWriter:
    """Stands where the extractor of an ingest does: what it is fed are the vectors themselves.

    Args:
        store_uri: The store.
        collection: Name of an existing collection.
        extractor: What made the vectors.
        threads: As of an extractor worker; nothing is computed here.
    """

    def __init__(
        self, store_uri: str, collection: str, extractor: ExtractorRecord, *, threads: int | None = None
    ) -> None:
        self._collection, self._extractor = Collection(store_uri, collection), extractor
        self._slides: dict[str, _Slide] = {}

    @cached_property
    def _schema(self) -> pa.Schema:
        return self._collection.schema

    def ping(self) -> None:
        """Return, to show that the worker is alive."""

    def records(self) -> list[dict[str, Any]]:
        """The record of the extractor, as `ExtractorWorker.records` gives it."""
        return [self._extractor.as_record()]

    @through_outages
    def open(
        self, key: str, slide_id: str, planned: PlannedSlide, collections: Sequence[str], views_only: Sequence[str] = ()
    ) -> None:
        """Get ready for a slide's vectors."""
        plan = planned.plan
        self._slides[key] = _Slide(
            FragmentWriter(
                table_uri=self._collection.table.uri,
                schema=self._schema,
                collection=self._collection.name,
                slide_id=slide_id,
                xy_l0=plan.xy_l0,
                edge_l0=plan.edge_l0 if plan.edges_l0 is None else plan.edges_l0,
                tissue=plan.tissue,
                names=plan.names,
            )
        )

    def feed(self, chunk: Chunk, vectors: NDArray[np.floating]) -> list[FinishedSlide | FailedSlide]:
        """Write vectors, as float16.

        Returns:
            The slide, if it is finished with this, or has failed.
        """
        slide = self._slides.get(chunk.key)
        if slide is None:
            raise UnknownKeyError(f"this writer has not opened {chunk.key!r}")
        began = time.perf_counter()
        with np.errstate(over="ignore", invalid="ignore"):
            rows = np.asarray(vectors).astype(np.float16, copy=False)
        finite = np.isfinite(rows).all(axis=1)
        if not finite.all():
            slide.lost += int((~finite).sum())
            return [FailedSlide(key=chunk.key, error=_not_finite(slide.writer.slide_id, slide.lost))]
        slide.writer.put(chunk.start + np.arange(len(rows)), rows)
        slide.write_s += time.perf_counter() - began
        if not slide.writer.complete:
            return []
        del self._slides[chunk.key]
        return [
            FinishedSlide(
                key=chunk.key,
                fragments=slide.writer.finish(),
                stored_tiles=0,
                extract_s=0.0,
                write_s=slide.write_s,
            )
        ]

    def flush(self) -> list[FinishedSlide | FailedSlide]:
        """Nothing waits here."""
        return []

    def drop(self, key: str) -> None:
        """Forget a slide; fragments already written stay behind as leftovers for `compact`."""
        self._slides.pop(key, None)


@dataclass(eq=False)
class _Slide:
    """A slide that is being written; `lost` is the number of vectors that float16 cannot hold."""

    writer: FragmentWriter
    lost: int = 0
    write_s: float = 0.0


def _not_finite(slide_id: str, lost: int) -> ExtractorError:
    return ExtractorError(
        f"slide {slide_id!r} has {lost:,} or more vectors that float16 cannot hold (beyond ±65504, or NaN); the tool's "
        "extraction overflowed: extract the slide again, in fp32 or bf16, then import it with --retry-failed"
    )
