"""The reader: plans slides and reads their tiles, on a CPU core of its own."""

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from embedstore.config import IngestConfig, ViewConfig
from embedstore.errors import EmbedStoreError, UnknownKeyError
from embedstore.slides import (
    SlidePlan,
    SlideSource,
    TileReader,
    discard_copy,
    fetch_ahead,
    limit_slide_cache,
    plan_slide,
    single_thread,
)
from embedstore.tile_id import tile_ids, tile_keys
from embedstore.views import draw_parameters
from embedstore.views.apply import with_views


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunk:
    """A range of tiles that was read; its pixels are a separate result.

    Attributes:
        key: The slide and the attempt that they belong to.
        start: Position of the first tile in the plan.
        readable: (n,) bool.
        read_s: Time it took, seconds.
        error: Why the first unreadable tile of the slide could not be read.
        unreadable: The first few tiles of the range that could not be read: name, or level-0 corner.
    """

    key: str
    start: int
    readable: NDArray[np.bool_]
    read_s: float
    error: str | None = None
    unreadable: tuple[str, ...] = ()


#: Unreadable tiles that are named of a slide.
NAMED = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class PlannedSlide:
    """A slide's plan, and how long it took to make, seconds."""

    plan: SlidePlan
    plan_s: float


class Reader:
    """Plans slides and reads ranges of their tiles.

    It keeps slides open between `open` and `close`, and holds no more than one chunk of their pixels.
    """

    def __init__(self, config: IngestConfig, *, slide_cache_gb: float | None = None) -> None:
        single_thread()
        if slide_cache_gb is not None:
            limit_slide_cache(slide_cache_gb, wait_s=0.0)  # the run goes on with others meanwhile
        self._config = config
        self._open: dict[str, _OpenSlide] = {}

    def ping(self) -> None:
        """Return, to show that the worker is alive."""

    def plan(self, source: SlideSource, ahead: SlideSource | None = None) -> PlannedSlide:
        """Find a slide's tissue and lay its grid of tiles; fetch another one meanwhile that will be asked for next."""
        began = time.perf_counter()
        config = self._config
        try:
            plan = plan_slide(source, tiling=config.tiling, tissue=config.tissue, reading=config.reading)
        except EmbedStoreError:
            discard_copy(source.path)
            raise
        finally:
            if ahead is not None:
                fetch_ahead(ahead.path, kind=ahead.kind)
        return PlannedSlide(plan=plan, plan_s=time.perf_counter() - began)

    def open(self, key: str, planned: PlannedSlide) -> None:
        """Open a slide for reading, under the key of this attempt."""
        self._open[key] = _OpenSlide(TileReader(planned.plan, self._config.tiling), planned.plan)

    def read(self, key: str, start: int, stop: int) -> tuple[Chunk, NDArray[np.uint8]]:
        """Read tiles `start` to `stop` of a slide that was opened.

        Returns:
            What was read, and the pixels, (n, tile_px, tile_px, 3) uint8; with views (n, 1 + views, …), the tile first.
        """
        began = time.perf_counter()
        if key not in self._open:
            raise UnknownKeyError(f"this reader has not opened {key!r}")
        slide = self._open[key]
        pixels, readable = slide.reader.read(start, stop)
        if self._config.views is not None:
            pixels = with_views(pixels, slide.parameters(start, stop, self._config.views))
        chunk = Chunk(
            key=key,
            start=start,
            readable=readable,
            read_s=time.perf_counter() - began,
            error=slide.reader.first_error,
            unreadable=name_unreadable(slide.plan, start, readable),
        )
        return chunk, pixels

    def close(self, key: str) -> None:
        """Close a slide, if it is open; what was fetched of it is deleted when its last reader closes it."""
        slide = self._open.pop(key, None)
        if slide is not None:
            slide.reader.close()
            discard_copy(slide.plan.source.path)


@dataclass(frozen=True, eq=False)
class _OpenSlide:
    """An open slide and its plan."""

    reader: TileReader
    plan: SlidePlan

    def parameters(self, start: int, stop: int, config: ViewConfig) -> NDArray[np.float32]:
        """Parameters of the views of some of its tiles, (n, views, parameters)."""
        plan = self.plan
        names = None if plan.names is None else plan.names[start:stop]
        return draw_parameters(tile_ids(plan.slide_id, tile_keys(plan.xy_l0[start:stop], names)), config)


def name_unreadable(plan: SlidePlan, start: int, readable: NDArray[np.bool_]) -> tuple[str, ...]:
    """The first few tiles of a range that could not be read: their names, or their level-0 corners."""
    tiles = (start + np.flatnonzero(~readable)[:NAMED]).tolist()
    return tuple(str(tuple(plan.xy_l0[tile].tolist())) if plan.names is None else plan.names[tile] for tile in tiles)


def without_arrays(plan: SlidePlan) -> SlidePlan:
    """The plan without its tiles: the part that a run keeps for its records."""
    return replace(plan, xy_l0=plan.xy_l0[:0], tissue=None, names=None, labels=(), edges_l0=None)
