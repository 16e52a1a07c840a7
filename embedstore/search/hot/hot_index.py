"""The hot index: one version of a collection, searched from memory and from a file of its vectors."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.search.hot.codes import Codes, Comparison
from embedstore.search.hot.rows import Fragments, HotRows
from embedstore.store import StoredTile, TileLocation
from embedstore.store.nearest import FEW_ROWS

#: More neighbours than these are left to Lance.
MOST_NEIGHBOURS = 1000
#: So many candidates are ranked by their vectors for each neighbour at least. Where more than so many neighbours are
#: asked for, the candidates grow by a power of their number: codes tell apart less well what is further away.
CANDIDATES_EACH, RANKED_NEIGHBOURS, GROWTH = 4, 10, 0.75
#: Candidates up to here are ranked with NumPy at once, 1.2 µs each; of more, the best by faster inner products.
RANKED_AT_ONCE = 64
SPARE = 8
#: Candidates of several queries are ranked together, in so many bytes of float32; and so many queries with few rows.
RANKED_BYTES, RANKED_QUERIES = 10_000_000, 64
#: Where more than 16 neighbours are asked for, or less than this share of the rows pass, more partitions are searched.
PROBED_NEIGHBOURS, PROBED_SHARE, MOST_PROBES = 16, 0.2, 16


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How far codes are searched, chosen for a collection so that little is missed.

    Attributes:
        probes: Partitions.
        candidates: Rows that are ranked by their vectors, where up to 10 neighbours are asked for.
        recall: Share of the 10 nearest that were found then, for a sample of the collection's own tiles.
    """

    probes: int = 1
    candidates: int = 100
    recall: float = 1.0


class Passing:
    """The rows that a search may find.

    Args:
        mask: (n,) whether each row passes; those that cannot be found do not.
    """

    def __init__(self, mask: NDArray[np.bool_]):
        self._mask = mask
        self.count = int(np.count_nonzero(mask))

    @property
    def few(self) -> bool:
        """Whether their vectors are compared one by one."""
        return self.count <= FEW_ROWS

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """(count,) ascending."""
        return np.flatnonzero(self._mask)

    @cached_property
    def bits(self) -> NDArray[np.uint8]:
        return np.packbits(self._mask, bitorder="little")

    def without(self, rows: NDArray[np.int64]) -> "Passing":
        """Those that are none of some rows."""
        mask = self._mask.copy()
        mask[rows] = False
        return Passing(mask)


