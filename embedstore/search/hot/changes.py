"""Brings a hot index to another version of its collection: new rows are added, rows that are gone are removed."""

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedstore.progress import Progress
from embedstore.search.hot.codes import Codes, training_rows, uses_flat_codes
from embedstore.search.hot.hot_index import Effort, HotIndex
from embedstore.search.hot.rows import GONE, HotRows, fragments, fragments_of, living_in, read_rows
from embedstore.store import Collection
from embedstore.store.hot_folder import HotFolder

#: Codes are trained anew once there are so many times the rows that they were trained for.
GROWTH = 1.5
#: All is made anew once so large a share of the rows was removed: their places take room.
REMOVED_SHARE = 0.2
BLOCK_ROWS = 16_384
#: Of the collection's own tiles, whose neighbours say how far codes are to be searched; and how many neighbours.
SAMPLED, NEIGHBOURS = 200, 10
#: Share of the neighbours that is to be found.
RECALL = 0.995
PROBES = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
CANDIDATES = (50, 100, 200, 400, 800, 1600, 3200)
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Work:
    """How a change is made.

    Attributes:
        threads: Of faiss.
        stopped: Whether the work is no longer wanted; asked again and again.
        report: Called with the progress.
    """

    threads: int
    stopped: Callable[[], bool]
    report: Callable[[Progress], None]

    def done(self, message: str, done: int, total: int) -> None:
        """Report a step, or raise CancelledError."""
        if self.stopped():
            raise CancelledError
        self.report(Progress(stage="warm", message=message, done=done, total=total, unit="tiles"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """A hot index at another version.

    Attributes:
        removed: (n,) rows that were removed, whose vectors are to be wiped when nobody reads the old index any more.
    """

    index: HotIndex
    removed: NDArray[np.int64]


def brought_to(index: HotIndex | None, collection: Collection, folder: HotFolder, work: Work) -> Change:
    """A hot index of a pinned collection, made from one of another version.

    A fragment of a Lance table never changes but for its deleted rows. So the fragments of the two versions say what
    differs. Where compaction wrote rows again, they are known by tile and vector: a slide that was embedded again has
    the same tiles with other vectors.

    Args:
        index: None to make it from nothing.
        folder: With the vectors of `index`.
    Raises:
        CancelledError: the work was no longer wanted.
        ConfigError: the disk has no room for the vectors.
    """
    now = fragments_of(collection)
    before = {} if index is None else index.fragments
    rows = HotRows.none() if index is None else index.rows
    same = {number for number in before if number in now and now[number][0] == before[number][0]}
    removed = _deleted(rows, collection, sorted(number for number in same if now[number] != before[number]))
    lost = np.flatnonzero((rows.address != GONE) & ~np.isin(rows.address >> 32, np.array(sorted(same), np.int64)))
    reader = _Reader(rows, lost, folder, work)
    reader.read(collection, [number for number in now if number not in same])
    removed = np.concatenate([removed, np.setdiff1d(lost, reader.found, assume_unique=True)])
    after = HotRows.joined(
        [rows.without(removed).moved(reader.found, reader.addresses), *reader.added]
    ).with_used_slides()
    vectors = folder.vectors(len(after), collection.dim)
    if index is not None and not _has_grown(index, after):
        coded_rows, effort = index.coded_rows, index.effort
        gone = removed[rows.norm[removed] > 0]
        new = np.arange(len(rows), len(after))
        added_vectors = _unit_blocks(after, vectors, new[after.norm[new] > 0], work, "reading new tiles")
        codes = index.codes.changed(removed=gone, added=added_vectors, threads=work.threads)
    else:
        coded_rows = after.living
        codes = _coded(after, vectors, work)
        effort = _effort(codes, after, vectors, work)
    after.prepare()
    made = HotIndex(
        version=collection.dataset().version, fragments=now, rows=after, vectors=vectors, codes=codes,
        coded_rows=coded_rows, effort=effort,
    )  # fmt: skip
    return Change(index=made, removed=removed)


def is_worn(index: HotIndex) -> bool:
    """Whether so many rows were removed that all should be made anew."""
    return len(index.rows) > 0 and index.rows.living < (1 - REMOVED_SHARE) * len(index.rows)


def _has_grown(index: HotIndex, after: HotRows) -> bool:
    if uses_flat_codes(after.living):
        return not uses_flat_codes(index.coded_rows)
    return after.living > GROWTH * index.coded_rows or uses_flat_codes(index.coded_rows)


def _deleted(rows: HotRows, collection: Collection, changed: list[int]) -> NDArray[np.int64]:
    """Rows of fragments that have other deleted rows than before, and are deleted now."""
    if not changed:
        return np.empty(0, np.int64)
    there = np.flatnonzero((rows.address != GONE) & np.isin(rows.address >> 32, np.array(changed, np.int64)))
    return np.setdiff1d(there, rows.at(living_in(collection, changed)), assume_unique=True)


class _Reader:
    """Reads fragments: rows that were known before and are written again, and rows that are new.

    Attributes:
        found, addresses: (n,) rows that were known, and where they are now.
        added: The new rows.
    """

    def __init__(self, rows: HotRows, lost: NDArray[np.int64], folder: HotFolder, work: Work):
        self._rows, self._folder, self._work, self._end = rows, folder, work, len(rows)
        self._lost = lost[np.argsort(rows.tile_id[lost], kind="stable")]
        self._found: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        self._addresses: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        self.added: list[HotRows] = []

    @property
    def found(self) -> NDArray[np.int64]:
        return np.concatenate(self._found)

    @property
    def addresses(self) -> NDArray[np.int64]:
        return np.concatenate(self._addresses)

    def read(self, collection: Collection, numbers: list[int]) -> None:
        if not numbers:
            return
        total = sum(each.metadata.num_rows for each in fragments(collection.dataset(), numbers))
        self._folder.require_room(total - len(self._lost), collection.dim)
        old = self._folder.vectors(len(self._rows), collection.dim)
        done, slides = 0, self._rows.slides
        for batch, vectors in read_rows(collection, numbers, slides):
            known = self._known(batch, vectors, old)
            new = np.flatnonzero(known < 0)
            self._found.append(known[known >= 0])
            self._addresses.append(batch.address[known >= 0])
            if len(new):
                self._folder.append(self._end, vectors[new])
                self._end += len(new)
                self.added.append(batch.some(new))
            done += len(batch)
            self._work.done("copying vectors", done, total)

    def _known(self, batch: HotRows, vectors: NDArray[np.float16], old: NDArray[np.float16]) -> NDArray[np.int64]:
        """(n,) the row that each of a batch had before, -1 where it had none."""
        known = np.full(len(batch), -1)
        if not len(self._lost):
            return known
        keys = self._rows.tile_id[self._lost]
        at = np.minimum(np.searchsorted(keys, batch.tile_id), len(keys) - 1)
        same = np.flatnonzero(keys[at] == batch.tile_id)
        rows = self._lost[at[same]]
        for name in ("slide", "x", "y", "edge_l0"):
            equal = getattr(self._rows, name)[rows] == getattr(batch, name)[same]
            same, rows = same[equal], rows[equal]
        equal = (old[rows].view(np.uint16) == vectors[same].view(np.uint16)).all(axis=1)
        equal &= self._rows.tissue[rows].view(np.uint32) == batch.tissue[same].view(np.uint32)
        known[same[equal]] = rows[equal]
        return known


# -- codes ----------------------------------------------------------------------------------


def _coded(rows: HotRows, vectors: NDArray[np.float16], work: Work) -> Codes:
    findable = np.flatnonzero(rows.findable)
    rng = np.random.default_rng(SEED)
    sample = np.sort(rng.choice(findable, training_rows(len(findable)), replace=False))

    def step() -> None:
        work.done("training codes", 0, len(findable))

    step()
    codes = Codes.trained(_unit(rows, vectors, sample), rows=len(findable), threads=work.threads, step=step)
    blocks = _unit_blocks(rows, vectors, findable, work, "coding vectors")
    return codes.changed(removed=findable[:0], added=blocks, threads=work.threads)


def _unit(rows: HotRows, vectors: NDArray[np.float16], chosen: NDArray[np.int64]) -> NDArray[np.float32]:
    return vectors[chosen].astype(np.float32) / rows.norm[chosen, None]


def _unit_blocks(
    rows: HotRows, vectors: NDArray[np.float16], chosen: NDArray[np.int64], work: Work, message: str
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    for start in range(0, len(chosen), BLOCK_ROWS):
        block = chosen[start : start + BLOCK_ROWS]
        yield block, _unit(rows, vectors, block)
        work.done(message, min(start + BLOCK_ROWS, len(chosen)), len(chosen))


def _effort(codes: Codes, rows: HotRows, vectors: NDArray[np.float16], work: Work) -> Effort:
    """The least effort that finds RECALL of the nearest tiles of a sample, by comparing it with all."""
    findable = np.flatnonzero(rows.findable)
    if not codes.partitions or len(findable) <= NEIGHBOURS:
        return Effort()
    rng = np.random.default_rng(SEED + 1)
    sample = np.sort(rng.choice(findable, min(SAMPLED, len(findable)), replace=False))
    queries = _unit(rows, vectors, sample)
    near = _nearest(queries, sample, rows, vectors, findable, work)
    grid = [probes for probes in PROBES if probes < codes.partitions] + [codes.partitions]
    for probes in grid:
        found = codes.search(queries, CANDIDATES[-1] + 1, probes=probes, threads=work.threads)
        if (reached := _recall(found, near)) >= RECALL:
            break
    target = min(RECALL, reached - 0.002)
    candidates = next(n for n in CANDIDATES if n == CANDIDATES[-1] or _recall(found[:, : n + 1], near) >= target)
    return Effort(probes=probes, candidates=candidates, recall=round(_recall(found[:, : candidates + 1], near), 4))


def _nearest(
    queries: NDArray[np.float32],
    own: NDArray[np.int64],
    rows: HotRows,
    vectors: NDArray[np.float16],
    among: NDArray[np.int64],
    work: Work,
) -> NDArray[np.int64]:
    """(q, NEIGHBOURS) the rows that are nearest to each, without its own."""
    best = np.full((len(queries), NEIGHBOURS), -2, np.float32)
    near = np.full((len(queries), NEIGHBOURS), -1)
    for block, unit in _unit_blocks(rows, vectors, among, work, "choosing how far to search"):
        score = queries @ unit.T
        score[block[None, :] == own[:, None]] = -2
        all_scores = np.concatenate([best, score], axis=1)
        all_rows = np.concatenate([near, np.broadcast_to(block, score.shape)], axis=1)
        top = np.argpartition(-all_scores, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        best, near = np.take_along_axis(all_scores, top, axis=1), np.take_along_axis(all_rows, top, axis=1)
    return near


def _recall(found: NDArray[np.int64], near: NDArray[np.int64]) -> float:
    return float(np.mean([np.isin(true, rows).mean() for rows, true in zip(found, near, strict=True)]))
