"""`embedstore fit-augmenter`."""

from typing import Any

import click

from cli.flags import Section
from cli.options import collection_option, config_option, json_option, print_json, store_option
from heads.config import AugmenterConfig

AUGMENTER = Section("augmenter", AugmenterConfig, "steps", "width", "layers", "seed")


@click.command(epilog="Example:  embedstore fit-augmenter --store my-store")
@store_option
@collection_option
@click.option("--name", help="What to call it.  [default: COLLECTION-augmenter]")
@click.option("--replace", is_flag=True, help="One of the same name gives way.")
@click.option("--force", is_flag=True, help="Save it even where it is no better than the tile's own vector.")
@click.option("--where", metavar="SQL", help="Only slides with such columns, as in \"stain = 'HE'\".")
@config_option
@AUGMENTER
@json_option
def command(
    store: str,
    collection: str | None,
    name: str | None,
    replace: bool,
    force: bool,
    where: str | None,
    config_file: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train a small network that takes a tile's vector to that of the tile augmented.

    It learns from the views that `embedstore ingest --views` stored, is judged on patients that it has not seen, and is
    refused where it predicts no better than the untouched vector. `fit-head --augment learned=0.5` uses it, for every
    tile of the same extractor, with views or not.
    """
    from heads.devices import prepare_jax

    config = _config(config_file, options)
    prepare_jax()
    from embedstore.store import Store
    from heads.augmentation.augmenter_fit import fit_augmenter

    opened = Store.open(store)
    made = fit_augmenter(
        opened, opened.collection(collection), config, name=name, force=force, replace=replace, where=where,
        on_progress=lambda progress: click.echo(progress.message, err=True),
    )  # fmt: skip
    for note in made.record["notes"]:
        click.echo(f"note: {note}", err=True)
    if as_json:
        print_json({"name": made.name, "collection": made.collection, "digest": made.digest, **made.record})
        return
    from cli.augmenter_card import print_augmenter

    print_augmenter(made, brief=True)
    click.echo(f"next: embedstore fit-head --store {store} --task TASK --augment none --augment learned=0.5", err=True)


def _config(path: str | None, options: dict[str, Any]) -> AugmenterConfig:
    """Defaults < file < flags."""
    from embedstore.toml_tables import fields_of, read_tables

    tables = read_tables(path, fields_of({AUGMENTER.table: AugmenterConfig}))
    return AugmenterConfig(**AUGMENTER.merged(tables[AUGMENTER.table], options))
