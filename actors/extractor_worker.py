"""The extractor worker: every network of the run on one device, and the fragments of what they say."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from actors.reader import Chunk, PlannedSlide
from embedstore.config import ViewConfig
from embedstore.errors import UnknownKeyError
from embedstore.extractors import BatchStream, ExtractorConfig, load_extractor
from embedstore.extractors.torch_runtime import set_threads
from embedstore.store import Collection, FragmentWriter, SlideFragments, ViewRows, Views
from embedstore.store.sql import sql_string


@dataclass(frozen=True, kw_only=True)
class Target:
    """A network and the collection that its embeddings go to."""

    extractor: ExtractorConfig
    collection: str


@dataclass(frozen=True, kw_only=True)
class FinishedSlide:
    """A slide's last tile has been embedded for a collection.

    Attributes:
        fragments: What was written; without rows when not one tile was readable.
        stored: Tiles that the collection had before, where views alone were wanted.
        extract_s: The slide's share of the time in the network, seconds.
        write_s: Time spent writing its fragments, seconds.
    """

    key: str
    fragments: SlideFragments
    stored: int
    extract_s: float
    write_s: float


class ExtractorWorker:
    """Embeds tiles of many slides in shared batches and writes each slide's fragments.

    Args:
        store_uri: The store.
        targets: The networks, and where each one's embeddings go; they see the same tiles.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        batch_tiles: Tiles a forward pass; each network's own default when None.
        threads: Threads for torch on the CPU; torch's default when None.
        views: What is drawn of each tile, where its views are embedded too.
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
    ):
        self._branches = [_Branch(store_uri, target, device, batch_tiles, views) for target in targets]
        if threads is not None:
            set_threads(threads)

    def ping(self) -> None:
        """Answer: the worker lives."""

    def records(self) -> list[dict[str, Any]]:
        """What each network is, in the order of the targets: to be stored with its collection."""
        return [branch.extractor.record() for branch in self._branches]

    def open(
        self, key: str, slide_id: str, planned: PlannedSlide, collections: Sequence[str], views_only: Sequence[str] = ()
    ) -> None:
        """Get ready for a slide's tiles, for those collections that lack it, or its views alone.

        Raises:
            SlideError: views are wanted of other tiles than those that the collection has.
        """
        for branch in self._branches:
            if (name := branch.collection.name) in collections:
                branch.open(key, slide_id, planned, tiles=name not in views_only)

    def feed(self, chunk: Chunk, pixels: np.ndarray) -> list[FinishedSlide]:
        """Embed tiles as soon as they fill a batch.

        Returns:
            The slides that this finished.
        """
        wanting = [branch for branch in self._branches if branch.wants(chunk.key)]
        if not wanting:
            raise UnknownKeyError(f"this extractor has not opened {chunk.key!r}")
        return [done for branch in wanting for done in branch.feed(chunk, pixels)]

    def flush(self) -> list[FinishedSlide]:
        """Embed what is left in half-filled batches."""
        return [done for branch in self._branches for done in branch.flush()]

    def drop(self, key: str) -> None:
        """Forget a slide; fragments already written stay behind as leftovers for `compact`."""
        for branch in self._branches:
            branch.slides.pop(key, None)


@dataclass(kw_only=True, eq=False)
class _Slide:
    """A slide on its way; `first` is 1 where its views alone are wanted, and `stored` the tiles that it has."""

    writer: FragmentWriter
    first: int
    stored: int
    extract_s: float = 0.0
    write_s: float = 0.0


@dataclass(kw_only=True, eq=False)
class _Waiting:
    """Tiles and views that are somewhere in the stream, in the order in which they went in.

    Attributes:
        copies: A tile's position in the plan times 1 + views, plus 0 for the tile itself or its view's number.
    """

    key: str
    copies: np.ndarray
    taken: int = field(default=0)


