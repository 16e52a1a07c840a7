"""Tables of a TOML file, checked against what they set, and flags that win over them: defaults < file < flags."""

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedstore.errors import ConfigError

if TYPE_CHECKING:
    from embedstore.config import JoinConfig
    from heads.config import SplitConfig

Table = dict[str, Any]

#: Flags that set a field of the split or the join, where its name is not the field's.
_SPLIT = {"split": "kind", "folds": "folds", "split_column": "column", "split_file": "file", "group_by": "group_by"}
_JOIN = {"rule": "rule", "min_overlap": "min_overlap"}


def fields_of(kinds: Mapping[str, Any]) -> dict[str, list[str]]:
    """The fields of some dataclasses, less those that are tables of their own."""
    return {table: [field.name for field in fields(kind) if field.name not in kinds] for table, kind in kinds.items()}


def read_tables(
    path: str | None, known: Mapping[str, Collection[str]], *, several: Collection[str] = ()
) -> dict[str, list[Table]]:
    """The tables of a TOML file by name, none for those that it has not; lists in them are made tuples.

    Args:
        path: The file; without one there is no table.
        known: Fields of each table that there may be.
        several: Tables that may be there more than once, as [[name]].
    Raises:
        ConfigError: the file is not TOML, or has a table or field that is not known.
    """
    try:
        given = tomllib.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    found: dict[str, list[Table]] = {name: [] for name in known}
    for name, value in given.items():
        tables = value if isinstance(value, list) and name in several else [value]
        if name not in known or not all(isinstance(table, dict) for table in tables):
            names = ", ".join(f"[[{one}]]" if one in several else f"[{one}]" for one in known)
            raise ConfigError(f"{path} has {name!r}; expected the tables {names}")
        if unknown := sorted({field for table in tables for field in table} - set(known[name])):
            raise ConfigError(
                f"{path}: [{name}] has {', '.join(unknown)}; expected of {', '.join(sorted(known[name]))}"
            )
        found[name] = [{field: tuple(v) if isinstance(v, list) else v for field, v in t.items()} for t in tables]
    return found


def merged(tables: list[Table], options: Mapping[str, Any], flags: Mapping[str, str]) -> Table:
    """The one table there may be, with the fields that flags set; those that were not given set none."""
    own = tables[0] if tables else {}
    return own | {field: options[flag] for flag, field in flags.items() if options.get(flag) is not None}


def split_and_join(tables: Mapping[str, list[Table]], options: Mapping[str, Any]) -> "tuple[SplitConfig, JoinConfig]":
    """How patients are parted, by [split] and its flags, and tiles meet areas, by [join] and its.

    A column or a file says the kind of split.
    """
    from embedstore.config import JoinConfig
    from heads.config import SplitConfig

    split = merged(tables["split"], options, _SPLIT)
    if implied := [kind for kind in ("column", "file") if kind in split]:
        split.setdefault("kind", implied[0])
    return SplitConfig(**split), JoinConfig(**merged(tables["join"], options, _JOIN))
