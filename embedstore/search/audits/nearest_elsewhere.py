"""The nearest tiles of many tiles at once, each among the tiles of other slides."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.search.parallel import ask_many
from embedstore.search.tile_sample import TileSample, directions
from embedstore.store import Collection, nearest_tiles
from embedstore.store.index import index_facts
from embedstore.store.table import sql_in
from embedstore.store.vectors import matrix

#: Similarities held at once: 80 MB.
_SIMILARITIES = 20_000_000
COLUMNS = ("tile_id", "slide_id", "x", "y", "name")


def nearest_elsewhere(
    collection: Collection,
    sample: TileSample,
    away_from: Sequence[Sequence[str]],
    *,
    k: int,
    tell: Callable[[int], None] | None = None,
) -> list[pa.Table]:
    """The k nearest tiles of each tile of a sample, but itself and those of some slides.

    With an index, each tile asks it. Without one, all are compared in one pass over the collection: 2,000 tiles with
    50,000 of 768 dimensions cost 3 CPU-s; asked one by one they cost 60 ms each, 120 s.

    Args:
        away_from: Of each tile of the sample, the slides that are passed over.
        tell: Called with the number of tiles of the sample that are done.
    Returns:
        Of each tile, up to k rows with COLUMNS and `distance`, nearest first.
    """
    if not len(sample):
        return []
    if not index_facts(collection).indexed:
        return _scan(collection, sample, away_from, k, tell)
    ids = sample.tiles["tile_id"].to_pylist()

    def ask(i: int) -> pa.Table:
        where = elsewhere_sql(ids[i], away_from[i])
        return nearest_tiles(collection, sample.vectors[i], k=k, where=where, columns=COLUMNS)

    return ask_many(ask, range(len(ids)), tell=tell)


def elsewhere_sql(tile_id: int, slides: Sequence[str]) -> str:
    """All tiles but one, and but those of some slides."""
    return f"tile_id != {tile_id}" + (f" AND NOT {sql_in('slide_id', slides)}" if slides else "")


def _scan(
    collection: Collection,
    sample: TileSample,
    away_from: Sequence[Sequence[str]],
    k: int,
    tell: Callable[[int], None] | None,
) -> list[pa.Table]:
    dataset = collection.dataset()
    rows, n = dataset.count_rows(), len(sample)
    blocked: dict[str, list[int]] = {}
    for i, slides in enumerate(away_from):
        for slide in slides:
            blocked.setdefault(slide, []).append(i)
    best, row = np.full((n, k), -np.inf, np.float32), np.zeros((n, k), np.int64)
    done = 0
    for batch in dataset.to_batches(columns=["tile_id", "slide_id", "vector"], batch_size=max(1, _SIMILARITIES // n)):
        vectors, whole = directions(matrix(batch.column("vector"), collection.dim))
        similar = np.full((n, len(whole)), -np.inf, np.float32)
        similar[:, whole] = sample.vectors @ vectors.T
        for first, last, slide in _runs(batch.column("slide_id").to_pylist()):
            similar[blocked.get(slide, []), first:last] = -np.inf
        similar[sample.tiles["tile_id"].to_numpy()[:, None] == batch.column("tile_id").to_numpy()] = -np.inf
        both = np.concatenate([best, similar], axis=1)
        kept = np.argpartition(-both, k - 1, axis=1)[:, :k]
        best = np.take_along_axis(both, kept, axis=1)
        there = np.broadcast_to(np.arange(done, done + len(whole)), similar.shape)
        row = np.take_along_axis(np.concatenate([row, there], axis=1), kept, axis=1)
        done += len(whole)
        if tell is not None:
            tell(n * done // rows)
    order = np.argsort(-best, axis=1, kind="stable")
    return _tables(dataset, np.take_along_axis(row, order, axis=1), 1 - np.take_along_axis(best, order, axis=1))


def _runs(names: list[str]) -> Iterator[tuple[int, int, str]]:
    """Where rows of one slide begin and end, and its name."""
    starts = [i for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
    for first, last in zip(starts, [*starts[1:], len(names)], strict=True):
        yield first, last, names[first]


def _tables(dataset: Any, row: NDArray[np.int64], distance: NDArray[np.float32]) -> list[pa.Table]:
    """A table for each line of positions (n, k) and distances, without those that are infinite."""
    found = np.isfinite(distance)
    wanted, at = np.unique(row[found], return_inverse=True)
    tiles = dataset.take(wanted.tolist(), columns=list(COLUMNS))
    ends = np.cumsum(found.sum(axis=1))
    return [
        tiles.take(at[end - len(away) : end]).append_column("distance", pa.array(away))
        for end, away in zip(
            ends.tolist(), (line[there] for line, there in zip(distance, found, strict=True)), strict=True
        )
    ]
