"""`embedstore compact`."""

import click

from cli.json_log import log_json_option
from cli.options import json_option, print_json, store_option
from embedstore.quantities import human_bytes


@click.command(epilog="Example:  embedstore compact --store my-store --keep-hours 0")
@store_option
@click.option(
    "--keep-hours",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Keep versions younger than this; 0 deletes removed rows from disk now (readers of old versions fail).",
)
@log_json_option
@json_option
def command(store: str, keep_hours: float, as_json: bool) -> None:
    """Merge small files, purge removed rows and forget old versions."""
    from embedstore import api

    report = api.open(store).compact(keep_hours=keep_hours)
    if as_json:
        print_json(report)
        return
    for name, sizes in report.items():
        line = f"{name}: {sizes['rows']} tiles, fragments {sizes['fragments_before']} → {sizes['fragments']}"
        line += f", versions {sizes['versions_before']} → {sizes['versions']}"
        if "bytes" in sizes:
            line += f", {human_bytes(sizes['bytes_before'])} → {human_bytes(sizes['bytes'])}"
        click.echo(line)
