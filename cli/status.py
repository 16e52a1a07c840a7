"""`embedstore status`."""

from typing import Literal

import click

from cli.options import collection_option, json_option, print_json, print_off_map, print_table, store_option


@click.command(epilog="Example:  embedstore status --store my-store --state failed")
@store_option
@collection_option
@click.option("--slide", metavar="ID", help="Only this slide.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(["done", "empty", "failed"]),
    help="Only slides in this state; repeatable.",
)
@json_option
def command(
    store: str,
    collection: str | None,
    slide: str | None,
    states: tuple[Literal["done", "empty", "failed"], ...],
    as_json: bool,
) -> None:
    """Show the outcome for each slide: state, tiles, reader, seconds, and the reason of a failure."""
    from embedstore import api

    opened = api.open(store)
    rows = opened.outcomes(collection=collection, states=states, slide_id=slide).to_pylist()
    if as_json:
        print_json(rows)
        return
    if not rows:
        click.echo("no slide matches")
        return
    print_table(
        [
            [
                row["slide_id"],
                row["collection"],
                row["state"],
                row["tiles"],
                row["unreadable"],
                row["reader"],
                sum(row[f"{stage}_s"] or 0.0 for stage in ("plan", "read", "extract", "write")),
                row["reason"] or "; ".join(row["warnings"] or ()),
            ]
            for row in rows
        ],
        ["slide", "collection", "state", "tiles", "unreadable", "reader", "seconds", "reason or warnings"],
    )
    counts = {state: sum(row["state"] == state for row in rows) for state in ("done", "empty", "failed")}
    click.echo(", ".join(f"{n} {state}" for state, n in counts.items()), err=True)
    for chosen in opened.collections if collection is None else [opened.collection(collection)]:
        if lacking := chosen.summary().slides_off_map:
            print_off_map(chosen.name, lacking)
