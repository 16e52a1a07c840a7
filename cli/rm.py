"""`embedstore rm`."""

import click

from cli.options import json_option, print_json, store_option


@click.command(
    epilog="Example:  embedstore rm --store my-store --patient P042 --yes && embedstore compact --store my-store"
)
@store_option
@click.option("--slide", "slides", multiple=True, metavar="ID", help="Remove this slide; repeatable.")
@click.option(
    "--patient", "patients", multiple=True, metavar="ID", help="Remove all slides of this patient; repeatable."
)
@click.option(
    "--views",
    "views",
    multiple=True,
    metavar="COLLECTION",
    help="Remove the stored views of this collection; repeatable.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def command(
    store: str, slides: tuple[str, ...], patients: tuple[str, ...], views: tuple[str, ...], yes: bool, as_json: bool
) -> None:
    """Take slides or patients out of a store: rows, views, labels and records; or the views of a collection alone.

    They are gone from reads and searches at once, and from the files after `embedstore compact --keep-hours 0`.
    """
    from embedstore import api

    if not slides and not patients and not views:
        raise click.UsageError("name what to remove with --slide, --patient or --views")
    opened = api.open(store)
    chosen = opened.find_slides(slides=slides, patients=patients)
    held = {name: opened.count_views(name) for name in views}
    if not yes:
        said = [f"{rows:,} views of {name}" for name, rows in held.items()]
        click.echo("\n".join([*chosen, *said]), err=True)
        what = " and ".join([f"these {len(chosen)} slide(s)"] * bool(chosen) + ["these views"] * bool(held))
        click.confirm(f"Remove {what} from {opened.uri}?", abort=True, err=True)
    dropped = {name: opened.remove_views(name) for name in held}
    removed = opened.remove(slides=chosen) if chosen else {}
    if as_json:
        print_json({"slides": chosen, "rows": removed, "views": dropped})
        return
    for name, rows in dropped.items():
        click.echo(f"{name}: {rows:,} views removed")
    if chosen:
        for name, rows in removed.items():
            click.echo(f"{name}: {rows} tiles removed")
        click.echo(
            f"{len(chosen)} slide(s) removed; `embedstore compact --keep-hours 0` takes them out of the files", err=True
        )
