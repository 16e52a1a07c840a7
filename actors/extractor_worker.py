"""The extractor worker: the extractors of a tiling group on one device, and the fragments that they write."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from actors.reader import Chunk, PlannedSlide
from actors.request import Target
from embedstore.config import ViewConfig
from embedstore.errors import ExtractorError, UnknownKeyError
from embedstore.extractors import BatchStream, load_extractor
from embedstore.extractors.torch_runtime import set_threads
from embedstore.store import Collection, FragmentWriter, SlideFragments, ViewRows, Views
from embedstore.store.outage import through_outages
from embedstore.store.sql import sql_string


@dataclass(frozen=True, kw_only=True)
class FinishedSlide:
    """A slide's last tile has been embedded for a collection.

    Attributes:
        fragments: What was written; no rows if no tile was readable.
        stored_tiles: Number of tiles that the collection had before, where only views are added; else 0.
        extract_s: The slide's share of the time in the extractor, seconds.
        write_s: Time spent writing its fragments, seconds.
    """

    key: str
    fragments: SlideFragments
    stored_tiles: int
    extract_s: float
    write_s: float


@dataclass(frozen=True, kw_only=True)
class FailedSlide:
    """A slide of which an embedding is no number, in a run whose other embeddings are."""

    key: str
    error: ExtractorError


class ExtractorWorker:
    """Embeds tiles of many slides in shared batches and writes each slide's fragments.

    Args:
        store_uri: The store.
        targets: The extractors, which see the same tiles, and the collection of each.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        batch_tiles: Tiles in one forward pass; each extractor's own default when None.
        threads: Threads for torch on the CPU; torch's default when None.
        views: Which augmented copies of each tile are embedded too; none when None.
    """

    def __init__(
        self,
        store_uri: str,
        targets: Sequence[Target],
        *,
        device: str = "auto",
        batch_tiles: int | None = None,
        threads: int | None = None,
        views: ViewConfig | None = None,
    ) -> None:
        self._branches = [_Branch(store_uri, target, device, batch_tiles, views) for target in targets]
        if threads is not None:
            set_threads(threads)

    def ping(self) -> None:
        """Return, to show that the worker is alive."""

    def records(self) -> list[dict[str, Any]]:
        """The record of each extractor, in the order of the targets, to be stored with its collection."""
        return [branch.extractor.record() for branch in self._branches]

    @through_outages
    def open(
        self, key: str, slide_id: str, planned: PlannedSlide, collections: Sequence[str], views_only: Sequence[str] = ()
    ) -> None:
        """Get ready for a slide's tiles, for the collections that lack it, or only its views.

        Raises:
            SlideError: the views would be of other tiles than the collection has.
        """
        for branch in self._branches:
            if (name := branch.collection.name) in collections:
                branch.open(key, slide_id, planned, tiles=name not in views_only)

    def feed(self, chunk: Chunk, pixels: NDArray[np.uint8]) -> list[FinishedSlide | FailedSlide]:
        """Add tiles to the batches, and embed each batch that is full.

        Returns:
            The slides that are finished with this, or have failed.
        Raises:
            ExtractorError: not one embedding so far is finite in float16.
        """
        branches = [branch for branch in self._branches if chunk.key in branch.slides]
        if not branches:
            raise UnknownKeyError(f"this extractor has not opened {chunk.key!r}")
        return [finished for branch in branches for finished in branch.feed(chunk, pixels)]

    def flush(self) -> list[FinishedSlide | FailedSlide]:
        """Embed what is left in half-filled batches."""
        return [finished for branch in self._branches for finished in branch.flush()]

    def drop(self, key: str) -> None:
        """Forget a slide; fragments already written stay behind as leftovers for `compact`."""
        for branch in self._branches:
            branch.slides.pop(key, None)


@dataclass(kw_only=True, eq=False)
class _Slide:
    """A slide that is being embedded.

    Attributes:
        is_finite: Whether all of its embeddings are, so far.
        first_copy: Number of the first copy of each tile to embed: 0, the tile itself, or 1 where only views are added.
        stored_tiles: Number of its tiles that the collection had before, where only views are added.
    """

    writer: FragmentWriter
    first_copy: int
    stored_tiles: int
    is_finite: bool = True
    extract_s: float = 0.0
    write_s: float = 0.0


@dataclass(kw_only=True, eq=False)
class _Waiting:
    """Tiles and views of one chunk that are in the stream, in the order in which they were pushed.

    Attributes:
        copies: A tile's position in the plan times 1 + views, plus 0 for the tile itself or its view's number.
        done: Number of those that are embedded.
    """

    key: str
    copies: NDArray[np.int64]
    done: int = 0


class _Branch:
    """One extractor, its stream of batches, and the slides that are being embedded."""

    def __init__(
        self, store_uri: str, target: Target, device: str, batch_tiles: int | None, views: ViewConfig | None
    ) -> None:
        self.collection = Collection(store_uri, target.collection)
        self._view_table, self._view_config = Views(store_uri, target.collection), views
        self._copies = 1 + (views.count if views is not None else 0)
        self.extractor = load_extractor(target.extractor, device=device)
        self._stream = BatchStream(self.extractor, batch_tiles, checked=False)
        self._proved = False  # it gave an embedding that is finite: its weights are sound
        self._waiting: deque[_Waiting] = deque()
        self.slides: dict[str, _Slide] = {}

    @cached_property
    def _schema(self) -> pa.Schema:
        return self.collection.schema  # the collection is made once the run knows the extractor's record

    @cached_property
    def _view_rows(self) -> ViewRows | None:
        if self._view_config is None:
            return None
        table = self._view_table
        return ViewRows(table_uri=table.table.uri, schema=table.schema, config=self._view_config)

    def open(self, key: str, slide_id: str, planned: PlannedSlide, *, tiles: bool) -> None:
        plan, stored = planned.plan, None
        if not tiles:
            rows = self.collection.tiles(where=f"slide_id = {sql_string(slide_id)}", columns=["tile_id"])
            stored = rows["tile_id"].to_numpy()
        self.slides[key] = _Slide(
            writer=FragmentWriter(
                table_uri=self.collection.table.uri,
                schema=self._schema,
                collection=self.collection.name,
                slide_id=slide_id,
                xy_l0=plan.xy_l0,
                edge_l0=plan.edge_l0,
                tissue=plan.tissue,
                names=plan.names,
                views=self._view_rows,
                stored=stored,
            ),
            first_copy=0 if tiles else 1,
            stored_tiles=0 if stored is None else len(stored),
        )

    def feed(self, chunk: Chunk, pixels: NDArray[np.uint8]) -> list[FinishedSlide | FailedSlide]:
        rows, first = chunk.start + np.arange(len(chunk.readable)), self.slides[chunk.key].first_copy
        copies = rows[:, None] * self._copies + np.arange(first, self._copies)
        readable, unreadable = copies[chunk.readable].ravel(), copies[~chunk.readable].ravel()
        changed: list[str] = []
        if len(unreadable):
            self._put(chunk.key, unreadable, None)
            changed.append(chunk.key)
        if len(readable):
            self._waiting.append(_Waiting(key=chunk.key, copies=readable))
            pixels = pixels if not len(unreadable) else pixels[chunk.readable]
            if self._view_config is not None:
                pixels = pixels[:, first:].reshape(-1, *pixels.shape[2:])
            began = time.perf_counter()
            embeddings = self._stream.push(pixels)
            changed += self._put_in_order(embeddings, time.perf_counter() - began)
        return self._finished(changed)

    def flush(self) -> list[FinishedSlide | FailedSlide]:
        began = time.perf_counter()
        embeddings = self._stream.flush()
        return self._finished(self._put_in_order(embeddings, time.perf_counter() - began))

    def _put_in_order(self, embeddings: NDArray[np.float16], took_s: float) -> list[str]:
        """Write embeddings to the slides of their tiles; the stream returns them in the order of the tiles.

        Returns:
            Keys of these slides.
        """
        changed: list[str] = []
        finite = np.asarray(np.isfinite(embeddings).all(axis=1))
        self._proved = self._proved or bool(finite.any())
        if not self._proved:
            self.extractor.check_embeddings(embeddings)
        start = 0
        while start < len(embeddings):
            waiting = self._waiting[0]
            n = min(len(waiting.copies) - waiting.done, len(embeddings) - start)
            copies = waiting.copies[waiting.done : waiting.done + n]
            if waiting.key in self.slides:
                self.slides[waiting.key].extract_s += took_s * n / len(embeddings)
                self.slides[waiting.key].is_finite &= bool(finite[start : start + n].all())
                self._put(waiting.key, copies, embeddings[start : start + n])
                changed.append(waiting.key)
            start += n
            waiting.done += n
            if waiting.done == len(waiting.copies):
                self._waiting.popleft()
        return changed

    def _put(self, key: str, copies: NDArray[np.int64], embeddings: NDArray[np.float16] | None) -> None:
        slide = self.slides[key]
        if not slide.is_finite:
            return
        began = time.perf_counter()
        tiles, view = np.divmod(copies, self._copies)
        for put, chosen, rows in (
            (slide.writer.put, view == 0, tiles),
            (slide.writer.put_views, view > 0, tiles * (self._copies - 1) + view - 1),
        ):
            if chosen.any():
                put(rows[chosen], None if embeddings is None else embeddings[chosen])
        slide.write_s += time.perf_counter() - began

    def _finished(self, changed: Sequence[str]) -> list[FinishedSlide | FailedSlide]:
        """Those of the changed slides that have failed, and those whose rows are all written, which are removed."""
        finished: list[FinishedSlide | FailedSlide] = []
        for key in dict.fromkeys(changed):
            slide = self.slides[key]
            if not slide.is_finite:  # it stays, to take what tiles are still on their way, until it is dropped
                finished.append(FailedSlide(key=key, error=self._not_finite(slide.writer.slide_id)))
            elif slide.writer.complete:
                del self.slides[key]
                fragments = slide.writer.finish()
                finished.append(
                    FinishedSlide(
                        key=key,
                        fragments=fragments,
                        stored_tiles=slide.stored_tiles,
                        extract_s=slide.extract_s,
                        write_s=slide.write_s,
                    )
                )
        return finished

    def _not_finite(self, slide_id: str) -> ExtractorError:
        return ExtractorError(
            f"slide {slide_id!r}: extractor {self.extractor.name!r} gave embeddings that float16 cannot hold (beyond "
            "±65504, or NaN) for some of its tiles, and not for those of other slides; on CUDA try precision bf16 or "
            "fp32, with --retry-failed"
        )
