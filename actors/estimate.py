"""What an ingest would cost, found by planning every slide and timing the networks on a few of its tiles."""

import logging
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from actors.ingest import TilingGroup, jobs_of, present_in, views_in
from actors.jobs import SlideJob
from embedstore.config import IngestConfig, RunConfig
from embedstore.errors import NoTileError
from embedstore.extractors import load_extractor
from embedstore.slides import SlidePlan, SlideSource, TileReader, plan_slide, single_thread
from embedstore.store import Store
from embedstore.views import draw_parameters, with_views

log = logging.getLogger(__name__)

#: Columns of a tile's row beside its vector, bytes; and of a view's, with its parameters.
ROW_BYTES, VIEW_BYTES = 32, 76
#: Tiles that are read and embedded to learn the speed of this machine.
SAMPLE_TILES = 64


def estimate(
    sources: Sequence[SlideSource],
    store_uri: str,
    groups: Sequence[TilingGroup],
    *,
    config: IngestConfig,
    run: RunConfig,
    device: str,
    retry_failed: bool = False,
    force: Sequence[str] = (),
    limit: int | None = None,
) -> dict[str, Any]:
    """Plan every slide that the run would take up, write nothing, and say what it would take here.

    Arguments as in `ingest`.

    Returns:
        `passes`: for each tiling its collections, slides, tiles, views (rows of one collection), tiles/s, hours and
        bytes of vectors; `unfit`: slides that would fail or have no tile, and why; `warned`: warnings on the others.
    """
    found: dict[str, Any] = {"passes": [], "unfit": [], "warned": []}
    store = Store(store_uri)
    count = config.views.count if config.views is not None else 0
    for plan in groups:
        views = views_in(store, plan) if config.views else None
        jobs, already, left = jobs_of(
            sources, store, plan, present_in(store, plan), views, retry_failed, frozenset(force)
        )
        todo = {job.slide_id: job for job in jobs[:limit]}
        tiling_config = replace(config, tiling=plan.tiling)
        planned, largest, unfit = _plan_all([job.source for job in todo.values()], tiling_config)
        rate, dims = _speed(largest, plan, tiling_config, run, device)
        tiles = sum(one.tiles for one in planned)
        found["passes"].append(
            {
                "collections": ", ".join(plan.collections),
                "slides": len(planned),
                "slides_done": already,
                "slides_failed_earlier": len(left),
                "tiles": tiles,
                "views": tiles * count,
                "tiles_per_s": rate,
                "hours": tiles / rate / 3600 if rate else 0.0,
                "bytes": sum(one.tiles * _tile_bytes(todo[one.slide_id], plan, dims, count) for one in planned),
            }
        )
        found["unfit"] += [entry for entry in unfit if entry not in found["unfit"]]
        for one in planned:
            notes = [{"slide_id": one.slide_id, "warning": warning} for warning in one.warnings]
            found["warned"] += [note for note in notes if note not in found["warned"]]
    return found


def _tile_bytes(job: SlideJob, plan: TilingGroup, dims: Sequence[int], views: int) -> int:
    """Of the rows that a tile of a slide gets, in all collections that lack it or its views."""
    sizes = {
        name: (name not in job.views_only) * (2 * dim + ROW_BYTES) + views * (2 * dim + VIEW_BYTES)
        for name, dim in zip(plan.collections, dims, strict=True)
    }
    return sum(sizes[name] for name in job.wanted)


@dataclass(frozen=True, kw_only=True)
class _Planned:
    """What is kept of a plan: of 20,000 slides the arrays would take gigabytes."""

    slide_id: str
    tiles: int
    warnings: tuple[str, ...]


def _plan_all(
    sources: Sequence[SlideSource], config: IngestConfig
) -> tuple[list[_Planned], SlidePlan | None, list[dict[str, str]]]:
    """Plans of the slides that have tiles, the largest of them whole, and why the others have none."""
    single_thread()
    largest: SlidePlan | None = None
    lock = threading.Lock()

    def plan(source: SlideSource) -> _Planned | dict[str, str]:
        nonlocal largest
        try:
            made = plan_slide(source, tiling=config.tiling, tissue=config.tissue, reading=config.reading)
        except Exception as error:  # as in the run, whatever it is costs this slide
            state = "empty" if isinstance(error, NoTileError) else "fails"
            return {"slide_id": source.slide_id, "state": state, "reason": str(error)}
        with lock:
            if largest is None or len(made) > len(largest):
                largest = made
        return _Planned(slide_id=made.slide_id, tiles=len(made), warnings=made.warnings)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        results = list(threads.map(plan, sources))
    planned = [one for one in results if isinstance(one, _Planned)]
    return planned, largest, [one for one in results if isinstance(one, dict)]


def _speed(
    largest: SlidePlan | None, plan: TilingGroup, config: IngestConfig, run: RunConfig, device: str
) -> tuple[float, list[int]]:
    """Tiles per second of the slower of reading (on all cores but one) and extracting; and the embeddings' sizes."""
    copies = 1 + (config.views.count if config.views is not None else 0)
    extractors = [load_extractor(target.extractor, device=device) for target in plan.targets]
    dims = [extractor.dim for extractor in extractors]
    if largest is None:
        return 0.0, dims
    reader = TileReader(largest, config.tiling)
    n = min(SAMPLE_TILES, len(largest))
    began = time.perf_counter()
    pixels, _ = reader.read(0, n)
    if config.views is not None:
        pixels = with_views(pixels, draw_parameters(np.arange(n), config.views)).reshape(-1, *pixels.shape[1:])
    read_s = (time.perf_counter() - began) / n
    reader.close()
    pixels = np.resize(pixels, (run.batch_tiles or extractors[0].batch_tiles, *pixels.shape[1:]))
    extract_s = 0.0
    for extractor in extractors:
        extractor.embed(pixels)  # the first pass of a network also sets it up
        began = time.perf_counter()
        extractor.embed(pixels)
        extract_s += copies * (time.perf_counter() - began) / len(pixels)
    readers = run.readers or max(1, (os.cpu_count() or 1) - 1)
    return 1 / max(read_s / readers, extract_s), dims
