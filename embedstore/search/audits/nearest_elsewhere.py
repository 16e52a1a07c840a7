"""The nearest tiles of many tiles at once, each among the tiles of other slides."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.search.parallel import parallel_map
from embedstore.search.tile_sample import TileSample, directions
from embedstore.store import Collection, TileLocation, nearest_tiles
from embedstore.store.index import index_facts
from embedstore.store.sql import sql_in
from embedstore.store.vectors import matrix

#: Similarities held at once: 80 MB.
_SIMILARITIES = 20_000_000

COLUMNS = TileLocation._fields


def nearest_elsewhere(
    collection: Collection,
    sample: TileSample,
    excluded_slides: Sequence[Sequence[str]],
    *,
    k: int,
    stage: str = "audit",
    on_progress: OnProgress = no_progress,
) -> list[pa.Table]:
    """The k nearest tiles of each tile of a sample, without itself and the tiles of some slides.

    With an index, each tile is a query. Without one, all are compared in one pass over the collection: 2,000 tiles with
    50,000 of 768 dimensions cost 3 CPU-s; as single queries they cost 60 ms each, 120 s.

    Args:
        excluded_slides: For each tile of the sample, the slides that are left out.
        stage: Name of the audit, for progress.
    Returns:
        For each tile, up to k rows with COLUMNS and `distance`, nearest first.
    """
    if not len(sample):
        return []

    def report(done: int) -> None:
        on_progress(Progress(stage=stage, done=done, total=len(sample), unit="tiles"))

    if not index_facts(collection).indexed:
        return _scan(collection, sample, excluded_slides, k, report)
    ids = sample.tiles["tile_id"].to_pylist()

    def search(i: int) -> pa.Table:
        where = elsewhere_sql(ids[i], excluded_slides[i])
        return nearest_tiles(collection, sample.vectors[i], k=k, where=where, columns=COLUMNS)

    nearest = []
    for table in parallel_map(search, range(len(ids))):
        nearest.append(table)
        report(len(nearest))
    return nearest


def elsewhere_sql(tile_id: int, slides: Sequence[str]) -> str:
    """A condition for all tiles except one tile and the tiles of some slides."""
    return f"tile_id != {tile_id}" + (f" AND NOT {sql_in('slide_id', slides)}" if slides else "")


def _scan(
    collection: Collection,
    sample: TileSample,
    excluded_slides: Sequence[Sequence[str]],
    k: int,
    report: Callable[[int], None],
) -> list[pa.Table]:
    """Compare the sample with every vector, batch by batch, and keep the k nearest so far."""
    dataset = collection.dataset()
    rows, n = dataset.count_rows(), len(sample)
    sample_rows_without: dict[str, list[int]] = {}
    for i, slides in enumerate(excluded_slides):
        for slide in slides:
            sample_rows_without.setdefault(slide, []).append(i)
    best, row = np.full((n, k), -np.inf, np.float32), np.zeros((n, k), np.int64)
    done = 0
    for batch in dataset.to_batches(columns=["tile_id", "slide_id", "vector"], batch_size=max(1, _SIMILARITIES // n)):
        vectors, finite = directions(matrix(batch.column("vector"), collection.dim))
        similarity = np.full((n, len(finite)), -np.inf, np.float32)
        similarity[:, finite] = sample.vectors @ vectors.T
        for first, last, slide in _runs(batch.column("slide_id").to_pylist()):
            similarity[sample_rows_without.get(slide, []), first:last] = -np.inf
        similarity[sample.tiles["tile_id"].to_numpy()[:, None] == batch.column("tile_id").to_numpy()] = -np.inf
        candidates = np.concatenate([best, similarity], axis=1)
        kept = np.argpartition(-candidates, k - 1, axis=1)[:, :k]
        best = np.take_along_axis(candidates, kept, axis=1)
        batch_rows = np.broadcast_to(np.arange(done, done + len(finite)), similarity.shape)
        row = np.take_along_axis(np.concatenate([row, batch_rows], axis=1), kept, axis=1)
        done += len(finite)
        report(n * done // rows)
    order = np.argsort(-best, axis=1, kind="stable")
    return _tables(collection, np.take_along_axis(row, order, axis=1), 1 - np.take_along_axis(best, order, axis=1))


def _runs(names: list[str]) -> Iterator[tuple[int, int, str]]:
    """First row, row after the last, and name of each run of rows of one slide."""
    starts = [i for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
    for first, last in zip(starts, [*starts[1:], len(names)], strict=True):
        yield first, last, names[first]


def _tables(collection: Collection, row: NDArray[np.int64], distance: NDArray[np.float32]) -> list[pa.Table]:
    """A table for each line of row numbers (n, k) and distances, without infinite distances."""
    valid = np.isfinite(distance)
    rows, at = np.unique(row[valid], return_inverse=True)
    tiles = collection.dataset().take(rows.tolist(), columns=list(COLUMNS))
    tables, start = [], 0
    for line, line_valid in zip(distance, valid, strict=True):
        end = start + int(line_valid.sum())
        tables.append(tiles.take(at[start:end]).append_column("distance", pa.array(line[line_valid])))
        start = end
    return tables
