"""`embedstore suggest`."""

from pathlib import Path
from typing import Any

import click

from cli.flags import Flag, Section
from cli.options import collection_option, json_option, print_found, save_picture, store_option
from heads.config import SuggestConfig

SUGGEST = Section(
    "suggest",
    SuggestConfig,
    Flag("n", "-n"),
    "strategy",
    Flag(
        "where", metavar="SQL", help="Only tiles that satisfy this; `embedstore search --list-columns` lists columns."
    ),
    Flag("per_slide", metavar="N", type=click.IntRange(1)),
    "pool",
    Flag("label", metavar="CLASS"),
    "seed",
)


@click.command(epilog="Example:  embedstore suggest --store my-store --head tumour-linear -n 20 --montage next.png")
@store_option
@click.option("--head", metavar="NAME", help="The head that is to be taught; `embedstore heads` lists them.")
@collection_option
@click.option("--task", metavar="TASK", help="Without --head: leave out the tiles that labels of this task are about.")
@SUGGEST
@click.option("--montage", type=click.Path(path_type=Path), metavar="PNG", help="Draw the tiles.")
@json_option
def command(
    store: str,
    head: str | None,
    collection: str | None,
    task: str | None,
    montage: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Propose the tiles whose labels would teach most, spread over slides and patients.

    With --head, those that it is least certain of and that differ from each other. Without one, typical tiles of the
    collection, to begin with. Tiles that have a label already are left out.
    """
    from embedstore import api
    from embedstore.output_files import require_picture

    if montage is not None:
        require_picture(montage, option="--montage")  # fail before the work, not after it
    opened, settings = api.open(store), SUGGEST.given(options)
    if head is not None and (collection or task):
        raise click.UsageError("--head says which collection and task; leave --collection and --task out")
    if head is None:
        chosen = opened.collection(collection)
        found = chosen.suggest(task=task, **settings)
    else:
        fitted = opened.head(head)
        chosen = opened.collection(fitted.collection)
        found = fitted.suggest(**settings)
    if montage is not None and len(found):
        save_picture(chosen.contact_sheet(found), montage)
    print_found(found, collection=chosen.name, as_json=as_json)
