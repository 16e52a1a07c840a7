"""From flags and a TOML file to candidates and the configuration of a choice: defaults < file < flags."""

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.settings import extractors_from_flags, extractors_from_tables, require_fields
from embedstore.errors import ConfigError

if TYPE_CHECKING:
    from embedstore.extractors import ExtractorConfig
    from heads.select import SelectConfig

_SPLIT = {"split": "kind", "folds": "folds", "split_column": "column", "split_file": "file", "group_by": "group_by"}
_OF_EXTRACTORS = {"--weights": "weights", "--arch-arg": "arch_args", "--mean": "mean", "--std": "std"}
_SELECT = ("tiles", "rank_by", "site", "seed")


def resolve_select(options: Mapping[str, Any]) -> "tuple[list[ExtractorConfig], SelectConfig]":
    """Merge flags over the TOML file over defaults.

    The file has [[extractor]] tables, as the one of ingest, and the tables [select], [split] and [join], with the
    fields of the configuration of that name.

    Raises:
        ConfigError: the file has a table or field that does not exist, or a value that cannot be.
    """
    from embedstore.config import JoinConfig
    from heads.config import SplitConfig
    from heads.select import SelectConfig

    path = options.get("config_file") or ""
    given = _read(path) if path else {}
    kinds = {"select": SelectConfig, "split": SplitConfig, "join": JoinConfig}
    if unknown := sorted(set(given) - set(kinds) - {"extractor"}):
        raise ConfigError(f"{path} has {', '.join(unknown)}; expected [[extractor]], {', '.join(kinds)}")
    tables: dict[str, dict[str, Any]] = {}
    for name, kind in kinds.items():
        values = given.get(name, {})
        require_fields(path, name, values, [field.name for field in fields(kind) if field.name not in kinds])
        tables[name] = {field: tuple(v) if isinstance(v, list) else v for field, v in values.items()}
    tables["split"] |= {field: options[flag] for flag, field in _SPLIT.items() if options.get(flag) is not None}
    split = tables["split"]
    if "kind" not in split:
        split |= {"kind": "column"} if "column" in split else {"kind": "file"} if "file" in split else {}
    own = tables["select"] | {name: options[name] for name in _SELECT if options.get(name) is not None}
    config = SelectConfig(**own, split=SplitConfig(**split), join=JoinConfig(**tables["join"]))
    if options.get("extractors"):
        return extractors_from_flags(options), config
    if not given.get("extractor"):
        raise click.UsageError("name candidates with --extractor, or in [[extractor]] tables of --config")
    if lost := [flag for flag, name in _OF_EXTRACTORS.items() if options.get(name)]:
        raise click.UsageError(f"{', '.join(lost)} goes with --extractor; the candidates are those of {path}")
    return extractors_from_tables(given["extractor"], path)[0], config


def candidates_of_file(path: str) -> "list[ExtractorConfig]":
    """The extractors of a TOML file's [[extractor]] tables.

    Raises:
        ConfigError: the file has none, or one that cannot be.
    """
    given = _read(path).get("extractor")
    if not given:
        raise ConfigError(f"{path} has no extractor; expected [[extractor]] tables, each with a ref")
    return extractors_from_tables(given, path)[0]


def _read(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
