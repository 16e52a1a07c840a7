"""`embedstore index`."""

from typing import Any

import click

from cli.flags import Flag, Section
from cli.json_log import log_json_option
from cli.options import collection_option, json_option, print_json, print_table, store_option
from embedstore.quantities import human_bytes
from embedstore.search_config import IndexConfig

INDEX = Section(
    "index",
    IndexConfig,
    Flag(
        "kind",
        help=f"`auto` keeps an index above {IndexConfig.flat_rows:,} tiles; `ivf_rq` always; `flat` never: every "
        "vector is compared. The collection remembers it.",
        default=f"what was chosen before, else {IndexConfig.kind}",
    ),
    Flag("partitions", type=click.IntRange(1, 65_536)),
    Flag("bits", type=click.IntRange(1, 9)),
)


@click.command(epilog="Example:  embedstore index --store my-store")
@store_option
@collection_option
@INDEX
@click.option("--rebuild", is_flag=True, help="Build the index from scratch, unless `flat` was chosen.")
@log_json_option
@json_option
def command(
    store: str,
    collection: str | None,
    rebuild: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Bring the search index of collections up to date, or choose another index.

    `embedstore ingest` does this at its end. Searches find new tiles even before, and may run meanwhile.
    """
    from dataclasses import asdict

    from embedstore import api
    from embedstore.errors import ConfigError

    opened = api.open(store)
    report = []
    for chosen in [opened.collection(collection)] if collection else opened.collections:
        try:
            index = chosen.update_index(**INDEX.given(options), rebuild=rebuild)
        except ConfigError as error:
            raise click.UsageError(str(error)) from error
        report.append({"collection": chosen.name, "choice": chosen.index_choice, **asdict(index)})
    if as_json:
        print_json(report)
        return
    print_table(
        [[*list(row.values())[:-1], human_bytes(row["size_bytes"])] for row in report],
        ["collection", "choice", "index", "tiles", "indexed", "partitions", "bits", "parts", "size"],
    )
