"""`embedstore index`."""

from typing import Any

import click

from cli.options import collection_option, json_option, print_json, print_table, store_option
from embedstore.quantities import human_bytes


@click.command(epilog="Example:  embedstore index --store my-store")
@store_option
@collection_option
@click.option(
    "--kind", type=click.Choice(["auto", "ivf_rq", "flat"]),
    help="auto: an index above 50,000 tiles; ivf_rq: always; flat: none, every vector is compared. It is kept.",
)  # fmt: skip
@click.option("--partitions", type=click.IntRange(1, 65_536), help="Of the index.  [default: the root of the tiles]")
@click.option("--bits", type=click.IntRange(1, 9), help="Bits a dimension.  [default: 1, or 2 below 128 dimensions]")
@click.option("--rebuild", is_flag=True, help="Build it anew, whatever there is; not where flat was chosen.")
@json_option
def command(
    store: str,
    collection: str | None,
    kind: str | None,
    partitions: int | None,
    bits: int | None,
    rebuild: bool,
    as_json: bool,
) -> None:
    """Bring the search index of collections up to date, or choose another by hand.

    `embedstore ingest` does this at its end; searches find new tiles before, and go on meanwhile.
    """
    import dataclasses

    from embedstore.store import IndexConfig, Store, build_index, choose_index, index_choice, keep_index

    opened = Store.open(store)
    asked: dict[str, Any] = {"kind": kind, "partitions": partitions, "bits": bits}
    asked = {name: value for name, value in asked.items() if value is not None}
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
