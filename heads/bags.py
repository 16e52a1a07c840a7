"""Bags: rows of a table that belong together, such as the tiles of a slide, and one pooled vector of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.store import Collection, TileLocations, read_vectors

_ROWS = 20_000


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
        return cls(rows=np.concatenate(rows), start=np.concatenate([[0], np.cumsum([len(bag) for bag in rows])]))

    @classmethod
    def of_slides(cls, tiles: TileLocations, slides: Sequence[Sequence[str]]) -> "Bags":
        """A bag for each group of slides: all their tiles."""
        order = np.argsort(tiles.slide, kind="stable")
        ends = np.searchsorted(tiles.slide[order], np.arange(len(tiles.slides) + 1))
        rows = {slide: tiles.row[order[ends[i] : ends[i + 1]]] for i, slide in enumerate(tiles.slides)}
        return cls.of_rows([np.sort(np.concatenate([rows[slide] for slide in of_bag])) for of_bag in slides])

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        return np.diff(self.start)


def pool(collection: Collection, bags: Bags, *, version: int, how: str) -> NDArray[np.float32]:
    """Pool the tiles of each bag, in bounded memory.

    Args:
        how: `mean` or `max`.
    Returns:
        (bags, dim).
    """
    pooled = np.full((len(bags), collection.dim), -np.inf if how == "max" else 0.0, np.float32)
    order = np.argsort(bags.rows, kind="stable")
    of_bag = np.repeat(np.arange(len(bags)), bags.sizes)
    for start in range(0, len(order), _ROWS):
        chosen = order[start : start + _ROWS]
        vectors = read_vectors(collection, bags.rows[chosen], version=version)
        _reduce(pooled, of_bag[chosen], vectors.astype(np.float32), how)
    if how == "mean":
        pooled /= bags.sizes[:, None]
    return pooled


def _reduce(pooled: NDArray[np.float32], of_bag: NDArray[Any], vectors: NDArray[np.float32], how: str) -> None:
    order = np.argsort(of_bag, kind="stable")
    bags, first = np.unique(of_bag[order], return_index=True)
    if how == "max":
        pooled[bags] = np.maximum(pooled[bags], np.maximum.reduceat(vectors[order], first))
    else:
        pooled[bags] += np.add.reduceat(vectors[order], first)
