"""`embedstore fit-augmenter`."""

import shlex
from collections.abc import Mapping
from typing import Any

import click

from cli.augmenters import print_augmenter
from cli.flags import Section
from cli.json_log import log_json_option
from cli.options import (
    collection_option,
    config_option,
    json_option,
    print_json,
    print_notes,
    store_option,
    where_option,
)
from heads.config import AugmenterConfig

AUGMENTER = Section("augmenter", AugmenterConfig, "steps", "width", "layers", "seed")


@click.command(epilog="Example:  embedstore fit-augmenter --store my-store")
@store_option
@collection_option
@click.option("--name", help="Name of the augmenter.  [default: COLLECTION-augmenter]")
@click.option("--replace", is_flag=True, help="Replace an augmenter of the same name.")
@click.option("--force", is_flag=True, help="Save it even if it predicts no better than the tile's own vector.")
@where_option
@config_option
@AUGMENTER
@log_json_option
@json_option
def command(
    store: str,
    collection: str | None,
    name: str | None,
    replace: bool,
    force: bool,
    where: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a small network that predicts the vector of an augmented tile from the vector of the tile.

    It learns from the views that `embedstore ingest --views` stored and is tested on unseen patients; if it predicts no
    better than the tile's own vector, it is not saved. `fit-head --augment learned=0.5` uses it for any tile of the
    same extractor, whether it has views or not.
    """
    from embedstore import api

    augmenter = api.open(store).fit_augmenter(
        resolve_augmenter(options), collection=collection, name=name, where=where, force=force, replace=replace
    )
    print_notes(augmenter.record.notes)
    if as_json:
        print_json(augmenter.as_record())
        return
    print_augmenter(augmenter, brief=True)
    click.echo(
        f"next: embedstore fit-head --store {shlex.quote(store)} --task TASK --augment none --augment learned=0.5",
        err=True,
    )


def resolve_augmenter(options: Mapping[str, Any]) -> AugmenterConfig:
    """Merge flags over the table [augmenter] of the TOML file over defaults.

    Raises:
        ConfigError: the file has an unknown table or field, or a value is not valid.
    """
    from embedstore.toml_tables import fields_of, read_tables

    tables = read_tables(options["config_file"], fields_of({AUGMENTER.table: AugmenterConfig}))
    return AUGMENTER.build(tables[AUGMENTER.table], options)
