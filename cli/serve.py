"""`embedstore serve`."""

from typing import Any

import click

from cli.flags import Flag, Section
from cli.options import store_option
from embedstore.service_config import ServiceConfig

SERVICE = Section(
    "service",
    ServiceConfig,
    "host",
    Flag("port", type=click.IntRange(0, 65_535)),
    Flag("searches", metavar="N", type=click.IntRange(1)),
    Flag("pictures", metavar="N", type=click.IntRange(1)),
    "trust_extractor",
    Flag("warm_tiles", metavar="N", type=click.IntRange(0)),
    Flag("jobs", metavar="N", type=click.IntRange(1)),
    Flag("cluster", metavar="ADDRESS"),
)


@click.command(epilog="Example:  embedstore serve --store demo/store")
@store_option
@SERVICE
def command(store: str, **options: Any) -> None:
    """Serve a store over HTTP: slides, search, labels, heads and predictions, for programs, notebooks and a page.

    Only this machine reaches it, unless --host names another address. GET /api/openapi.json describes every route.
    """
    from embedstore.service import serve

    config = ServiceConfig(**SERVICE.given(options))
    serve(store, config, on_start=lambda url: click.echo(f"serving {store} at {url} (Ctrl-C ends)", err=True))
