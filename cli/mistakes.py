"""`embedstore mistakes`."""

from pathlib import Path
from typing import Any

import click

from cli.flags import Flag, Section
from cli.options import json_option, print_found, save_picture, store_option
from heads.config import MistakesConfig

MISTAKES = Section(
    "mistakes",
    MistakesConfig,
    Flag("n", "-n"),
    Flag(
        "where", metavar="SQL", help="Only tiles that satisfy this; `embedstore search --list-columns` lists columns."
    ),
    Flag("label", metavar="CLASS"),
    Flag("predicted", metavar="CLASS"),
    "part",
)


@click.command(epilog="Example:  embedstore mistakes --store my-store --head tumour-linear -n 20 --montage check.png")
@store_option
@click.option("--head", required=True, metavar="NAME", help="The head; `embedstore heads` lists them.")
@MISTAKES
@click.option("--montage", type=click.Path(path_type=Path), metavar="PNG", help="Draw the tiles.")
@json_option
def command(store: str, head: str, montage: Path | None, as_json: bool, **options: Any) -> None:
    """List the labelled tiles that a head takes for another class, the most certain first, and whose the labels are.

    A tile that the head was tested on in one of its folds is predicted by the networks of that fold alone, which have
    not seen its label. Either the label is wrong, or the head has something to learn there.
    """
    from embedstore import api
    from embedstore.output_files import require_picture

    if montage is not None:
        require_picture(montage, option="--montage")  # fail before the work, not after it
    opened = api.open(store)
    fitted = opened.head(head)
    found = fitted.mistakes(**MISTAKES.given(options))
    if montage is not None and len(found):
        save_picture(opened.collection(fitted.collection).contact_sheet(found), montage)
    print_found(found, collection=fitted.collection, as_json=as_json)
