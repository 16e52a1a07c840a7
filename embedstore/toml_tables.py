"""Read the tables of a TOML file, checked against the fields that they may set."""

import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from embedstore.errors import ConfigError
from embedstore.text_files import read_text
from embedstore.typed_values import guess, shown, typed

#: A table as TOML gives it; ranges and the like are checked by the dataclass that is made of it.
Table = dict[str, Any]
_LARGEST_BYTES = 1 << 20  # what is larger is another file, such as a slide


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
        ConfigError: the file cannot be read or is not TOML, has a table or field that is not allowed, or a value of
            another type.
    """
    result: dict[str, list[Table]] = {name: [] for name in allowed}
    for name, value in (_content(path) if path else {}).items():
        tables = value if isinstance(value, list) and name in repeated else [value]
        if name not in allowed:
            names = ", ".join(_heading(table, repeated) for table in allowed)
            raise ConfigError(f"{path} has {shown(name)}; expected the tables {names}{guess([name], allowed)}")
        if not all(isinstance(table, dict) for table in tables):
            is_repeated = isinstance(value, list) and value and all(isinstance(table, dict) for table in value)
            found = f"the tables [[{name}]]" if is_repeated else f"the value {shown(value)}"
            raise ConfigError(f"{path}: {name} is {found}; expected a table, {_heading(name, repeated)}")
        where, types = f"{path}: [{name}]", allowed[name]
        for table in tables:
            if unknown := sorted(set(table) - set(types)):
                expected = f"{', '.join(sorted(types))}{guess(unknown, types)}"
                raise ConfigError(f"{where} has {', '.join(unknown)}; expected some of {expected}")
            result[name].append({field: typed(v, types[field], f"{where} {field}") for field, v in table.items()})
    return result


@contextmanager
def errors_name_table(path: str | Path | None, table: str, fields: Iterable[str]) -> Iterator[None]:
    """Put a file and its table before an error about the value of one of the fields that the table set."""
    try:
        yield
    except ConfigError as error:
        if not any(re.search(rf"\b{field}\b", str(error)) for field in fields):
            raise
        raise ConfigError(f"{path}: [{table}] {error}") from error


def _heading(table: str, repeated: Collection[str]) -> str:
    return f"[[{table}]]" if table in repeated else f"[{table}]"


def _content(path: str | Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(path, limit_bytes=_LARGEST_BYTES))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}; expected a TOML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text: {error.reason} at byte {error.start:,}; save it as UTF-8") from error
    except RecursionError as error:
        raise ConfigError(f"{path} is not TOML: its lists are nested too deeply") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
