"""Read the tables of a TOML file, checked against the fields that they may set."""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from embedstore.errors import ConfigError

#: A table as TOML gives it; what it holds is checked by the dataclass that is made of it.
Table = dict[str, Any]


def fields_of(kinds: Mapping[str, type]) -> dict[str, list[str]]:
    """Field names of the dataclass behind each table, without fields that are tables themselves."""
    return {table: [field.name for field in fields(kind) if field.name not in kinds] for table, kind in kinds.items()}


def read_tables(
    path: str | Path | None, allowed: Mapping[str, Collection[str]], *, repeated: Collection[str] = ()
) -> dict[str, list[Table]]:
    """Read the tables of a TOML file by name; lists in them become tuples.

    Args:
        path: The file; None stands for an empty one.
        allowed: Fields that each table may have, by the table's name.
        repeated: Names of tables that may occur more than once, as [[name]].
    Returns:
        For each name in `allowed` its tables: none where the file has none, one, or several where they may repeat.
    Raises:
        ConfigError: the file is not TOML, or has a table or field that is not allowed.
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
        result[name] = [{field: tuple(v) if isinstance(v, list) else v for field, v in t.items()} for t in tables]
    return result
