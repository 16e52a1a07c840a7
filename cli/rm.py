"""`embedstore rm`."""

import click

from cli.options import json_option, print_json, store_option


@click.command(
    epilog="Example:  embedstore rm --store my-store --patient P042 --yes && embedstore compact --store my-store"
)
@store_option
@click.option("--slide", "slides", multiple=True, metavar="ID", help="A slide; may be given several times.")
@click.option("--patient", "patients", multiple=True, metavar="ID", help="All slides of a patient; likewise.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def command(store: str, slides: tuple[str, ...], patients: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Take slides or patients out of a store: rows, labels and records.

    They are gone from reads and searches at once, and from the files after `embedstore compact --keep-hours 0`.
    """
    from embedstore.store import Store

    if not slides and not patients:
        raise click.UsageError("name what to remove with --slide or --patient")
    opened = Store.open(store)
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
