"""From flags and a TOML file to candidates and the configuration of a choice: defaults < file < flags."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from cli.settings import extractors_from_flags
from cli.tables import merged, split_and_join
from embedstore.toml_tables import fields_of, read_tables

if TYPE_CHECKING:
    from embedstore.extractors import ExtractorConfig
    from heads.select import SelectConfig

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
    from embedstore.extractors.extractor_tables import EXTRACTOR_FIELDS, extractors_from_tables
    from heads.config import SplitConfig
    from heads.select import SelectConfig

    path = options.get("config_file")
    kinds = {"select": SelectConfig, "split": SplitConfig, "join": JoinConfig}
    known = fields_of(kinds) | {"extractor": EXTRACTOR_FIELDS}
    tables = read_tables(path, known, repeated=["extractor"])
    split, join = split_and_join(tables, options)
    config = SelectConfig(**merged(tables["select"], options, {name: name for name in _SELECT}), split=split, join=join)
    if options.get("extractors"):
        return extractors_from_flags(options), config
    if not tables["extractor"]:
        raise click.UsageError("name candidates with --extractor, or in [[extractor]] tables of --config")
    if lost := [flag for flag, name in _OF_EXTRACTORS.items() if options.get(name)]:
        raise click.UsageError(f"{', '.join(lost)} goes with --extractor; the candidates are those of {path}")
    return extractors_from_tables(tables["extractor"], path)[0], config
