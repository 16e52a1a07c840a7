"""The estimated cost of an ingest: every slide is planned, and the extractors are timed on a few tiles."""

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from actors.jobs import SlideJob, pending_slides
from actors.request import IngestRequest, TilingGroup
from actors.worker_group import readers_beside
from embedstore.config import IngestConfig
from embedstore.cores import cores
from embedstore.errors import NoTileError
from embedstore.extractors import Extractor, load_extractor
from embedstore.slides import SlidePlan, SlideSource, SourceSummary, TileReader, discard_copy, plan_slide, single_thread
from embedstore.store import Store
from embedstore.views import draw_parameters
from embedstore.views.apply import with_views

log = logging.getLogger(__name__)

#: Columns of a tile's row beside its vector, bytes; and of a view's, with its parameters.
ROW_BYTES, VIEW_BYTES = 32, 76
#: Tiles that are read and embedded to learn the speed of this machine.
SAMPLE_TILES = 64


@dataclass(frozen=True, kw_only=True)
class PassEstimate:
    """One pass over the pixels, for the extractors that share a tiling.

    Attributes:
        slides: Slides that it would embed.
        slides_done, slides_failed_earlier: Slides that it would skip.
        views: Rows of views, in one collection.
        tiles_per_s: On this machine.
        bytes: Size of the new rows, in all collections.
    """

    collections: tuple[str, ...]
    slides: int
    slides_done: int
    slides_failed_earlier: int
    tiles: int
    views: int
    tiles_per_s: float
    hours: float
    bytes: int


@dataclass(frozen=True, kw_only=True)
class UnfitSlide:
    """A slide that would fail, or has no tile, and why."""

    slide_id: str
    state: Literal["empty", "fails"]
    reason: str


@dataclass(frozen=True, kw_only=True)
class SlideWarning:
    """A warning about a slide that would be embedded."""

    slide_id: str
    warning: str


@dataclass(frozen=True, kw_only=True)
class IngestEstimate:
    """What an ingest would do and cost on this machine.

    Attributes:
        understood: What the paths given were understood as.
        passes: The cost, for each tiling.
        unfit: Slides that would fail or have no tile.
        warned: What is improbable about the others.
    """

    understood: SourceSummary = field(default_factory=SourceSummary)
    passes: list[PassEstimate] = field(default_factory=list)
    unfit: list[UnfitSlide] = field(default_factory=list)
    warned: list[SlideWarning] = field(default_factory=list)

    def as_record(self) -> dict[str, Any]:
        """As plain JSON values."""
        record = asdict(self)
        for estimate in record["passes"]:
            estimate["collections"] = ", ".join(estimate["collections"])
        return record


def estimate(request: IngestRequest) -> IngestEstimate:
    """Plan every slide that `ingest` would embed, and time the extractors; nothing is written."""
    result = IngestEstimate(understood=request.understood)
    for group in request.groups:
        _estimate_group(request, group, result)
    return result


def _estimate_group(request: IngestRequest, group: TilingGroup, result: IngestEstimate) -> None:
    """Add the estimate for the extractors of one tiling."""
    config = request.config_for(group)
    pending = pending_slides(request, group, Store(request.store_uri))
    planned, unfit, largest = _plan_all([job.source for job in pending.jobs], config)
    extractors = [load_extractor(target.extractor, device=request.execution.device) for target in group.targets]
    tiles_per_s = _tiles_per_s(largest, extractors, config, request) if largest is not None else 0.0
    vector_bytes = {name: 2 * extractor.dim for name, extractor in zip(group.collections, extractors, strict=True)}
    views = config.views.count if config.views is not None else 0
    jobs = {job.slide_id: job for job in pending.jobs}
    tiles = sum(slide.tiles for slide in planned)
    result.passes.append(
        PassEstimate(
            collections=group.collections,
            slides=len(planned),
            slides_done=pending.already,
            slides_failed_earlier=len(pending.left_failed),
            tiles=tiles,
            views=tiles * views,
            tiles_per_s=tiles_per_s,
            hours=tiles / tiles_per_s / 3600 if tiles_per_s else 0.0,
            bytes=sum(slide.tiles * _tile_bytes(jobs[slide.slide_id], vector_bytes, views) for slide in planned),
        )
    )
    result.unfit.extend(slide for slide in unfit if slide not in result.unfit)
    warnings = [SlideWarning(slide_id=slide.slide_id, warning=text) for slide in planned for text in slide.warnings]
    result.warned.extend(warning for warning in warnings if warning not in result.warned)


def _tile_bytes(job: SlideJob, vector_bytes: dict[str, int], views: int) -> int:
    """Size of the rows that a tile of a slide adds, in all collections that lack the tile or its views."""
    return sum(
        (name not in job.views_only) * (vector_bytes[name] + ROW_BYTES) + views * (vector_bytes[name] + VIEW_BYTES)
        for name in job.collections
    )


@dataclass(frozen=True, kw_only=True)
class _PlannedSlide:
    """The part of a plan that is kept: the arrays of 20,000 slides would take gigabytes."""

    slide_id: str
    tiles: int
    warnings: tuple[str, ...]


def _plan_all(
    sources: Sequence[SlideSource], config: IngestConfig
) -> tuple[list[_PlannedSlide], list[UnfitSlide], SlidePlan | None]:
    """Slides that have tiles, slides that have none, and the whole plan of the largest."""
    single_thread()
    largest: SlidePlan | None = None
    lock = threading.Lock()

    def plan_one(source: SlideSource) -> _PlannedSlide | UnfitSlide:
        nonlocal largest
        try:
            plan = plan_slide(source, tiling=config.tiling, tissue=config.tissue, reading=config.reading)
        except Exception as error:  # as in a run, any error fails this slide only
            state: Literal["empty", "fails"] = "empty" if isinstance(error, NoTileError) else "fails"
            return UnfitSlide(slide_id=source.slide_id, state=state, reason=str(error))
        finally:
            discard_copy(source.path)
        with lock:
            if largest is None or len(plan) > len(largest):
                largest = plan
        return _PlannedSlide(slide_id=plan.slide_id, tiles=len(plan), warnings=plan.warnings)

    with ThreadPoolExecutor(cores()) as threads:
        results = list(threads.map(plan_one, sources))
    planned = [result for result in results if isinstance(result, _PlannedSlide)]
    return planned, [result for result in results if isinstance(result, UnfitSlide)], largest


def _tiles_per_s(
    plan: SlidePlan, extractors: Sequence[Extractor], config: IngestConfig, request: IngestRequest
) -> float:
    """Tiles per second of the slower of reading (on all cores but one) and extracting."""
    reader = TileReader(plan, config.tiling)
    n = min(SAMPLE_TILES, len(plan))
    began = time.perf_counter()
    pixels, _ = reader.read(0, n)
    if config.views is not None:
        pixels = with_views(pixels, draw_parameters(np.arange(n), config.views)).reshape(-1, *pixels.shape[1:])
    read_s = (time.perf_counter() - began) / n
    reader.close()
    copies = len(pixels) // n
    pixels = np.resize(pixels, (request.run.batch_tiles or extractors[0].batch_tiles, *pixels.shape[1:]))
    extract_s = 0.0
    for extractor in extractors:
        extractor.embed(pixels)  # the first pass of a network also sets it up
        began = time.perf_counter()
        extractor.embed(pixels)
        extract_s += copies * (time.perf_counter() - began) / len(pixels)
    readers = request.run.readers or readers_beside(cores())
    return 1 / max(read_s / readers, extract_s)
