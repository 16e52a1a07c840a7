"""Searching while slides come and go: errors, slides that are seen in part, and slides that go away."""

import os
import queue
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from measure import write_row
from search_data import COLLECTION, Mixture, slide_writer

from embedstore.search_config import IndexConfig
from embedstore.store import Collection, CollectionRecord, CollectionWriter, Store, nearest_tiles
from embedstore.store.index import choose_index, keep_index
from embedstore.store.sql import sql_string

THREADS, PROCESSES = 8, 2
#: After every so many slides one is replaced, one is taken out again, and the index is kept up.
REPLACED, REMOVED, KEPT_UP = 3, 5, 4


@dataclass
class Seen:
    """What one reader met with.

    Attributes:
        queries: Searches that it made.
        errors: Messages, with how often.
        partial: Searches within a slide that found neither all of its tiles nor none.
        vanished: Slides that were seen and then not, though nobody took them out.
        took_ms: Of each search through the index.
    """

    queries: int = 0
    partial: int = 0
    vanished: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    took_ms: list[float] = field(default_factory=list)


def name_of(number: int) -> str:
    return f"slide-{number:05d}.svs"


def removed(number: int) -> bool:
    """Whether a slide is taken out at some time."""
    return number % REMOVED == 0


def concurrent(folder: Path, slides: int, tiles: int, dim: int) -> None:
    """Half of the slides are there and indexed at the start; the others are committed while readers ask."""
    store = Store.create(folder / "concurrent")
    record: dict[str, Any] = {"tiling": {}, "tissue": {}, "extractor": {"name": "synthetic", "dim": dim, "digest": "0"}}
    collection = Collection.create(store.uri, COLLECTION, CollectionRecord.from_record(record))
    mixture, rng = Mixture(dim), np.random.default_rng(3)
    with store.lease(COLLECTION):
        writer = CollectionWriter(collection)
        for number in range(slides // 2):
            writer.commit([_slide(collection, mixture, rng, number, tiles)])
        choose_index(collection, IndexConfig(kind="ivf_rq"))
        calm = Seen()
        _read(store.uri, dim, slides // 2, tiles, 0, time.monotonic() + 5, calm)
        context = get_context("spawn")
        stop, results = context.Event(), context.Queue()
        readers = [
            context.Process(target=_process, args=(store.uri, dim, slides, tiles, number, stop, results), daemon=True)
            for number in range(PROCESSES)
        ]
        seen = [Seen() for _ in range(THREADS)]
        shared = Collection(store.uri, COLLECTION)
        threads = [
            threading.Thread(target=_read, args=(store.uri, dim, slides, tiles, 10 + i, stop, one, shared))
            for i, one in enumerate(seen)
        ]
        for each in (*readers, *threads):
            each.start()
        began = time.monotonic()
        try:
            commits = _write(collection, writer, mixture, rng, slides, tiles)
        finally:
            stop.set()
        wrote_s = time.monotonic() - began
        for each in threads:
            each.join()
        seen += _gather(results, readers)
    took = np.concatenate([one.took_ms for one in seen])
    errors: Counter[str] = sum((one.errors for one in seen), Counter())
    row = {
        "load_1m": round(os.getloadavg()[0], 1),
        "slides": slides,
        "tiles": tiles,
        "dim": dim,
        "threads": THREADS,
        "processes": PROCESSES,
        "commits": commits,
        "wrote_s": round(wrote_s, 1),
        "queries": sum(one.queries for one in seen),
        "errors": sum(errors.values()),
        "partial_slides": sum(one.partial for one in seen),
        "vanished_slides": sum(one.vanished for one in seen),
        "alone_p50_ms": round(float(np.median(calm.took_ms)), 2),
        "p50_ms": round(float(np.median(took)), 2),
        "p99_ms": round(float(np.percentile(took, 99)), 2),
        "first_error": next(iter(errors), ""),
    }
    write_row("search_concurrent", row)


def _slide(collection: Collection, mixture: Mixture, rng: np.random.Generator, number: int, tiles: int) -> Any:
    made = slide_writer(collection, name_of(number), tiles)
    made.put(np.arange(tiles), mixture.draw(tiles, rng))
    return made.finish()


def _write(
    collection: Collection,
    writer: CollectionWriter,
    mixture: Mixture,
    rng: np.random.Generator,
    slides: int,
    tiles: int,
) -> int:
    """Commit the second half of the slides; replace, remove, keep the index up and compact between them."""
    commits = 0
    for number in range(slides // 2, slides):
        writer.commit([_slide(collection, mixture, rng, number, tiles)])
        commits += 1
        if number % REPLACED == 0:
            old = number - slides // 2
            writer.commit([_slide(collection, mixture, rng, old, tiles)], replacing=frozenset((name_of(old),)))
            commits += 1
        if removed(number):
            writer.remove([name_of(number)])
        if number % KEPT_UP == 0:
            keep_index(collection, busy=True)
    writer.compact(keep_s=3600)
    keep_index(collection)
    return commits


def _read(
    uri: str, dim: int, slides: int, tiles: int, seed: int, stop: Any, seen: Seen, shared: Collection | None = None
) -> None:
    """Ask in turn for the nearest of all tiles, and for all tiles of a slide, until told to stop or a time has come."""
    collection = shared or Collection(uri, COLLECTION)
    mixture, rng = Mixture(dim), np.random.default_rng(100 + seed)
    questions = mixture.draw(64, rng).astype(np.float32)
    met: set[int] = set()
    while time.monotonic() < stop if isinstance(stop, float) else not stop.is_set():
        question = questions[seen.queries % len(questions)]
        number = int(rng.integers(slides))
        try:
            began = time.perf_counter()
            nearest_tiles(collection, question, k=10)
            seen.took_ms.append((time.perf_counter() - began) * 1e3)
            where = f"slide_id = {sql_string(name_of(number))}"
            found = len(nearest_tiles(collection, question, k=tiles + 1, where=where))
        except Exception as error:
            seen.errors[f"{type(error).__name__}: {error}"[:200]] += 1
            continue
        seen.queries += 2
        seen.partial += found not in (0, tiles)
        seen.vanished += found == 0 and number in met and not removed(number)
        if found:
            met.add(number)


def _process(uri: str, dim: int, slides: int, tiles: int, number: int, stop: Any, results: Any) -> None:
    seen = Seen()
    _read(uri, dim, slides, tiles, number, stop, seen)
    results.put(seen)


def _gather(results: Any, readers: list[Any]) -> list[Seen]:
    found = []
    for _ in readers:
        try:
            found.append(results.get(timeout=120))
        except queue.Empty:
            found.append(Seen(errors=Counter(["a reading process died"])))
    for each in readers:
        each.join()
    return found
