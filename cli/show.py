"""`embedstore show`."""

from pathlib import Path
from typing import Any

import click

from cli.options import collection_option, json_option, print_json, store_option


@click.command(
    context_settings={"ignore_unknown_options": True},  # half of all tile ids begin with a minus sign
    epilog="Example:  embedstore show 4611686018427387904 --store my-store --out tile.png",
)
@click.argument("tile", type=int)
@store_option
@collection_option
@click.option("--out", type=click.Path(dir_okay=False), help="Where to write the picture.  [default: TILE.png]")
@click.option("--no-picture", is_flag=True, help="The row alone; the slide need not be at hand.")
@json_option
def command(tile: int, store: str, collection: str | None, out: str | None, no_picture: bool, as_json: bool) -> None:
    """Show the tile with id TILE: write its picture as PNG and print its row.

    Tile ids stand in `embedstore ls --tiles N`.
    """
    from embedstore.store import Store

    opened = Store.open(store)
    row = opened.tile(tile, collection=collection)
    slide = next((s for s in opened.ledger.slides() if s["slide_id"] == row["slide_id"]), {})
    vector = row.pop("vector")
    shown: dict[str, Any] = {**row, "vector_dim": len(vector), "slide": slide}
    if not no_picture:
        from PIL import Image

        from embedstore.exchange import tile_pictures

        path = Path(out or f"{tile}.png")
        Image.fromarray(tile_pictures(opened, row["collection"], [row])[0]).save(path)
        shown["picture"] = str(path)
    if as_json:
        print_json({**shown, "vector": vector})
        return
    for name, value in shown.items():
        if name == "slide":
            for column, entry in slide.items():
                if entry is not None and column != "slide_id":
                    click.echo(f"slide.{column:<15} {entry}")
        else:
            click.echo(f"{name:<21} {value}")
