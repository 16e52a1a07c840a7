"""`embedstore fit-head`."""

import shlex
import sys
from typing import TYPE_CHECKING, Any

import click

from cli.fit_settings import AUGMENT_KINDS, FIT, JOIN, SPLIT, resolve_fit
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
from embedstore.quantities import human_time

if TYPE_CHECKING:
    from embedstore.api import Head


@click.command(epilog="Example:  embedstore fit-head --store my-store --task tumour --model linear")
@store_option
@collection_option
@click.option(
    "--task",
    "-t",
    "tasks",
    multiple=True,
    metavar="NAME",
    help="Task whose labels to fit; repeatable. Several share one pass.",
)
@click.option("--name", "names", multiple=True, help="Name of each task's head.  [default: TASK-MODEL]")
@click.option("--replace", "replace_heads", is_flag=True, help="Replace a head of the same name.")
@where_option
@click.option("--again", metavar="HEAD", help="Fit this head again from its record and compare; nothing is saved.")
@config_option
@FIT
@click.option("--augment", "augment", multiple=True, metavar="KIND=STRENGTH,…",
              help=f"A policy of {', '.join(AUGMENT_KINDS)}, such as noise=0.3,views=0.5; or `none`; or `search`, for "
              "several. Repeatable; the best by validation is kept.  [default: none, or the collection's views "
              "(or augmenter) where validation tells that they help]")  # fmt: skip
@JOIN
@SPLIT
@log_json_option
@json_option
def command(
    store: str,
    collection: str | None,
    tasks: tuple[str, ...],
    names: tuple[str, ...],
    replace_heads: bool,
    where: str | None,
    again: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Fit a head for each task from stored vectors; no pixel is read.

    Labels come from `embedstore label import`, or from folders of ready-made tiles. No patient is on both sides of a
    split. The printed metrics are of tiles that the head was not fitted on, with 95 % intervals over patients.
    """
    if (again is None) == (not tasks):
        raise click.UsageError("name a task with --task (`embedstore label ls` lists them), or a head with --again")
    from embedstore import api

    opened, config = api.open(store), resolve_fit(options)
    if again is not None:
        _fit_again(opened.head(again), as_json)
        return
    heads = opened.fit_heads(
        tasks, config, names=names or None, collection=collection, where=where, replace=replace_heads
    )
    print_notes(dict.fromkeys(note for head in heads for note in head.record.notes))
    if as_json:
        print_json([head.as_record() for head in heads])
        return
    from cli.head_card import print_head

    for head in heads:
        print_head(head, brief=True)
    stages = heads[0].record.seconds
    click.echo(", ".join(f"{stage} {human_time(seconds)}" for stage, seconds in stages.items()), err=True)
    click.echo(f"next: embedstore predict --store {shlex.quote(store)} --head {heads[0].name}", err=True)


def _fit_again(head: "Head", as_json: bool) -> None:
    result = head.fit_again()
    if as_json:
        print_json({"name": head.name, "stored": result.stored, "again": result.again, "same": result.same})
    else:
        click.echo(f"{head.name}: {'the same parameters' if result.same else 'OTHER PARAMETERS'} ({result.again})")
    if not result.same:
        device = head.record.device
        click.echo(
            f"it was fitted on {device} by embedstore {head.record.embedstore}; only the same gives the same numbers",
            err=True,
        )
        sys.exit(1)
