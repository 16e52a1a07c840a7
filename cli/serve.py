"""`embedstore serve`."""

from collections.abc import Mapping
from typing import Any

import click

from cli.flags import Flag, Section
from cli.options import config_option, store_option
from embedstore.access_config import AccessConfig
from embedstore.service_config import ServiceConfig

SERVICE = Section(
    "service",
    ServiceConfig,
    "host",
    Flag("port", type=click.IntRange(0, 65_535)),
    Flag("searches", metavar="N", type=click.IntRange(1)),
    Flag("pictures", metavar="N", type=click.IntRange(1)),
    Flag("slide_cache_gb", metavar="GB"),
    "trust_extractor",
    Flag("warm_tiles", metavar="N", type=click.IntRange(0)),
    Flag("jobs", metavar="N", type=click.IntRange(1)),
    Flag("spool", metavar="FOLDER"),
    Flag("cluster", metavar="ADDRESS"),
)
ACCESS = Section(
    "access",
    AccessConfig,
    "insecure",
    Flag("trust_header", metavar="HEADER"),
    Flag("trusted_proxy", metavar="ADDRESS,…"),
    "trust_role",
    Flag("allow_host", metavar="NAME,…"),
    Flag("allow_origin", metavar="ORIGIN,…"),
    "pseudonyms",
    Flag("pseudonym_key", metavar="FILE"),
    Flag("show_columns", metavar="A,B,…"),
    Flag("access_log", "--no-access-log", help="Do not record who looks at which slide; changes are recorded."),
)


@click.command(epilog="Example:  embedstore serve --store demo/store")
@store_option
@SERVICE
@ACCESS
@config_option
def command(store: str, **options: Any) -> None:
    """Serve a store over HTTP: slides, search, labels, heads and predictions, for programs, notebooks and a page.

    Only this machine reaches it, unless --host names another address, and whoever is on it may do everything, until the
    store has a token (`embedstore token create`). GET /api/openapi.json describes every route.
    """
    from embedstore.service import serve

    def started(url: str, who: str) -> None:
        click.echo(f"serving {store} at {url} (Ctrl-C ends); {who}", err=True)

    serve(store, resolve(options), on_start=started)


def resolve(options: Mapping[str, Any]) -> ServiceConfig:
    """Merge flags over the TOML file, with the tables [service] and [access], over defaults.

    Raises:
        ConfigError: the file has an unknown table or field, or a value is not valid.
    """
    from embedstore.toml_tables import fields_of, read_tables

    fields = fields_of({"service": ServiceConfig, "access": AccessConfig})
    tables = read_tables(options["config_file"], fields)
    config: ServiceConfig = SERVICE.build(tables["service"], options, access=ACCESS.build(tables["access"], options))
    return config
