"""`embedstore ls`."""

import click

from cli.options import collection_option, json_option, print_json, print_table, store_option
from embedstore.quantities import human_bytes


@click.command(epilog="Example:  embedstore ls --store my-store")
@store_option
@collection_option
@click.option("--tiles", type=click.IntRange(1), metavar="N", help="Show the first N tiles of the collection instead.")
@click.option("--slide", metavar="ID", help="With --tiles: those of one slide.")
@json_option
def command(store: str, collection: str | None, tiles: int | None, slide: str | None, as_json: bool) -> None:
    """Show the collections of a store: extractor, tiling, slides, tiles and size."""
    from embedstore.store import Store

    opened = Store.open(store)
    if tiles is not None:
        _print_tiles(opened, collection, tiles, slide, as_json)
        return
    names = [collection] if collection else opened.collection_names()
    rows = [_describe(opened, name) for name in names]
    if as_json:
        print_json({"store": opened.uri, "slides": len(opened.ledger.slides()), "collections": rows})
    elif not rows:
        click.echo(f"{opened.uri} has no collection yet; `embedstore ingest SLIDES --store {store}` makes one")
    else:
        columns = ("name", "extractor", "dim", "tile_px", "mpp", "slides", "tiles", "views")
        cells = [[*(row[column] for column in columns), human_bytes(row["bytes"])] for row in rows]
        print_table(cells, ["collection", *columns[1:], "vectors"])


def _describe(store, name: str) -> dict:
    collection, views = store.collection(name), store.views(name)
    record = collection.record()
    return {
        "name": name,
        "table": store.table_name(name),
        "extractor": record["extractor"]["name"],
        "digest": record["extractor"]["digest"],
        "dim": collection.dim,
        "tile_px": record["tiling"]["tile_px"],
        "mpp": record["tiling"]["mpp"],
        "slides": len(collection.slides()),
        "tiles": len(collection),
        "views": views.config().count if views.exists() else 0,
        "slides_with_views": len(views.slides()),
        "bytes": collection.vectors_bytes(),
        "version": collection.dataset().version,
    }


def _print_tiles(store, name: str | None, n: int, slide: str | None, as_json: bool) -> None:
    columns = ["tile_id", "slide_id", "x", "y", "edge_l0", "name", "tissue"]
    from embedstore.store.table import sql_string

    where = None if slide is None else f"slide_id = {sql_string(slide)}"
    rows = store.collection(name).tiles(where=where, columns=columns, limit=n).to_pylist()
    if as_json:
        print_json(rows)
    else:
        print_table([[row[c] for c in columns] for row in rows], columns)
