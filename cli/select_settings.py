"""Candidates for an extractor and settings of their comparison: defaults < TOML file < flags."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from cli.extractor_flags import DETAIL_FLAGS, extractors_from_flags
from cli.fit_settings import JOIN, SPLIT, resolve_split
from cli.flags import Flag, Section
from embedstore.config import JoinConfig
from heads.config import SelectConfig

if TYPE_CHECKING:
    from embedstore.extractors import ExtractorConfig

SELECT = Section(
    "select", SelectConfig, "tiles", Flag("rank_by", metavar="PROBE"), Flag("site", metavar="COLUMN"), "seed"
)


def resolve_select(options: Mapping[str, Any]) -> "tuple[list[ExtractorConfig], SelectConfig]":
    """Merge flags over the TOML file over defaults.

    The file has [[extractor]] tables, as in `ingest_settings.py`, and the tables [select], [split] and [join].

    Raises:
        ConfigError: the file has an unknown table or field, or a value is not valid.
    """
    from embedstore.extractors.extractor_tables import EXTRACTOR_FIELDS, extractors_from_tables
    from embedstore.toml_tables import fields_of, read_tables

    path = options.get("config_file")
    fields = fields_of({section.table: section.config for section in (SELECT, SPLIT, JOIN)})
    tables = read_tables(path, fields | {"extractor": EXTRACTOR_FIELDS}, repeated=["extractor"])
    config = SelectConfig(
        **SELECT.merged(tables["select"], options),
        split=resolve_split(tables, options),
        join=JoinConfig(**JOIN.merged(tables["join"], options)),
    )
    if options.get("extractors"):
        return extractors_from_flags(options), config
    if not tables["extractor"]:
        raise click.UsageError("name candidates with --extractor, or in [[extractor]] tables of --config")
    if unused := [flag for flag, name in DETAIL_FLAGS.items() if options.get(name)]:
        raise click.UsageError(f"{', '.join(unused)} goes with --extractor; the candidates are those of {path}")
    return extractors_from_tables(tables["extractor"], path)[0], config
