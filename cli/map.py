"""`embedstore map`."""

from typing import Any

import click

from cli.flags import Flag, Section
from cli.json_log import log_json_option
from cli.options import collection_option, json_option, print_facts, print_json, save_picture, store_option
from embedstore.map_config import MapConfig

MAP = Section("map", MapConfig, "method", "tiles", "neighbours", Flag("seed"))


@click.command(epilog="Example:  embedstore map --store my-store --out map.png --color-by patient")
@store_option
@collection_option
@MAP
@click.option("--rebuild", is_flag=True, help="Make the map anew where there is one.")
@click.option("--out", type=click.Path(dir_okay=False), help="Draw the map into this file, PNG or JPEG.")
@click.option(
    "--color-by", metavar="WHAT",
    help="With --out: slide, patient, label:TASK, head:NAME, or a column that a filter may name, such as tissue.",
)  # fmt: skip
@log_json_option
@json_option
def command(
    store: str,
    collection: str | None,
    rebuild: bool,
    out: str | None,
    color_by: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Lay the tiles of a collection out in two dimensions: tiles that look alike lie together.

    The map is kept in the store. Where there is one, new slides are placed into it and nothing else moves. Of more
    tiles than --tiles a sample is on the map, drawn evenly over the slides.
    """
    if color_by is not None and out is None:
        raise click.UsageError("--color-by is for a picture; name its file with --out")
    from embedstore import api
    from embedstore.output_files import require_picture

    if out is not None:
        require_picture(out, option="--out")  # fail before the work, not after it
    chosen = api.open(store).collection(collection)
    if color_by is not None:
        from embedstore.maps import column_of
        from embedstore.store import Store

        column_of(Store.open(store), chosen.table, color_by)
    facts = chosen.make_map(rebuild=rebuild, **MAP.given(options))
    shown = {**facts.as_record(), "note": facts.note}
    if out is not None:
        picture = chosen.map_picture(color_by=color_by)
        save_picture(picture, out)
        shown["picture"] = out
    if as_json:
        print_json({"collection": chosen.name, **shown})
        return
    record = facts.record
    print_facts(
        ("collection", chosen.name),
        ("map", facts.note),
        ("made", f"{record.created_at}, {record.library or 'principal components'}, seed {record.config.seed}"),
        ("laid out", f"{record.tiles:,} of {record.candidates:,} tiles of {record.slides:,} slides"),
    )
    if out is not None:
        print_facts(("picture", out))
