"""A query by a vector: an array, or a file of numbers."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedstore.query_vector import given_vector, unit_vector
from embedstore.search.queries.query import Query
from embedstore.store import Collection


def vector_query(collection: Collection, source: NDArray[np.floating] | str | Path) -> Query:
    """A query by a vector of the collection's extractor, as an array or in a file.

    Args:
        source: As for `given_vector`.
    Raises:
        QueryError: the file cannot be read, or holds several vectors or something else.
        VectorError: the vector has another dimension than the collection, is zero, or not finite.
    """
    values, name = given_vector(source)
    return Query(vector=unit_vector(values, collection.dim, where=f"collection {collection.name!r}"), title=name)
