"""`embedstore token`."""

import datetime as dt
from typing import Any

import click

from cli.group import Group
from cli.options import confirm, json_option, print_json, print_table, store_option
from cli.times import Duration
from embedstore.access_config import ROLES, Role


@click.group(cls=Group, epilog="Example:  embedstore token create --store my-store --name ada --role label")
def command() -> None:
    """Make, list and revoke tokens, by which a service knows who asks it and what they may do."""


@command.command(
    "create", epilog="Example:  embedstore token create --store my-store --name ada --role label --expires 90d"
)
@store_option
@click.option("--name", required=True, metavar="NAME", help="Whose it is: the author of labels, and in the access log.")
@click.option(
    "--role", type=click.Choice(ROLES), default="read", show_default=True,
    help="What they may do: read; also label; also fit heads, predict and export; or everything.",
)  # fmt: skip
@click.option(
    "--project", metavar="SQL", help="Only slides whose row satisfies this can be seen, such as \"cohort = 'A'\"."
)
@click.option("--expires", "expires_in", type=Duration(), help="How long it holds; for ever when left out.")
@json_option
def create(
    store: str, name: str, role: Role, project: str | None, expires_in: dt.timedelta | None, as_json: bool
) -> None:
    """Make a token and print it. It is shown this once: the store keeps a digest, from which it cannot be read."""
    from embedstore import api

    token = api.open(store).tokens.create(name, role=role, project=project, expires_in=expires_in)
    if as_json:
        print_json({"name": name, "role": role, "token": token})
        return
    click.echo(token)
    click.echo("keep it as a password; it cannot be shown again", err=True)


@command.command("ls", epilog="Example:  embedstore token ls --store my-store")
@store_option
@json_option
def list_tokens(store: str, as_json: bool) -> None:
    """List every token that was made: role, project, state, and when it was last used."""
    from embedstore import api

    opened = api.open(store)
    tokens = opened.tokens.table
    if as_json:
        print_json(tokens.to_pylist())
    elif not len(tokens):
        click.echo(f"{opened.uri} has no token yet; `embedstore token create --store {store} --name NAME` makes one")
    else:
        columns = {"created_at": "created", "expires_at": "expires", "used_at": "last used"}
        rows = [[_cell(value) for value in row.values()] for row in tokens]
        print_table(rows, [columns.get(name, name) for name in tokens.column_names])


@command.command("revoke", epilog="Example:  embedstore token revoke ada --store my-store --yes")
@click.argument("name")
@store_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def revoke(name: str, store: str, yes: bool) -> None:
    """End a token; a running service refuses it within two seconds."""
    from embedstore import api

    opened = api.open(store)
    if not yes:
        confirm(f"Revoke the token {name} of {opened.uri}?")
    opened.tokens.revoke(name)
    click.echo(f"{name} revoked", err=True)


def _cell(value: Any) -> Any:
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, dt.datetime) else value
