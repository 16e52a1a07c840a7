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
    multiple=True,
    metavar="COLLECTION",
    help="Remove the stored views of this collection; repeatable.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def command(
    store: str, slides: tuple[str, ...], patients: tuple[str, ...], views: tuple[str, ...], yes: bool, as_json: bool
) -> None:
    """Remove slides or patients from a store: rows, views, labels and records; or only the views of a collection.

    They are gone from reads and searches at once, and from the files after `embedstore compact --keep-hours 0`.
    """
    from embedstore import api

    if not slides and not patients and not views:
        raise click.UsageError("name what to remove with --slide, --patient or --views")
    opened = api.open(store)
    chosen = opened.find_slides(slides=slides, patients=patients)
    stored_views = {name: opened.count_views(name) for name in views}
    if not yes:
        lines = [*chosen, *(f"{count:,} views of {name}" for name, count in stored_views.items())]
        click.echo("\n".join(lines), err=True)
        what = " and ".join([f"these {len(chosen)} slide(s)"] * bool(chosen) + ["these views"] * bool(views))
        click.confirm(f"Remove {what} from {opened.uri}?", abort=True, err=True)
    removed_views = {name: opened.remove_views(name) for name in stored_views}
    removed = opened.remove(slides=chosen) if chosen else {}
    if as_json:
        print_json({"slides": chosen, "rows": removed, "views": removed_views})
        return
    for name, count in removed_views.items():
        click.echo(f"{name}: {count:,} views removed")
    if chosen:
        for name, rows in removed.items():
            click.echo(f"{name}: {rows} tiles removed")
        click.echo(
            f"{len(chosen)} slide(s) removed; `embedstore compact --keep-hours 0` removes them from the files", err=True
        )
