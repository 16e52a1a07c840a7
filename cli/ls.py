"""`embedstore ls`."""

from typing import TYPE_CHECKING, Any

import click

from cli.options import collection_option, json_option, print_json, print_table, store_option
from embedstore.extractor_ref import is_known
from embedstore.quantities import human_bytes

if TYPE_CHECKING:
    from embedstore.api import Store


@click.command(epilog="Example:  embedstore ls --store my-store")
@store_option
@collection_option
@click.option("--tiles", type=click.IntRange(1), metavar="N", help="List the first N tiles of the collection instead.")
@click.option("--slide", metavar="ID", help="With --tiles: only tiles of this slide.")
@json_option
def command(store: str, collection: str | None, tiles: int | None, slide: str | None, as_json: bool) -> None:
    """Show the collections of a store: extractor, tiling, slides, tiles and size."""
    from dataclasses import asdict

    from embedstore import api

    opened = api.open(store)
    if tiles is not None:
        _print_tiles(opened, collection, tiles, slide, as_json)
        return
    collections = [opened.collection(collection)] if collection else opened.collections
    rows = [
        {**asdict(chosen.summary()), "encodings": [asdict(facts) for facts in chosen.encodings.values()]}
        for chosen in collections
    ]
    if as_json:
        print_json({"store": opened.uri, "slides": len(opened.slides), "collections": rows})
    elif not rows:
        click.echo(f"{opened.uri} has no collection yet; `embedstore ingest SLIDES --store {store}` makes one")
    else:
        columns = ("name", "extractor", "dim", "tile_px", "mpp", "downsample", "slides", "tiles", "views")
        for row in rows:
            row["extractor"] += "" if is_known(row["digest"]) else " (weights not known)"
        cells = [[*(row[column] for column in columns), human_bytes(row["bytes"]), _map_of(row)] for row in rows]
        print_table(cells, ["collection", *columns[1:], "vectors", "map"])
        encoded = [[row["name"], *_encoding(facts)] for row in rows for facts in row["encodings"]]
        if encoded:
            click.echo()
            print_table(encoded, ["collection", "encoding", "by", "dim", "slides", "lacks"])


def _encoding(facts: dict[str, Any]) -> list[Any]:
    record = facts["record"]
    return [record["ref"]["name"], record["source"], record["ref"]["dim"], facts["slides"], facts["lacking"]]


def _map_of(row: dict[str, Any]) -> str:
    tiles, lacking = row["map_tiles"], row["slides_off_map"]
    return "" if not tiles else f"{tiles:,} tiles" + (f", lacks {lacking:,} slides" if lacking else "")


def _print_tiles(opened: "Store", name: str | None, n: int, slide: str | None, as_json: bool) -> None:
    tiles = opened.collection(name).tiles(slide_id=slide, limit=n)
    if as_json:
        print_json(tiles.to_pylist())
    else:
        print_table([list(row.values()) for row in tiles], tiles.column_names)
