"""`embedstore access-log`."""

import datetime as dt
from typing import Any

import click

from cli.group import Group
from cli.options import confirm, json_option, print_json, print_table
from cli.times import Time
from embedstore.errors import ConfigError


@click.group(
    cls=Group, invoke_without_command=True, epilog="Example:  embedstore access-log --store my-store --since 7d"
)
@click.option("--store", "-s", metavar="PATH|URI", help="The store whose log to show.")
@click.option("--slide", metavar="ID", help="Only who looked at or changed this slide.")
@click.option("--caller", metavar="NAME", help="Only what this token or person did.")
@click.option("--action", metavar="ACTION", help="Only this action, such as look.")
@click.option("--since", type=Time(), help="Only from this time on.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    store: str | None,
    slide: str | None,
    caller: str | None,
    action: str | None,
    since: dt.datetime | None,
    as_json: bool,
) -> None:
    """Show who changed a store through a service, and who looked at which slide; or with a command, purge old rows."""
    if context.invoked_subcommand is not None:
        return
    if store is None:
        raise click.UsageError("name the store with --store")
    from embedstore import api

    rows = api.open(store).access_log.table(slide=slide, caller=caller, action=action, since=since)
    if as_json:
        print_json(rows.to_pylist())
    elif not len(rows):
        click.echo("no row; `embedstore serve` writes the log")
    else:
        shown = ("at", "caller", "address", "action", "slide_id", "subject", "detail", "outcome")
        print_table([[_cell(row[name]) for name in shown] for row in rows], [*shown[:4], "slide", *shown[5:]])


@command.command("purge", epilog="Example:  embedstore access-log purge --store my-store --before 3650d --yes")
@click.option("--store", "-s", required=True, metavar="PATH|URI", help="The store whose log to purge.")
@click.option("--before", required=True, type=Time(), help="Delete the rows from before this time.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def purge(store: str, before: dt.datetime, yes: bool) -> None:
    """Delete old rows of the access log; a row that says so is added."""
    from embedstore import api

    opened = api.open(store)
    if before > dt.datetime.now(dt.UTC):
        raise ConfigError(f"--before is {before:%Y-%m-%d %H:%M} UTC, which is yet to come; name a time that is past")
    if not yes:
        confirm(f"Delete the rows of the access log of {opened.uri} from before {before:%Y-%m-%d %H:%M} UTC?")
    click.echo(f"{opened.access_log.purge(before):,} rows deleted", err=True)


def _cell(value: Any) -> Any:
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, dt.datetime) else value
