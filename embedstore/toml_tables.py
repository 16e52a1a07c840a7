"""Read the tables of a TOML file, checked against the fields that they may set."""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from embedstore.errors import ConfigError

#: A table as TOML gives it; ranges and the like are checked by the dataclass that is made of it.
Table = dict[str, Any]
_EXPECTED = {bool: "true or false", int: "a whole number", float: "a number", str: "a string", Mapping: "a table"}


def fields_of(kinds: Mapping[str, type]) -> dict[str, dict[str, Any]]:
    """Fields, with their types, of the dataclass behind each table, without fields that are tables themselves."""
    return {
        table: {field.name: field.type for field in fields(kind) if field.name not in kinds}
        for table, kind in kinds.items()
    }


def read_tables(
    path: str | Path | None, allowed: Mapping[str, Mapping[str, Any]], *, repeated: Collection[str] = ()
) -> dict[str, list[Table]]:
    """Read the tables of a TOML file by name; lists in them become tuples.

    Args:
        path: The file; None stands for an empty one.
        allowed: Fields that each table may have, with their types, by the table's name.
        repeated: Names of tables that may occur more than once, as [[name]].
    Returns:
        For each name in `allowed` its tables: none where the file has none, one, or several where they may repeat.
    Raises:
        ConfigError: the file is not TOML, has a table or field that is not allowed, or a value of another type.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    result: dict[str, list[Table]] = {name: [] for name in allowed}
    for name, value in content.items():
        tables = value if isinstance(value, list) and name in repeated else [value]
        if name not in allowed or not all(isinstance(table, dict) for table in tables):
            names = ", ".join(f"[[{table}]]" if table in repeated else f"[{table}]" for table in allowed)
            raise ConfigError(f"{path} has {name!r}; expected the tables {names}")
        if unknown := sorted({field for table in tables for field in table} - set(allowed[name])):
            raise ConfigError(
                f"{path}: [{name}] has {', '.join(unknown)}; expected some of {', '.join(sorted(allowed[name]))}"
            )
        for field, entry in ((field, entry) for table in tables for field, entry in table.items()):
            if not _is_a(entry, allowed[name][field]):
                raise ConfigError(f"{path}: [{name}] {field} is {entry!r}; expected {_expected(allowed[name][field])}")
        result[name] = [{field: tuple(v) if isinstance(v, list) else v for field, v in t.items()} for t in tables]
    return result


def _is_a(value: Any, kind: Any) -> bool:
    """Whether a value of TOML can be one of a field of this type; a whole number can be a float's."""
    if get_origin(kind) in (Union, UnionType):
        return any(_is_a(value, part) for part in get_args(kind))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:
        return isinstance(value, list) and all(_is_a(part, get_args(kind)[0]) for part in value)
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool)
    return isinstance(value, get_origin(kind) or kind)


def _expected(kind: Any) -> str:
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_expected(part) for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if get_origin(kind) is tuple:
        return f"a list, each {_expected(get_args(kind)[0])}"
    return _EXPECTED[get_origin(kind) or kind]