class _Branch:
    """One network, its stream of batches, and the slides that are on their way through it."""

    def __init__(self, store_uri: str, target: Target, device: str, batch_tiles: int | None, drawn: ViewConfig | None):
        self.collection = Collection(store_uri, target.collection)
        self._views, self._drawn = Views(store_uri, target.collection), drawn
        self._copies = 1 + (drawn.count if drawn is not None else 0)
        self.extractor = load_extractor(target.extractor, device=device)
        self._stream = BatchStream(self.extractor, batch_tiles)
        self._waiting: deque[_Waiting] = deque()
        self.slides: dict[str, _Slide] = {}

    @cached_property
    def _schema(self) -> pa.Schema:
        return self.collection.schema  # the collection is made once the run knows the extractor's record

    @cached_property
    def _view_rows(self) -> ViewRows | None:
        if self._drawn is None:
            return None
        return ViewRows(table_uri=self._views.table.uri, schema=self._views.schema, config=self._drawn)

    def wants(self, key: str) -> bool:
        return key in self.slides

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
            first=0 if tiles else 1,
            stored=0 if stored is None else len(stored),
        )

    def feed(self, chunk: Chunk, pixels: np.ndarray) -> list[FinishedSlide]:
        rows, first = chunk.start + np.arange(len(chunk.readable)), self.slides[chunk.key].first
        copies = rows[:, None] * self._copies + np.arange(first, self._copies)
        readable, lost = copies[chunk.readable].ravel(), copies[~chunk.readable].ravel()
        touched: list[str] = []
        if len(lost):
            self._put(chunk.key, lost, None)
            touched.append(chunk.key)
        if len(readable):
            self._waiting.append(_Waiting(key=chunk.key, copies=readable))
            pixels = pixels if not len(lost) else pixels[chunk.readable]
            if self._drawn is not None:
                pixels = pixels[:, first:].reshape(-1, *pixels.shape[2:])
            began = time.perf_counter()
            embeddings = self._stream.push(pixels)
            touched += self._hand_out(embeddings, time.perf_counter() - began)
        return self._finished(touched)

    def flush(self) -> list[FinishedSlide]:
        began = time.perf_counter()
        embeddings = self._stream.flush()
        return self._finished(self._hand_out(embeddings, time.perf_counter() - began))

    def _hand_out(self, embeddings: np.ndarray, took_s: float) -> list[str]:
        """Give embeddings to the slides whose tiles they are: the stream returns them in the order they went in."""
        touched = []
        given = 0
        while given < len(embeddings):
            waiting = self._waiting[0]
            n = min(len(waiting.copies) - waiting.taken, len(embeddings) - given)
            copies = waiting.copies[waiting.taken : waiting.taken + n]
            if waiting.key in self.slides:
                self.slides[waiting.key].extract_s += took_s * n / len(embeddings)
                self._put(waiting.key, copies, embeddings[given : given + n])
                touched.append(waiting.key)
            given += n
            waiting.taken += n
            if waiting.taken == len(waiting.copies):
                self._waiting.popleft()
        return touched

    def _put(self, key: str, copies: np.ndarray, embeddings: np.ndarray | None) -> None:
        slide = self.slides[key]
        began = time.perf_counter()
        rows, view = np.divmod(copies, self._copies)
        for put, chosen, at in (
            (slide.writer.put, view == 0, rows),
            (slide.writer.put_views, view > 0, rows * (self._copies - 1) + view - 1),
        ):
            if chosen.any():
                put(at[chosen], None if embeddings is None else embeddings[chosen])
        slide.write_s += time.perf_counter() - began

    def _finished(self, touched: list[str]) -> list[FinishedSlide]:
        done = []
        for key in dict.fromkeys(touched):
            slide = self.slides[key]
            if slide.writer.complete:
                del self.slides[key]
                fragments = slide.writer.finish()
                done.append(
                    FinishedSlide(
                        key=key,
                        fragments=fragments,
                        stored=slide.stored,
                        extract_s=slide.extract_s,
                        write_s=slide.write_s,
                    )
                )
        return done
