"""Values of settings, from a file or from Python, brought to the type of their field."""

import datetime as dt
import functools
import json
import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from embedstore.errors import ConfigError

_EXPECTED: dict[Any, str] = {
    bool: "true or false", int: "a whole number", float: "a number", str: "a string", Path: "a path",
    Mapping: "a table of strings, numbers, lists and tables",
}  # fmt: skip
_LONGEST_INT = 1 << 63
_SHOWN = 80  # letters of a value in a message
_CLOSE, _MOST_COMPARED = 5, 10_000  # names in a message, and most that are compared letter by letter: 0.1 s


def typed(value: Any, kind: Any, where: str) -> Any:
    """A value as one of the type of a field: a whole number can be a float, a list becomes a tuple, a scalar of NumPy a
    number. Nothing else is converted: "no" is not false, and 256.0 is no whole number.

    Args:
        kind: The annotation of the field.
        where: What has the value, for the message.
    Raises:
        ConfigError: it is of another type, or a number that is not finite.
    """
    try:
        return _typed(value, kind)
    except (TypeError, OverflowError):
        raise ConfigError(f"{where} is {shown(value)}; expected {_expected(kind, value)}") from None


def guess(names: Iterable[str], known: Iterable[str]) -> str:
    """'; did you mean NAME?' with the known name that is most like one that is not; '' where none is."""
    known = list(known)
    near = [match for name in names if name not in known for match in get_close_matches(name.lower(), known, 1, 0.65)]
    return f"; did you mean {near[0]}?" if near else ""


def close_names(name: str, known: Collection[str]) -> str:
    """'; close names: A, B' with the known names that hold one that is not, or are like it; '' where there are none."""
    known = sorted(known)
    near = [each for each in known if name.lower() in each.lower()]
    near += get_close_matches(name, known, _CLOSE) if len(known) < _MOST_COMPARED else []
    close = list(dict.fromkeys(near))[:_CLOSE]
    return f"; close names: {', '.join(close)}" if close else ""


def shown(value: Any) -> str:
    """A value as a message shows it: the beginning, where it is long."""
    try:
        text = str(value) if isinstance(value, dt.date | dt.time) else repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _typed(value: Any, kind: Any) -> Any:
    origin, parts = _origin_and_parts(kind)
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        value = value.item()  # a number of NumPy, JAX or torch
    if origin in (Union, UnionType):
        return _as_one_of(value, parts)
    if origin is Literal and isinstance(value, str) and value in parts:
        return value
    if origin in (tuple, Sequence) and hasattr(value, "__iter__") and not isinstance(value, str | bytes | Mapping):
        if hasattr(value, "columns"):
            raise TypeError  # of a data frame, whose parts are the names of its columns
        return tuple(_typed(part, parts[0]) for part in value)
    if origin is Mapping and isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        json.dumps(value)  # it is stored with what it produced
        return value
    if kind in (int, float) and isinstance(value, int | kind) and not isinstance(value, bool):
        number = kind(value)
        if math.isfinite(number) and (kind is float or abs(number) < _LONGEST_INT):
            return number
    elif kind in (str, Path) and isinstance(value, str | os.PathLike) and "\0" not in os.fspath(value):
        return kind(value)
    elif kind is Any or (isinstance(kind, type) and kind not in (int, float, str, Path) and isinstance(value, kind)):
        return value
    raise TypeError


@functools.cache
def _origin_and_parts(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    return get_origin(kind), get_args(kind)


def _as_one_of(value: Any, kinds: tuple[Any, ...]) -> Any:
    for kind in kinds:
        try:
            return _typed(value, kind)
        except (TypeError, OverflowError):
            continue
    raise TypeError


def _expected(kind: Any, value: Any) -> str:
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(_expected(part, value) for part in parts if part is not NoneType)
    if origin is Literal:
        return f"one of {', '.join(parts)}" if len(parts) > 1 else repr(parts[0])
    if origin in (tuple, Sequence):
        return f"a list, each {_expected(parts[0], value)}"
    if kind is str and isinstance(value, str):
        return "a string without NUL"
    return _EXPECTED.get(origin or kind) or kind.__name__
