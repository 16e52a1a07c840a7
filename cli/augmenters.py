"""`embedstore augmenters`."""

import click

from cli.options import json_option, print_json, print_table, store_option


@click.group(invoke_without_command=True, epilog="Example:  embedstore augmenters --store my-store")
@click.option("--store", "-s", metavar="PATH|URI", help="The store whose augmenters to list.")
@json_option
@click.pass_context
def command(context: click.Context, store: str | None, as_json: bool) -> None:
    """List the latent augmenters of a store, or with a command show one or remove it."""
    if context.invoked_subcommand is not None:
        return
    if store is None:
        raise click.UsageError("name the store with --store")
    from embedstore import api

    opened = api.open(store)
    augmenters = opened.augmenters
    if as_json:
        print_json([augmenter.as_record() for augmenter in augmenters])
        return
    if not augmenters:
        click.echo(f"{opened.uri} has no augmenter yet; `embedstore fit-augmenter --store {store}` makes one")
        return
    from heads.augmentation.augmenter_report import ALL

    rows = []
    for augmenter in augmenters:
        record = augmenter.record
        scores = record.report.scores[ALL]
        cosines = (f"{metric.value:.4f}" for metric in (scores.original, scores.predicted))
        better = "yes" if record.beats_original else "NO"
        rows.append([augmenter.name, record.extractor.name, augmenter.collection, record.tiles, *cosines, better])
    print_table(rows, ["augmenter", "extractor", "views of", "tiles", "cosine, tile's own", "predicted", "better"])


@command.command("show", epilog="Example:  embedstore augmenters show uni-augmenter --store my-store")
@click.argument("name")
@store_option
@json_option
def show(name: str, store: str, as_json: bool) -> None:
    """Show an augmenter's card: how well it predicts views, by transform, and how it was made."""
    from embedstore import api

    augmenter = api.open(store).augmenter(name)
    if as_json:
        print_json(augmenter.as_record())
        return
    from cli.augmenter_card import print_augmenter

    print_augmenter(augmenter)


@command.command("rm", epilog="Example:  embedstore augmenters rm uni-augmenter --store my-store --yes")
@click.argument("name")
@store_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def remove(name: str, store: str, yes: bool) -> None:
    """Remove an augmenter; heads that were fitted with it stay, but can no longer be fitted again."""
    from embedstore import api

    opened = api.open(store)
    augmenter = opened.augmenter(name)
    if not yes:
        click.confirm(f"Remove augmenter {name} from {opened.uri}?", abort=True, err=True)
    augmenter.remove()
    click.echo(f"{name} removed", err=True)
