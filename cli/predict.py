"""`embedstore predict`."""

import time

import click

from cli.json_log import log_json_option
from cli.next_step import say_export
from cli.options import json_option, print_json, slides_option, store_option, where_option
from embedstore.quantities import human_time


@click.command(epilog="Example:  embedstore predict --store my-store --head tumour-linear")
@store_option
@click.option("--head", required=True, metavar="NAME", help="Name of the head; `embedstore heads` lists them.")
@slides_option
@where_option
@click.option(
    "--collection",
    "-c",
    metavar="NAME",
    help="A collection of the same extractor.  [default: the one that the head was fitted on]",
)
@click.option(
    "--replace", is_flag=True, help="Replace all earlier predictions of the head, of whatever collection and slides."
)
@log_json_option
@json_option
def command(
    store: str,
    head: str,
    slides: tuple[str, ...],
    where: str | None,
    collection: str | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Run a head over a collection and store its predictions; no pixel is read.

    Earlier predictions for the same slides are replaced; those for other slides stay. A head has predictions of one
    collection at a time. `embedstore export` writes them to files.
    """
    from embedstore import api

    began = time.monotonic()
    opened = api.open(store)
    fitted = opened.head(head)
    result = fitted.predict(slides=slides, where=where, collection=collection, replace=replace)
    seconds = time.monotonic() - began
    if as_json:
        print_json({**vars(result), "seconds": round(seconds, 3)})
        return
    shares = ", ".join(f"{name} {share:.1%}" for name, share in result.shares.items())
    click.echo(f"{result.head}: {result.rows:,} rows of {result.slides:,} slide(s) in {human_time(seconds)}: {shares}")
    say_export(store, opened, fitted)
