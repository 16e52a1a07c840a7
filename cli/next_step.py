"""What a command says comes next: a command that works on this store, as it can be typed."""

import shlex
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from embedstore.api import Head, Store


#: The model for whole slides that gives each tile a weight, which a heat map shows.
ATTENDING = "abmil"


def say_export(store: str, opened: "Store", head: "Head") -> None:
    """Say how the predictions of a head are written: as heat maps, or as a table where there is nothing to draw, as of
    ready-made tiles, which have no place on a slide, and of a whole slide or patient."""
    on_slides = set(opened.slides["kind"]) != {"tiles"}
    drawn = on_slides and (head.level == "tile" or head.model == ATTENDING)
    written = "png --out maps/" if drawn else f"csv --out {head.name}.csv"
    click.echo(f"next: embedstore export --store {shlex.quote(store)} --head {head.name} --format {written}", err=True)