@dataclass(frozen=True, kw_only=True, eq=False)
class HotIndex:
    """One version of a collection. Nothing of it changes, so threads may search it while a newer one is made.

    Attributes:
        version: Of the collection's table.
        fragments: Of the table at that version.
        rows: What is known of each row.
        vectors: (n, dim) float16, mapped from a file.
        codes: Of all rows that can be found.
        coded_rows: Rows that the codes were trained for.
        effort: How far the codes are searched.
        kept_filters: What passes a filter at this version, by filter.
    """

    version: int
    fragments: Fragments
    rows: HotRows
    vectors: NDArray[np.float16]
    codes: Codes
    coded_rows: int
    effort: Effort
    kept_filters: dict[str, Any] = field(default_factory=dict)

    @property
    def dim(self) -> int:
        return int(self.vectors.shape[1])

    @cached_property
    def _comparison(self) -> Comparison:
        return Comparison(self.dim)

    @cached_property
    def everything(self) -> Passing:
        return Passing(self.rows.findable)

    def nearest(
        self, direction: NDArray[np.float32], k: int, passing: Passing | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The k rows nearest to a unit vector, and their distances, 1 - cosine; nearest first.

        Args:
            k: Up to MOST_NEIGHBOURS.
            passing: The rows that may be found; all when None.
        """
        if passing is not None and passing.few:
            return self.ranked(direction, passing.rows, k)
        share = 1.0 if passing is None else passing.count / max(self.everything.count, 1)
        bits = None if passing is None else passing.bits
        n, probes = self.candidates_for(k), self.probes_for(k, share)
        found = self.codes.search(direction[None], n, probes=probes, passing=bits)[0]
        found = found[found >= 0]
        if len(found) < min(k, share * self.everything.count):  # the partitions hold too few that pass
            found = self.codes.search(direction[None], n, probes=self.codes.partitions, passing=bits)[0]
            found = found[found >= 0]
        return self.ranked(direction, np.sort(found), k)

    def nearest_of_many(
        self, directions: NDArray[np.float32], k: int, passing: Passing | None = None, *, threads: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The k rows nearest to each of many unit vectors, and their distances; nearest first.

        Args:
            directions: (q, dim).
            k, passing: As of `nearest`.
            threads: That take part.
        Returns:
            (q, k), row -1 and distance NaN where fewer pass.
        """
        count = self.everything.count if passing is None else passing.count
        if passing is not None and passing.few:
            found = self._among_few(directions, passing.rows, k + SPARE)
        else:
            n, share = self.candidates_for(k), count / max(self.everything.count, 1)
            bits = None if passing is None else passing.bits
            probes = self.probes_for(k, share)
            found = self.codes.search(directions, n, probes=probes, passing=bits, threads=threads)
            short = np.flatnonzero((found >= 0).sum(axis=1) < min(k, count))
            if len(short):  # the partitions hold too few that pass
                everywhere = self.codes.partitions
                found[short] = self.codes.search(directions[short], n, probes=everywhere, passing=bits, threads=threads)
        step = max(RANKED_BYTES // (4 * self.dim * found.shape[1]), 1)
        blocks = [slice(start, start + step) for start in range(0, len(found), step)]
        with ThreadPoolExecutor(threads) as pool:
            ranked = list(pool.map(lambda block: self._ranked_of_many(directions[block], found[block], k), blocks))
        return np.concatenate([rows for rows, _ in ranked]), np.concatenate([distance for _, distance in ranked])

    def _among_few(self, directions: NDArray[np.float32], rows: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        """(q, n) the rows nearest to each, as far as float32 tells them apart, -1 where there are no more."""
        found = np.full((len(directions), n), -1)
        if len(rows) <= n:
            found[:, : len(rows)] = rows
            return found
        unit = self.vectors[rows].astype(np.float32) / self.rows.norm[rows, None]
        for start in range(0, len(directions), RANKED_QUERIES):
            cosine = directions[start : start + RANKED_QUERIES] @ unit.T
            found[start : start + RANKED_QUERIES] = rows[np.argpartition(-cosine, n - 1, axis=1)[:, :n]]
        return found

    def _ranked_of_many(
        self, directions: NDArray[np.float32], found: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        found = np.sort(found, axis=1)
        vectors = self.vectors[found].astype(np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = 1 - np.einsum("qnd,qd->qn", vectors, directions) / self.rows.norm[found]
        distance[found < 0] = np.nan
        order = np.argsort(distance, axis=1, kind="stable")[:, :k]
        rows, distance = np.take_along_axis(found, order, axis=1), np.take_along_axis(distance, order, axis=1)
        lacking = ((0, 0), (0, k - order.shape[1]))
        return np.pad(rows, lacking, constant_values=-1), np.pad(distance, lacking, constant_values=np.nan)

    def candidates_for(self, k: int) -> int:
        """Rows that are ranked by their vectors for k neighbours."""
        more = max(k / RANKED_NEIGHBOURS, 1) ** GROWTH
        return max(round(self.effort.candidates * more), CANDIDATES_EACH * k)

    def probes_for(self, k: int, share: float) -> int:
        """Partitions that are searched for k of a share of the rows."""
        more = max(k / PROBED_NEIGHBOURS, 1) * max(PROBED_SHARE / share, 1)
        return round(self.effort.probes * min(more, MOST_PROBES))

    def ranked(
        self, direction: NDArray[np.float32], rows: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The k nearest of some rows, given in ascending order, and their distances."""
        if len(rows) > RANKED_AT_ONCE:
            cosine = self._comparison.products(self.vectors, rows, direction) / self.rows.norm[rows]
            if len(rows) > k + SPARE:
                rows = np.sort(rows[np.argpartition(-cosine, k + SPARE)[: k + SPARE]])
        # As `cosine_distances`, to the last bit; rows that can be found have a length.
        distance = 1 - np.einsum("ij,j->i", self.vectors[rows].astype(np.float32), direction) / self.rows.norm[rows]
        order = np.argsort(distance, kind="stable")[:k]
        return rows[order], distance[order]

    def table(self, rows: NDArray[np.int64], distance: NDArray[np.float32], *, vector: bool = False) -> pa.Table:
        """Rows with TILE_COLUMNS and `distance`, as `nearest_tiles` has them.

        Args:
            vector: With the vectors.
        """
        table = self.rows.table(rows)
        if vector:
            values = pa.FixedSizeListArray.from_arrays(pa.array(self.vectors[rows].reshape(-1)), self.dim)
            table = table.append_column("vector", values)
        return table.append_column(pa.field("distance", pa.float32()), pa.array(distance, pa.float32()))

    def memory_bytes(self) -> int:
        """Memory that it takes, without the file that is mapped."""
        return self.rows.nbytes + self.codes.nbytes

    def tile(self, tile_id: int, *, collection: str) -> StoredTile | None:
        """A tile by its id; None if the collection does not have it."""
        rows = self.rows.of_tiles(np.array([tile_id], np.int64))
        if not len(rows):
            return None
        row = self.rows.table(rows).to_pylist()[0]
        return StoredTile(
            collection=collection, location=TileLocation.from_row(row), tissue=row["tissue"],
            vector=self.vectors[rows[0]].tolist(),
        )  # fmt: skip
