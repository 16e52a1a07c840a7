"""Arguments of the Python API are checked where they come in, by the annotations of its methods.

What is passed on is of the type that is annotated: one name is a list of one, a scalar of NumPy is a number, and a
collection or head stands for its name. What is annotated as something else than names, numbers, paths and
configurations, such as an array or a query, is checked by what takes it.
"""

import dataclasses
import datetime as dt
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, Unpack, get_args, get_origin, get_type_hints

from embedstore.config import TilingConfig
from embedstore.errors import ConfigError
from embedstore.typed_values import guess, typed

T = TypeVar("T")
Check = Callable[[Any, Any], Any]
"""Takes the object whose method is called and what is given for an argument; returns what is passed on."""

_PLAIN = (str, int, float, bool, Path, NoneType, dt.datetime, dt.timedelta)
#: {argument: the kind of object whose name it is}; such an object may be given in place of its name.
_NAMES = {"collection": "Collection", "codebook_of": "Collection", "head": "Head", "heads": "Head"}


def checks_arguments(target: T) -> T:
    """Decorate a function, or a class for its public methods, to check what it is given.

    Raises:
        ConfigError: of the method: an argument is not of the type that it is annotated with.
        TypeError: of the method: there is no such argument; the message names the one that is most like it.
    """
    if not inspect.isclass(target):
        return _checking(target, target.__name__, bound=0)  # type: ignore[arg-type,attr-defined,return-value]
    for name, member in list(vars(target).items()):
        if inspect.isfunction(member) and not name.startswith("_"):
            setattr(target, name, _checking(member, f"{target.__name__}.{name}", bound=1))
    return target


def _checking(function: Callable[..., Any], shown: str, *, bound: int) -> Callable[..., Any]:
    """A function that checks its arguments; `bound` is 1 for a method, whose first one is its object."""
    parameters = list(inspect.signature(function).parameters.values())[bound:]
    positional = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    takes_all, kinds = _annotations(parameters)
    defaults = {each.name: each.default for each in parameters}
    checks = {
        name: _check(name, kind, f"{shown}: {name}", optional=defaults.get(name) is None)
        for name, kind in kinds.items()
        if _is_checked(kind)
    }

    @functools.wraps(function)
    def checking(*args: Any, **kwargs: Any) -> Any:
        of = args[0] if bound else None
        given = list(args)
        for number, name in enumerate(positional[: len(args) - bound], start=bound):
            if name in checks:
                given[number] = checks[name](of, given[number])
        for name, value in kwargs.items():
            if name in checks:
                kwargs[name] = checks[name](of, value)
            elif not takes_all and name not in kinds:
                raise TypeError(f"{shown}() got an unexpected keyword argument {name!r}{_hint(name, kinds)}")
        return function(*given, **kwargs)

    return checking


def _annotations(parameters: Sequence[inspect.Parameter]) -> tuple[bool, dict[str, Any]]:
    """Whether any further keyword is taken, and {name: annotation} of those that are known."""
    kinds = {each.name: each.annotation for each in parameters if each.kind is not each.VAR_KEYWORD}
    further = next((each.annotation for each in parameters if each.kind is each.VAR_KEYWORD), None)
    if get_origin(further) is Unpack:
        return False, kinds | get_args(further)[0].__annotations__
    return further is not None, kinds


def _check(argument: str, kind: Any, where: str, *, optional: bool) -> Check:
    named = None if any(map(_is_ours, _parts(kind))) else _NAMES.get(argument)  # it takes such objects themselves
    listed = _takes(kind, Sequence) and not _takes(kind, str)  # one name is a list of one

    def check(of: Any, value: Any) -> Any:
        if isinstance(value, Mapping):
            return value if _takes(kind, Mapping) else typed(value, kind, where)
        if value is None and optional:
            return value
        if type(value) is int and _takes(kind, int):
            return value  # one of more than 64 bits is told by what takes it
        if named is not None:
            value = _names(of, value, named, where)
        return typed((value,) if listed and isinstance(value, str) else value, kind, where)

    return check


def _is_checked(kind: Any) -> bool:
    """Whether an annotation is of names, numbers, paths and configurations alone."""
    return all(
        get_origin(part) in (Literal, Mapping)
        or part in _PLAIN
        or _is_ours(part)
        or (get_origin(part) is Sequence and _is_checked(get_args(part)[0]))
        for part in _parts(kind)
    )


def _parts(kind: Any) -> tuple[Any, ...]:
    """The annotations that a union is of; another annotation alone."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _takes(kind: Any, origin: Any) -> bool:
    return any(origin in (part, get_origin(part)) for part in _parts(kind))


def _is_ours(kind: Any) -> bool:
    """Whether an annotation is a class of this library."""
    return inspect.isclass(kind) and kind.__module__.partition(".")[0] == __name__.partition(".")[0]


def _names(of: Any, value: Any, named: str, where: str) -> Any:
    """The names of objects of this API that are given in place of their names."""
    if isinstance(value, list | tuple):
        return [_names(of, each, named, where) for each in value]
    if type(value).__name__.removeprefix("Remote") != named or not _is_ours(type(value)):
        return value
    if (there := _store_uri(value)) != (here := _store_uri(of)):
        raise ConfigError(f"{where} is {value.name!r} of {there}; expected one of {here}")
    return value.name


def _store_uri(of: Any) -> str:
    """Where the store is that an object of this API belongs to."""
    return of._connection.url if hasattr(of, "_connection") else of._tables.uri


def _hint(name: str, kinds: Mapping[str, Any]) -> str:
    """What was probably meant by an argument that there is not."""
    for argument, kind in kinds.items():
        for each in (TilingConfig,) if argument == "tiling" else _parts(kind):
            if dataclasses.is_dataclass(each) and name in get_type_hints(each):
                return f"; it is a setting of {argument}: {argument}={{{name!r}: …}}"
    return guess([name], kinds) or f"; it takes {', '.join(kinds)}"
