"""A query: a direction among the vectors of a collection, and where it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedstore.config import require
from embedstore.errors import VectorError
from embedstore.search_config import AWAY_WEIGHT
from embedstore.store import TileLocation

SHOWN_TILES = 6  # of a query of many tiles
#: Stored vectors are float16, right to one part in 2,048: a shorter difference is a rounding error.
SHORTEST = 1e-3
NAMED_NEGATIVES = 2  # in a title


@dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """What to search for.

    Attributes:
        vector: (dim,) float32, length 1.
        title: For people, such as "tile 42 of slide a.svs at 512, 1024".
        slides: Slides that it was made from; none for an image or a vector.
        tile_ids: (n,) int64, tiles that it was made from; a search leaves them out.
        tiles: A few of these tiles, to show; () if none.
        picture: The image that it was made from; None if none.
    """

    vector: NDArray[np.float32]
    title: str
    slides: tuple[str, ...] = ()
    tile_ids: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    tiles: tuple[TileLocation, ...] = ()
    picture: Path | None = None

    def __repr__(self) -> str:
        return f"<Query: {self.title}, {len(self.vector)} dimensions>"


def away_from(query: Query, negatives: Sequence[Query], *, weight: float = AWAY_WEIGHT) -> Query:
    """Move a query away from negative examples.

    Rocchio's feedback (in Salton, The SMART Retrieval System, 1971) with the query as the only positive: the query
    minus `weight` times the mean of the negatives, all at length 1, and the difference brought to length 1. A search
    leaves out the tiles of the negatives, as it does the query's own.

    Args:
        negatives: Queries of the same collection; with none, the query stays as it is.
        weight: 0 or more; 0 only leaves out the negatives' tiles.
    Raises:
        ConfigError: the weight is negative or not finite.
        VectorError: a negative has another dimension; or no direction is left, as query and negatives are the same.
    """
    require(np.isfinite(weight) and weight >= 0, f"the weight of negatives is {weight}; expected 0 or more")
    if not negatives:
        return query
    for negative in negatives:
        if negative.vector.shape != query.vector.shape:
            raise VectorError(
                f"{query.title} has {query.vector.size} values, and the negative {negative.title} has "
                f"{negative.vector.size}; expected queries of one collection"
            )
    mean = np.mean([negative.vector for negative in negatives], axis=0, dtype=np.float64)
    difference = query.vector - weight * mean
    length = float(np.linalg.norm(difference))
    if length < SHORTEST:
        raise VectorError(
            f"nothing is left of {query.title} without {_named(negatives)}: with weight {weight:g} they cancel out; "
            "give other negatives or a smaller weight"
        )
    return replace(
        query,
        vector=(difference / length).astype(np.float32),
        title=f"{query.title}, not {_named(negatives)}",
        tile_ids=np.unique(np.concatenate([query.tile_ids, *(negative.tile_ids for negative in negatives)])),
    )


def _named(negatives: Sequence[Query]) -> str:
    if len(negatives) > NAMED_NEGATIVES:
        return f"{len(negatives)} others"
    return " and ".join(negative.title for negative in negatives)


def mean_direction(total: NDArray[np.floating], count: int, *, what: str) -> NDArray[np.float32]:
    """The mean of unit vectors, at length 1.

    Args:
        total: (dim,) sum of the vectors.
        count: Number of vectors.
        what: What the vectors are, for errors.
    Raises:
        VectorError: they cancel out, or a vector is not finite.
    """
    mean = np.asarray(total, np.float64) / count
    length = float(np.linalg.norm(mean))
    if not np.isfinite(length):
        raise VectorError(
            f"{what}: a vector holds NaN or infinity; expected finite values. The extractor overflows half precision "
            "there: ingest the slide again with --force in another precision"
        )
    if length < SHORTEST:
        raise VectorError(f"{what}: its vectors have no direction in common; search by one tile instead")
    return (mean / length).astype(np.float32)


def unit_rows(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """(n, dim) vectors, each at length 1; vectors of length 0 have no direction and stay as they are."""
    rows = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths != 0)


def counted(count: int, noun: str) -> str:
    """A count for people: "1 tile", "6,000 tiles"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
