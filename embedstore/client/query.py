"""Queries over HTTP: what a user has, such as a tile's id, a place, an image or a vector, as a service takes it."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.errors import QueryError
from embedstore.query_vector import (
    FORMATS,
    existing_file,
    given_vector,
    no_query,
    numbers_of,
    unit_vector,
    whole_number,
)
from embedstore.tables.query_table import given_queries, signed_ids


@dataclass(frozen=True, kw_only=True, eq=False)
class RemoteQuery:
    """What to search for; as `embedstore.search.Query`.

    Attributes:
        vector: (dim,) float32, length 1; empty in the result of a search.
        title: For people, such as "tile 42 of slide a.svs at 512, 1024".
        slides: Slides that it was made from; none for an image or a vector.
        tile_ids: (n,) int64, tiles that it was made from; a search leaves them out.
        tiles: A few of these tiles, to show, a row each; () if none.
        picture: The image that it was made from; None if none.
    """

    vector: NDArray[np.float32]
    title: str
    slides: tuple[str, ...] = ()
    tile_ids: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    tiles: tuple[Mapping[str, Any], ...] = ()
    picture: Path | None = None

    @classmethod
    def from_record(cls, record: Mapping[str, Any], *, picture: Path | None = None) -> "RemoteQuery":
        """A query from the answer of a service."""
        return cls(
            vector=np.array(record["vector"], np.float32),
            title=record["title"],
            slides=tuple(record["slides"]),
            tile_ids=np.array(record["tile_ids"], np.int64),
            tiles=tuple({**tile, "tile_id": int(tile["tile_id"])} for tile in record["tiles"]),
            picture=picture,
        )

    @classmethod
    def of_search(cls, facts: Mapping[str, str], *, picture: Path | None) -> "RemoteQuery":
        """What a search was for, from the metadata of its answer, which has no vector."""
        made_of = json.loads(facts["made_of"])
        return cls.from_record({"vector": [], "tile_ids": [], "title": facts["query"], **made_of}, picture=picture)

    def __repr__(self) -> str:
        return f"<Query: {self.title}, {len(self.vector)} dimensions>"


def as_example(given: Any, *, collection: str) -> dict[str, Any] | Path:
    """What a user searches by as the JSON of an example; the path of an image, which has to be sent first.

    Args:
        given: As for `Collection.search`.
    Raises:
        QueryError: it is none of what can be searched by, or a file that cannot be read.
        VectorError: a vector without a direction.
    """
    if hasattr(given, "vector") and hasattr(given, "tile_ids"):
        return {
            "vector": np.asarray(given.vector, np.float64).tolist(),
            "title": given.title,
            "slides": list(given.slides),
            "tile_ids": [str(tile_id) for tile_id in given.tile_ids.tolist()],
        }
    if isinstance(given, (int, np.integer)) and not isinstance(given, bool):
        return {"tile_id": str(int(given))}
    if isinstance(given, Mapping) and "tile_id" in given:
        return {"tile_id": str(whole_number(given["tile_id"], "the row's tile_id"))}
    if isinstance(given, str | Path):
        path = existing_file(given)
        return vector_example(path, collection=collection) if path.suffix.lower() in FORMATS else path
    if isinstance(given, tuple) and len(given) == 3 and isinstance(given[0], str):
        return {"slide_id": given[0], "x": whole_number(given[1], "x"), "y": whole_number(given[2], "y")}
    if isinstance(given, np.ndarray | Sequence):
        return vector_example(numbers_of(given), collection=collection)
    raise no_query(given)


def vector_example(source: NDArray[Any] | str | Path, *, collection: str) -> dict[str, Any]:
    """A vector, given or in a file on this machine, as the JSON of an example; errors as of `as_example`."""
    values, title = given_vector(source)
    where = f"collection {collection!r}"
    return {"vector": unit_vector(values, len(values), where=where).astype(np.float64).tolist(), "title": title}


def query_columns(queries: Any) -> pa.Table:
    """Many queries as the table that a service takes, with a column `tile_id` or `vector`.

    Raises:
        QueryError: they are neither vectors nor ids of tiles.
    """
    values, name = given_queries(queries)
    if values.ndim == 1 and values.dtype.kind in "iu":
        return pa.table({"tile_id": pa.array(signed_ids(values, name))})
    if values.ndim == 2 and values.dtype.kind in "fiu":
        flat = pa.array(values.astype(np.float32).reshape(-1))
        return pa.table({"vector": pa.FixedSizeListArray.from_arrays(flat, values.shape[1])})
    raise QueryError(f"{name} has shape {values.shape} of {values.dtype}; expected (n, dim) numbers, or n ids of tiles")


def image_bytes(image: str | Path | NDArray[np.uint8]) -> bytes:
    """An image as bytes to send: those of its file, or a PNG of (height, width, 3) uint8 RGB.

    Raises:
        QueryError: the file cannot be read, or the array is no picture.
    """
    if isinstance(image, str | Path):
        try:
            return Path(image).read_bytes()
        except OSError as error:
            raise QueryError(f"image {image} cannot be read: {error.strerror or error}") from error
    from PIL import Image

    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise QueryError(f"the image is {pixels.dtype} {pixels.shape}; expected uint8 (height, width, 3)")
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG", compress_level=1)
    return data.getvalue()
