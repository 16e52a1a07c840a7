"""A vector to search by: an array, or a file of numbers."""

import io
import json
import re
import tokenize
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import QueryError, VectorError
from embedstore.text_files import decode_text, read_file
from embedstore.typed_values import shown
from embedstore.uris import exists_or_remote

_LARGEST_BYTES = 1 << 26  # a vector has some kilobytes
#: What NumPy raises over the header of a damaged file, and JSON over a thousand brackets.
_MALFORMED = (ValueError, EOFError, OverflowError, MemoryError, RecursionError, SyntaxError, tokenize.TokenError)
FORMATS = (".npy", ".csv", ".txt", ".json")


def given_vector(source: NDArray[np.floating] | str | Path) -> tuple[NDArray[np.floating], str]:
    """A vector and its name for people, as a user gives it.

    Args:
        source: (dim,) or (1, dim), of any length; or a file with it: `.npy`, `.csv` or `.txt` (numbers separated by
            commas, semicolons or white space), `.json` (a list of numbers).
    Raises:
        QueryError: the file cannot be read, or holds several vectors or something else.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        values, name = _read(path), f"vector of {path.name}"
    else:
        values, name = np.asarray(source), "a given vector"
    return _one_row(values, name), name


def unit_vector(vector: NDArray[np.floating], dim: int, *, where: str) -> NDArray[np.float32]:
    """The vector, scaled to norm 1.

    Args:
        where: What it is compared with, for errors.
    Raises:
        VectorError: it has another shape, is zero, or is not finite.
    """
    given = np.asarray(vector, np.float64)  # float32 squares may overflow or vanish
    if given.shape != (dim,):
        raise VectorError(
            f"{where} has vectors of {dim} values; the query has shape {given.shape}; "
            "expected one vector of the same extractor"
        )
    with np.errstate(over="ignore"):
        length = float(np.linalg.norm(given))
    if not np.isfinite(length) or length == 0:
        raise VectorError(
            f"a query of norm {length} for {where} has no direction; expected finite values that are not all 0"
        )
    return (given / length).astype(np.float32)


def whole_number(value: Any, name: str) -> int:
    """A number that a user gave, as part of a query; raises QueryError where it is none."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise QueryError(f"{name} is {value!r}; expected a whole number") from error


def numbers_of(values: NDArray[Any] | Sequence[Any]) -> NDArray[Any]:
    """A list of numbers that a user gave as a query.

    Raises:
        QueryError: its rows have several lengths; it holds text, or is a picture.
    """
    try:
        numbers = np.asarray(values)
    except ValueError as error:
        raise QueryError(f"the list to search by is no vector: {error}; expected one list of numbers") from error
    if numbers.dtype.kind in "US":
        raise no_query(values)
    if numbers.dtype == np.uint8 and numbers.ndim == 3:
        raise QueryError(
            f"an array of uint8 {numbers.shape} is a picture, not a vector; search by collection.query_by_image(array)"
        )
    return numbers


def existing_file(path: str | Path) -> Path:
    """The path of an image or vector to search by, which may be an address.

    Raises:
        QueryError: there is no such file.
    """
    if not exists_or_remote(path):
        raise QueryError(
            f"there is no file {str(path)!r} to search by; expected an image or a vector, a tile's id, or "
            "(slide, x, y) for a place on a slide; collection.similar_slides(slide) finds slides like a slide"
        )
    return Path(path)


def no_query(given: Any) -> QueryError:
    """The error over something that cannot be searched by."""
    picture = "; search by a picture with collection.query_by_image(array)" if hasattr(given, "getpixel") else ""
    return QueryError(
        f"a {type(given).__name__} cannot be searched by, {shown(given)}; expected a tile's id, a row with a tile_id, "
        f"(slide, x, y), a vector, the path of an image or a vector, or a Query{picture}"
    )


def _one_row(values: NDArray[Any], name: str) -> NDArray[np.floating]:
    if values.dtype.kind not in "fiu":
        raise QueryError(f"{name} holds {values.dtype} values; expected numbers")
    if values.ndim == 2 and len(values) == 1:
        return values[0]
    if values.ndim != 1:
        raise QueryError(
            f"{name} has shape {values.shape}; expected one vector; pick a row of several, or search by each"
        )
    return values


def _read(path: Path) -> NDArray[Any]:
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise QueryError(f"vector file {path} ends in {suffix or 'nothing'}; expected {', '.join(FORMATS)}")
    try:
        data = read_file(path, limit_bytes=_LARGEST_BYTES)
        if suffix == ".npy":  # np.load takes any other file for a pickle, and its error says how to load that
            with warnings.catch_warnings(action="ignore"):  # headers of Python 2, and sizes that overflow
                return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
        text = decode_text(data)
        return np.array(json.loads(text)) if suffix == ".json" else _numbers(text)
    except OSError as error:
        raise QueryError(f"vector file {path} cannot be read: {error.strerror or error}") from error
    except _MALFORMED as error:
        raise QueryError(f"vector file {path} cannot be read: {error}; expected one vector of numbers") from error


def _numbers(text: str) -> NDArray[np.float64]:
    """The numbers of a text: one line of them, or one on each line; otherwise rows, which must have one length."""
    lines = [
        [float(word) for word in re.split(r"[,;\s]+", line.strip(" \t,;"))]
        for line in text.splitlines()
        if line.strip()
    ]
    if all(len(line) == 1 for line in lines):
        return np.array([line[0] for line in lines], np.float64)
    return np.array(lines, np.float64)
