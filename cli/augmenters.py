"""`embedstore augmenters`: list them, show one, remove one."""

from typing import TYPE_CHECKING

import click

from cli.group import Group
from cli.options import confirm, json_option, print_facts, print_json, print_table, store_option

if TYPE_CHECKING:
    from embedstore.api import Augmenter


@click.group(cls=Group, invoke_without_command=True, epilog="Example:  embedstore augmenters --store my-store")
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
    rows = []
    for augmenter in augmenters:
        record = augmenter.record
        scores = record.report.overall
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
        confirm(f"Remove augmenter {name} from {opened.uri}?")
    augmenter.remove()
    click.echo(f"{name} removed", err=True)


def print_augmenter(augmenter: "Augmenter", *, brief: bool = False) -> None:
    """Print an augmenter; `brief` after fitting, whole for `embedstore augmenters show`."""
    record = augmenter.record
    report = record.report
    verdict = "beats the tile's own vector" if record.beats_original else "NO BETTER than the tile's own vector"
    click.echo(f"{augmenter.name}: latent augmenter for {record.extractor.name}, of views of {augmenter.collection}")
    click.echo(f"on {report.tiles:,} tiles of {report.groups:,} groups that it has not seen: {verdict}")
    rows = [
        [
            name,
            score.views,
            *map(str, (score.original, score.predicted, score.gain, score.transform_gain, score.explained)),
        ]
        for name, score in report.scores.items()
        if score.views
    ]
    print_table(rows, ["cosine to the view", "views", "tile's own", "predicted", "gain", "transform", "explained"])
    click.echo("transform: what the right parameters bring over another view's; explained: share of the squared change")
    if brief:
        return
    click.echo()
    parts = ", ".join(f"{name} {part.tiles:,} of {part.groups:,}" for name, part in record.parts.items())
    print_facts(
        ("digest", augmenter.digest),
        ("fitted", f"{augmenter.created_at:%Y-%m-%d %H:%M} UTC by embedstore {record.embedstore} on {record.device}"),
        ("extractor", f"{record.extractor.name} {record.extractor.digest}"),
        ("views", ", ".join(f"{name} {value:g}" for name, value in vars(record.view_config).items())),
        ("parts", f"{parts} groups"),
        ("slides", record.where or "all"),
        ("network", ", ".join(f"{name} {value:g}" for name, value in vars(record.config).items())),
        ("kept", f"parameters of step {record.step:,}"),
        ("seconds", ", ".join(f"{stage} {seconds:g}" for stage, seconds in record.seconds.items())),
        *(("note", note) for note in record.notes),
    )
