"""`embedstore show`."""

from pathlib import Path
from typing import Any

import click

from cli.options import TileId, collection_option, json_option, print_json, save_picture, store_option


@click.command(
    context_settings={"ignore_unknown_options": True},  # half of all tile ids begin with a minus sign
    epilog="Example:  embedstore show --slide synthetic-01-colon.svs --store demo/store",
)
@click.argument("tile", type=TileId(), required=False)
@store_option
@collection_option
@click.option("--slide", metavar="ID", help="Instead of TILE: the first tile of this slide, or the one at --at.")
@click.option("--at", nargs=2, type=int, metavar="X Y", help="With --slide: the tile at this level-0 pixel.")
@click.option("--out", type=click.Path(dir_okay=False), help="File for the picture.  [default: TILE.png]")
@click.option("--no-picture", is_flag=True, help="Only print the row; the slide file is not needed.")
@json_option
def command(
    tile: int | None,
    store: str,
    collection: str | None,
    slide: str | None,
    at: tuple[int, int] | None,
    out: str | None,
    no_picture: bool,
    as_json: bool,
) -> None:
    """Show a tile, by its id TILE or by its place: write its picture as PNG and print its row.

    `embedstore ls --tiles N` lists tile ids.
    """
    from embedstore import api
    from embedstore.errors import SlideNotInStoreError
    from embedstore.output_files import require_picture

    if (tile is None) == (slide is None):
        raise click.UsageError("name a tile by its id, or a slide with --slide")
    if out is not None and not no_picture:
        require_picture(out, option="--out")
    opened = api.open(store)
    if slide is not None:
        row = opened.tile_at(slide, at, collection=collection)
    else:
        row = opened.tile(int(tile or 0), collection=collection)
    tile = row["tile_id"]
    try:
        slide_row = opened.slide(row["slide_id"])
    except SlideNotInStoreError:  # a run that crashed may have left tiles without it, until the next run
        slide_row = {}
    vector = row.pop("vector")
    shown: dict[str, Any] = {**row, "vector_dim": len(vector), "slide": slide_row}
    if not no_picture:
        path = Path(out or f"{tile}.png")
        picture = opened.tile_picture(row)
        save_picture(picture, path)
        shown["picture"] = str(path)
    if as_json:
        print_json({**shown, "vector": vector})
        return
    for name, value in shown.items():
        if name == "slide":
            for column, entry in slide_row.items():
                if entry is not None and column != "slide_id":
                    click.echo(f"slide.{column:<15} {entry}")
        else:
            click.echo(f"{name:<21} {value}")
