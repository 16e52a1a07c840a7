"""`embedstore status`."""

import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import click

from cli.options import collection_option, json_option, print_json, print_off_map, print_table, store_option
from embedstore.quantities import human_time

if TYPE_CHECKING:
    from embedstore.api import Store

#: Pause between two looks at the runs, seconds: they write how far they are every ten seconds or so.
LOOK_S = 2.0
#: Pause between two tables where stdout is no terminal, seconds.
PRINT_S = 10.0


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
@click.option("--runs", is_flag=True, help="Show the ingests instead: those that run, and how earlier ones ended.")
@click.option(
    "--watch", is_flag=True, help="Show the ingests that run, again and again, until none does; from any machine."
)
@json_option
def command(
    store: str,
    collection: str | None,
    slide: str | None,
    states: tuple[Literal["done", "empty", "failed"], ...],
    runs: bool,
    watch: bool,
    as_json: bool,
) -> None:
    """Show the outcome for each slide: state, tiles, reader, seconds, and the reason of a failure."""
    from embedstore import api

    opened = api.open(store)
    if (runs or watch) and (slide or states):
        raise click.UsageError("--runs and --watch are about ingests, --slide and --state about slides; give one kind")
    if watch:
        _watch(opened, collection, as_json)
        return
    if runs:
        _print_runs(_runs(opened, collection), as_json)
        return
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
        for name, facts in chosen.encodings.items():
            if facts.lacking:
                click.echo(
                    f"{facts.lacking:,} slide(s) of {chosen.name} are not encoded by {name}, or changed since; "
                    f"`embedstore encode-slides --collection {chosen.name} --encoder {name}` encodes them",
                    err=True,
                )


def _runs(store: "Store", collection: str | None) -> list[dict[str, Any]]:
    return [row for row in store.runs.to_pylist() if collection is None or collection in row["collections"]]


def _print_runs(rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json([{**row, "settings": json.loads(row["settings"])} for row in rows])
    elif rows:
        _print_table(rows)
    else:
        click.echo("no ingest has run")


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    print_table(
        [
            [
                row["run_id"], row["state"], f"{row['user'] or '?'}@{row['host']}:{row['pid']}",
                ", ".join(row["collections"]), f"{row['done'] + row['elsewhere'] + row['empty']}/{row['slides']}",
                row["failed"], row["in_hand"], row["tiles"], round(row["tiles_per_s"]), human_time(row["seconds"]),
                human_time(row["left_s"]) if row["state"] == "running" and row["left_s"] is not None else "",
                row["error"] or "",
            ]
            for row in rows
        ],
        [
            "run", "state", "who", "collections", "slides", "failed", "in hand", "tiles", "tiles/s", "time", "left",
            "error",
        ],
    )  # fmt: skip


def _watch(store: "Store", collection: str | None, as_json: bool) -> None:
    """Show the runs that run until none does; then how those ended that were seen."""
    seen: set[str] = set()
    shown, again_at = "", 0.0
    while True:
        rows = _runs(store, collection)
        running = [row for row in rows if row["state"] == "running"]
        seen |= {row["run_id"] for row in running}
        chosen = [row for row in rows if row["run_id"] in seen]
        state = json.dumps(chosen, default=str)
        if as_json and state != shown:
            for row in chosen:
                left = {name: value for name, value in row.items() if name != "settings"}
                click.echo(json.dumps(left, ensure_ascii=False, default=lambda value: value.isoformat()))
        elif state != shown and chosen and (sys.stdout.isatty() or not running or time.monotonic() > again_at):
            if sys.stdout.isatty():
                click.clear()
            _print_table(chosen)
            again_at = time.monotonic() + PRINT_S
        shown = state
        if not running:
            click.echo("no ingest is running", err=True)
            return
        time.sleep(LOOK_S)
