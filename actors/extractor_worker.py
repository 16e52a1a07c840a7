"""The extractor worker: the networks of a tiling group on one device, and the fragments they fill."""

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
from embedstore.errors import UnknownKeyError
from embedstore.extractors import BatchStream, load_extractor
from embedstore.extractors.torch_runtime import set_threads
from embedstore.store import Collection, FragmentWriter, SlideFragments, ViewRows, Views
from embedstore.store.sql import sql_string


@dataclass(frozen=True, kw_only=True)
class FinishedSlide:
    """A slide's last tile has been embedded for a collection.

    Attributes:
        fragments: What was written; without rows when not one tile was readable.
        stored_tiles: Tiles that the collection had before, where only views were wanted.
        extract_s: The slide's share of the time in the network, seconds.
        write_s: Time spent writing its fragments, seconds.
    """

    key: str
    fragments: SlideFragments
    stored_tiles: int
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
        """Answer: the worker lives."""

    def records(self) -> list[dict[str, Any]]:
        """The record of each network, in the order of the targets, to be stored with its collection."""
        return [branch.extractor.record() for branch in self._branches]

    def open(
        self, key: str, slide_id: str, planned: PlannedSlide, collections: Sequence[str], views_only: Sequence[str] = ()
    ) -> None:
        """Get ready for a slide's tiles, for the collections that lack it, or only its views.

        Raises:
            SlideError: views are wanted of other tiles than the collection has.
        """
        for branch in self._branches:
            if (name := branch.collection.name) in collections:
                branch.open(key, slide_id, planned, tiles=name not in views_only)

    def feed(self, chunk: Chunk, pixels: NDArray[np.uint8]) -> list[FinishedSlide]:
        """Embed tiles as soon as they fill a batch.

        Returns:
            The slides that this finished.
        """
        branches = [branch for branch in self._branches if chunk.key in branch.slides]
        if not branches:
            raise UnknownKeyError(f"this extractor has not opened {chunk.key!r}")
        return [finished for branch in branches for finished in branch.feed(chunk, pixels)]

    def flush(self) -> list[FinishedSlide]:
        """Embed what is left in half-filled batches."""
        return [finished for branch in self._branches for finished in branch.flush()]

    def drop(self, key: str) -> None:
        """Forget a slide; fragments already written stay behind as leftovers for `compact`."""
        for branch in self._branches:
            branch.slides.pop(key, None)


@dataclass(kw_only=True, eq=False)
class _Slide:
    """A slide on its way.

    Attributes:
        first_copy: 1 where only its views are wanted, else 0, the tile itself.
        stored_tiles: Tiles that the collection has of it.
    """

    writer: FragmentWriter
    first_copy: int
    stored_tiles: int
    extract_s: float = 0.0
    write_s: float = 0.0


@dataclass(kw_only=True, eq=False)
class _Waiting:
    """Tiles and views of one chunk that are in the stream, in the order in which they went in.

    Attributes:
        copies: A tile's position in the plan times 1 + views, plus 0 for the tile itself or its view's number.
        taken: How many of them have come out.
    """

    key: str
    copies: NDArray[np.int64]
    taken: int = 0


class _Branch:
    """One network, its stream of batches, and the slides that are on their way through it."""

    def __init__(
        self, store_uri: str, target: Target, device: str, batch_tiles: int | None, views: ViewConfig | None
    ) -> None:
        self.collection = Collection(store_uri, target.collection)
        self._view_table, self._view_config = Views(store_uri, target.collection), views
        self._copies = 1 + (views.count if views is not None else 0)
        self.extractor = load_extractor(target.extractor, device=device)
        self._stream = BatchStream(self.extractor, batch_tiles)
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

    def feed(self, chunk: Chunk, pixels: NDArray[np.uint8]) -> list[FinishedSlide]:
        rows, first = chunk.start + np.arange(len(chunk.readable)), self.slides[chunk.key].first_copy
        copies = rows[:, None] * self._copies + np.arange(first, self._copies)
        readable, lost = copies[chunk.readable].ravel(), copies[~chunk.readable].ravel()
        touched: list[str] = []
        if len(lost):
            self._put(chunk.key, lost, None)
            touched.append(chunk.key)
        if len(readable):
            self._waiting.append(_Waiting(key=chunk.key, copies=readable))
            pixels = pixels if not len(lost) else pixels[chunk.readable]
            if self._view_config is not None:
                pixels = pixels[:, first:].reshape(-1, *pixels.shape[2:])
            began = time.perf_counter()
            embeddings = self._stream.push(pixels)
            touched += self._hand_out(embeddings, time.perf_counter() - began)
        return self._finished(touched)

    def flush(self) -> list[FinishedSlide]:
        began = time.perf_counter()
        embeddings = self._stream.flush()
        return self._finished(self._hand_out(embeddings, time.perf_counter() - began))

    def _hand_out(self, embeddings: NDArray[np.float16], took_s: float) -> list[str]:
        """Give embeddings to the slides of their tiles: the stream returns them in the order in which they went in.

        Returns:
            Keys of these slides.
        """
        touched: list[str] = []
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

    def _put(self, key: str, copies: NDArray[np.int64], embeddings: NDArray[np.float16] | None) -> None:
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

    def _finished(self, touched: Sequence[str]) -> list[FinishedSlide]:
        """Those of some slides whose every row is written; they are forgotten here."""
        finished = []
        for key in dict.fromkeys(touched):
            slide = self.slides[key]
            if slide.writer.complete:
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
