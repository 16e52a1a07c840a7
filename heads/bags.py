"""Bags: rows of a table that belong together, such as the tiles of a slide, and one pooled vector of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.store import Collection, TileLocations
from embedstore.store.vectors import finite_blocks


@dataclass(frozen=True, kw_only=True, eq=False)
class Bags:
    """Rows of a table, in one or several bags.

    Attributes:
        rows: All rows, bag by bag.
        start: (n + 1,) where each bag begins in `rows`, and the end.
    """

    rows: NDArray[np.int64]
    start: NDArray[np.int64]

    @classmethod
    def single(cls, rows: NDArray[np.int64]) -> "Bags":
        """A bag for each row."""
        return cls(rows=rows, start=np.arange(len(rows) + 1))

    @classmethod
    def of_rows(cls, rows: Sequence[NDArray[np.int64]]) -> "Bags":
        """Bags from the rows of each."""
        return cls(
            rows=np.concatenate([np.empty(0, np.int64), *rows]),
            start=np.concatenate([[0], np.cumsum([len(bag) for bag in rows])]),
        )

    @classmethod
    def of_slides(cls, tiles: TileLocations, slides: Sequence[Sequence[str]]) -> "Bags":
        """A bag for each group of slides: all their tiles."""
        order = np.argsort(tiles.slide, kind="stable")
        ends = np.searchsorted(tiles.slide[order], np.arange(len(tiles.slides) + 1))
        rows = {slide: tiles.row[order[ends[i] : ends[i + 1]]] for i, slide in enumerate(tiles.slides)}
        return cls.of_rows([np.sort(np.concatenate([rows[slide] for slide in of_bag])) for of_bag in slides])

    def __len__(self) -> int:
        return len(self.start) - 1

    def take(self, which: NDArray[np.integer]) -> "Bags":
        """Some of the bags."""
        sizes = self.sizes[which]
        start = np.concatenate([[0], np.cumsum(sizes)])
        of_row = np.repeat(self.start[which] - start[:-1], sizes)
        return Bags(rows=self.rows[of_row + np.arange(start[-1])], start=start)

    def thinned(self, most: int, *, seed: int) -> "Bags":
        """Bags of at most so many of their rows, drawn at random, in their order."""
        rng = np.random.default_rng(seed)
        parts = np.split(self.rows, self.start[1:-1])
        return Bags.of_rows([np.sort(rng.choice(rows, min(most, len(rows)), replace=False)) for rows in parts])

    def where(self, keep: NDArray[np.bool_]) -> "Bags":
        """The same bags without the rows, (rows,), that are not kept; some may be empty then."""
        kept_before = np.concatenate([[0], np.cumsum(keep)])
        return Bags(rows=self.rows[keep], start=kept_before[self.start])

    def means(self, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
        """The mean (n, dim) of each bag, from the vectors (rows, dim) of all rows, bag by bag; none is empty."""
        sums = np.add.reduceat(vectors.astype(np.float32), self.start[:-1], axis=0)
        return np.asarray(sums / self.sizes[:, None], np.float32)

    @property
    def sizes(self) -> NDArray[np.int64]:
        return np.diff(self.start)


def pool(collection: Collection, bags: Bags, *, version: int, how: str) -> NDArray[np.float32]:
    """Pool the tiles of each bag, in one read and bounded memory.

    Args:
        how: `mean` or `max`.
    Returns:
        (bags, dim).
    """
    pooling = Pooling(bags, collection.dim, how)
    for part, block in finite_blocks(collection, pooling.rows, version):
        pooling.add(part, block)
    return pooling.pooled()


class Pooling:
    """Pools the tiles of bags as their vectors come.

    Attributes:
        rows: All rows of the bags, ascending.

    Args:
        how: `mean` or `max`.
    """

    def __init__(self, bags: Bags, dim: int, how: str):
        order = np.argsort(bags.rows, kind="stable")
        self.rows = bags.rows[order]
        self._of_bag = np.repeat(np.arange(len(bags)), bags.sizes)[order]
        self._sizes, self._how = bags.sizes, how
        self._sums = np.full((len(bags), dim), -np.inf if how == "max" else 0.0, np.float32)

    def add(self, part: slice, vectors: NDArray[Any]) -> None:
        """Take in the vectors (n, dim) of a part of `rows`."""
        _reduce(self._sums, self._of_bag[part], vectors.astype(np.float32), self._how)

    def pooled(self) -> NDArray[np.float32]:
        """(bags, dim), once all rows were added."""
        if self._how == "mean":
            return (self._sums / self._sizes[:, None]).astype(np.float32)
        return self._sums


def _reduce(pooled: NDArray[np.float32], of_bag: NDArray[Any], vectors: NDArray[np.float32], how: str) -> None:
    order = np.argsort(of_bag, kind="stable")
    bags, first = np.unique(of_bag[order], return_index=True)
    if how == "max":
        pooled[bags] = np.maximum(pooled[bags], np.maximum.reduceat(vectors[order], first))
    else:
        pooled[bags] += np.add.reduceat(vectors[order], first)
