"""`embedstore doctor`."""

import sys

import click

from cli.options import json_option, print_json


@click.command(epilog="Example:  embedstore doctor --store my-store")
@click.option("--store", "-s", metavar="PATH|URI", help="Also check this store.")
@click.option("--address", metavar="ADDR", help="Also check this Ray cluster.")
@json_option
def command(store: str | None, address: str | None, as_json: bool) -> None:
    """Check versions, devices, readers, and access to the store, the hub and the cluster."""
    from embedstore import api

    checks = api.check_environment(store, address=address)
    if as_json:
        print_json({c.name: {"check": c.name, "ok": c.ok, "needed": c.needed, "found": c.found} for c in checks})
    else:
        for check in checks:
            verdict = "ok  " if check.ok else "FAIL" if check.needed else "note"
            click.echo(f"{verdict}  {check.name}: {check.found}")
    if any(not check.ok and check.needed for check in checks):
        sys.exit(1)
