"""What an ingest would cost, found by planning every slide and timing the networks on a few of its tiles."""

import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from actors.ingest import Plan
from embedstore.config import IngestConfig, RunConfig
from embedstore.errors import NoTileError, SlideError
from embedstore.extractors import load_extractor
from embedstore.slides import SlidePlan, SlideSource, TileReader, plan_slide, single_thread
from embedstore.store import Store

log = logging.getLogger(__name__)

#: Columns of a row beside its vector, bytes.
ROW_BYTES = 32
#: Tiles that are read and embedded to learn the speed of this machine.
SAMPLE_TILES = 64


def estimate(
    sources: Sequence[SlideSource],
    store_uri: str,
    plans: Sequence[Plan],
    *,
    config: IngestConfig,
    run: RunConfig,
    device: str,
) -> dict[str, Any]:
    """Plan every slide that is not complete, write nothing, and say what the run would take here.

    Returns:
        `passes`: for each tiling its collections, slides, tiles, tiles/s, hours and bytes of vectors; `unfit`: slides
        that would fail or have no tile, and why; `warned`: warnings on the others.
    """
    found: dict[str, Any] = {"passes": [], "unfit": [], "warned": []}
    for plan in plans:
        done = _complete(store_uri, plan)
        todo = [source for source in sources if source.slide_id not in done]
        tiling_config = replace(config, tiling=plan.tiling)
        planned, unfit = _plan_all(todo, tiling_config)
        rate, dims = _speed(planned, plan, tiling_config, run, device)
        tiles = sum(len(one) for one in planned)
        found["passes"].append(
            {
                "collections": ", ".join(plan.collections),
                "slides": len(planned),
                "slides_done": len(sources) - len(todo),
                "tiles": tiles,
                "tiles_per_s": rate,
                "hours": tiles / rate / 3600 if rate else 0.0,
                "bytes": tiles * sum(2 * dim + ROW_BYTES for dim in dims),
            }
        )
        found["unfit"] += [entry for entry in unfit if entry not in found["unfit"]]
        for one in planned:
            notes = [{"slide_id": one.slide_id, "warning": warning} for warning in one.warnings]
            found["warned"] += [note for note in notes if note not in found["warned"]]
    return found


def _complete(store_uri: str, plan: Plan) -> set[str]:
    store = Store(store_uri)
    existing = set(store.collection_names())
    if not set(plan.collections) <= existing:
        return set()
    return set.intersection(*(set(store.collection(name).slides()) for name in plan.collections))


def _plan_all(sources: Sequence[SlideSource], config: IngestConfig) -> tuple[list[SlidePlan], list[dict[str, str]]]:
    single_thread()

    def plan(source: SlideSource) -> SlidePlan | dict[str, str]:
        try:
            return plan_slide(source, tiling=config.tiling, tissue=config.tissue, reading=config.reading)
        except SlideError as error:
            state = "empty" if isinstance(error, NoTileError) else "fails"
            return {"slide_id": source.slide_id, "state": state, "reason": str(error)}

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        results = list(threads.map(plan, sources))
    plans = [one for one in results if isinstance(one, SlidePlan)]
    return plans, [one for one in results if isinstance(one, dict)]


def _speed(
    planned: Sequence[SlidePlan], plan: Plan, config: IngestConfig, run: RunConfig, device: str
) -> tuple[float, list[int]]:
    """Tiles per second of the slower of reading (on all cores but one) and extracting; and the embeddings' sizes."""
    extractors = [load_extractor(target.extractor, device=device) for target in plan.targets]
    dims = [extractor.dim for extractor in extractors]
    if not planned:
        return 0.0, dims
    largest = max(planned, key=len)
    reader = TileReader(largest, config.tiling)
    n = min(SAMPLE_TILES, len(largest))
    began = time.perf_counter()
    pixels, _ = reader.read(0, n)
    read_s = (time.perf_counter() - began) / n
    reader.close()
    pixels = np.resize(pixels, (run.batch_tiles or extractors[0].batch_tiles, *pixels.shape[1:]))
    extract_s = 0.0
    for extractor in extractors:
        extractor.embed(pixels)  # the first pass of a network also sets it up
        began = time.perf_counter()
        extractor.embed(pixels)
        extract_s += (time.perf_counter() - began) / len(pixels)
    readers = run.readers or max(1, (os.cpu_count() or 1) - 1)
    return 1 / max(read_s / readers, extract_s), dims
