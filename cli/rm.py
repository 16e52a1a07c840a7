"""`embedstore rm`."""

import click

from cli.options import json_option, print_json, store_option


@click.command(
    epilog="Example:  embedstore rm --store my-store --patient P042 --yes && embedstore compact --store my-store"
)
@store_option
@click.option("--slide", "slides", multiple=True, metavar="ID", help="A slide; may be given several times.")
@click.option("--patient", "patients", multiple=True, metavar="ID", help="All slides of a patient; likewise.")
@click.option(
    "--views", "views", multiple=True, metavar="COLLECTION", help="The stored views of a collection; likewise."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def command(
    store: str, slides: tuple[str, ...], patients: tuple[str, ...], views: tuple[str, ...], yes: bool, as_json: bool
) -> None:
    """Take slides or patients out of a store: rows, views, labels and records; or the views of a collection alone.

    They are gone from reads and searches at once, and from the files after `embedstore compact --keep-hours 0`.
    """
    from embedstore.store import Store

    if not slides and not patients and not views:
        raise click.UsageError("name what to remove with --slide, --patient or --views")
    opened = Store.open(store)
    for name in views:
        rows = len(opened.views(opened.collection(name).name))
        if not yes:
            click.confirm(f"Remove {rows:,} views of {name} from {opened.uri}?", abort=True, err=True)
        opened.remove_views(name)
        click.echo(f"{name}: {rows:,} views removed", err=as_json)
    if not slides and not patients:
        return
    chosen = opened.resolve_slides(slides=slides, patients=patients)
    if not yes:
        click.echo("\n".join(chosen), err=True)
        click.confirm(f"Remove these {len(chosen)} slide(s) from {opened.uri}?", abort=True, err=True)
    removed = opened.remove(chosen)
    if as_json:
        print_json({"slides": chosen, "rows": removed})
    else:
        for name, rows in removed.items():
            click.echo(f"{name}: {rows} tiles removed")
        click.echo(
            f"{len(chosen)} slide(s) removed; `embedstore compact --keep-hours 0` takes them out of the files", err=True
        )
