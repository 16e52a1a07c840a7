"""`embedstore index`."""

from typing import Any

import click

from cli.flags import Flag, Section
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
@click.option("--rebuild", is_flag=True, help="Build it anew, whatever there is; not where flat was chosen.")
@json_option
def command(
    store: str,
    collection: str | None,
    rebuild: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Bring the search index of collections up to date, or choose another by hand.

    `embedstore ingest` does this at its end; searches find new tiles before, and go on meanwhile.
    """
    import dataclasses

    from embedstore.store import Store, build_index, choose_index, index_choice, keep_index

    opened = Store.open(store)
    asked = INDEX.given(options)
    report = []
    for name in [collection] if collection else opened.collection_names():
        chosen = opened.collection(name)
        with opened.lease(name, wait_s=0):
            if asked:
                before = {**dataclasses.asdict(index_choice(chosen)), **asked}
                if before["kind"] == "flat" and asked.keys() != {"kind"}:
                    raise click.UsageError(
                        f"collection {name} is to have no index, so there are no partitions or bits to choose; "
                        "add --kind ivf_rq or auto"
                    )
                facts = choose_index(chosen, IndexConfig(**before))
            elif rebuild and index_choice(chosen).kind != "flat":
                facts = build_index(chosen)
            else:
                facts = keep_index(chosen)
        report.append({"collection": name, "choice": index_choice(chosen).kind, **dataclasses.asdict(facts)})
    if as_json:
        print_json(report)
        return
    print_table(
        [[*list(row.values())[:-1], human_bytes(row["size_bytes"])] for row in report],
        ["collection", "choice", "index", "tiles", "indexed", "partitions", "bits", "parts", "size"],
    )
