"""What a command says comes next: a command that works on this store, as it can be typed."""

import shlex
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from embedstore.api import Store


def say_export(store: str, opened: "Store", head: str) -> None:
    """Say how the predictions of a head are written: as heat maps, or of ready-made tiles, which have no place on a
    slide, as a table."""
    on_slides = set(opened.slides["kind"]) != {"tiles"}
    written = "png --out maps/" if on_slides else f"csv --out {head}.csv"
    click.echo(f"next: embedstore export --store {shlex.quote(store)} --head {head} --format {written}", err=True)
