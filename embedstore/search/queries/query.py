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
NAMED_EXAMPLES = 2  # in a title


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


def more_like(query: Query, positives: Sequence[Query]) -> Query:
    """Move a query to the mean of itself and further positive examples, all at length 1.

    With `away_from` after it, this is Rocchio's feedback (in Salton, The SMART Retrieval System, 1971). A search leaves
    out the tiles of all of them.

    Args:
        positives: Queries of the same collection; with none, the query stays as it is.
    Raises:
        VectorError: a positive has another dimension; or they have no direction in common.
    """
    if not positives:
        return query
    _require_one_length(query, positives, "further example")
    every = [query, *positives]
    title = f"{query.title}, and {_named(positives)}"
    return replace(
        query,
        vector=mean_direction(
            np.sum([each.vector for each in every], axis=0, dtype=np.float64), len(every), what=title
        ),
        title=title,
        slides=tuple(dict.fromkeys(slide for each in every for slide in each.slides)),
        tile_ids=_all_tiles(every),
        tiles=tuple(tile for each in every for tile in each.tiles)[:SHOWN_TILES],
    )


def away_from(query: Query, negatives: Sequence[Query], *, weight: float = AWAY_WEIGHT) -> Query:
    """Move a query away from negative examples.

    Rocchio's feedback: the query minus `weight` times the mean of the negatives, all at length 1, and the difference
    brought to length 1. A search leaves out the tiles of the negatives, as it does the query's own.

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
    _require_one_length(query, negatives, "negative")
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
        tile_ids=_all_tiles([query, *negatives]),
    )


def _require_one_length(query: Query, examples: Sequence[Query], what: str) -> None:
    for example in examples:
        if example.vector.shape != query.vector.shape:
            raise VectorError(
                f"{query.title} has {query.vector.size} values, and the {what} {example.title} has "
                f"{example.vector.size}; expected queries of one collection"
            )


def _all_tiles(queries: Sequence[Query]) -> NDArray[np.int64]:
    return np.unique(np.concatenate([query.tile_ids for query in queries]))


def _named(examples: Sequence[Query]) -> str:
    if len(examples) > NAMED_EXAMPLES:
        return f"{len(examples)} others"
    return " and ".join(example.title for example in examples)


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
