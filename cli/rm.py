"""`embedstore rm`."""

from typing import TYPE_CHECKING

import click

from cli.options import confirm, json_option, print_json, store_option

if TYPE_CHECKING:
    from embedstore.api import Collection, Store


@click.command(
    epilog="Example:  embedstore rm --store my-store --patient P042 --yes && embedstore compact --store my-store"
)
@store_option
@click.option("--slide", "slides", multiple=True, metavar="ID", help="Remove this slide; repeatable.")
@click.option(
    "--patient", "patients", multiple=True, metavar="ID", help="Remove all slides of this patient; repeatable."
)
@click.option(
    "--views",
    multiple=True,
    metavar="COLLECTION",
    help="Remove the stored views of this collection; repeatable.",
)
@click.option(
    "--collection",
    "collections",
    multiple=True,
    metavar="NAME",
    help="Remove this collection, with its views, map and encodings; slides and labels stay; repeatable.",
)
@click.option(
    "--map", "maps", multiple=True, metavar="COLLECTION", help="Remove the map of this collection; repeatable."
)
@click.option(
    "--encoding",
    "encodings",
    multiple=True,
    metavar="COLLECTION/NAME",
    help="Remove the vectors of this collection's slides by this encoder; repeatable.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME",
    help="Remove this column of lists of slides; repeatable.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def command(
    store: str,
    slides: tuple[str, ...],
    patients: tuple[str, ...],
    views: tuple[str, ...],
    collections: tuple[str, ...],
    maps: tuple[str, ...],
    encodings: tuple[str, ...],
    columns: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> None:
    """Remove slides or patients from a store: rows, views, labels, records; or collections, views, maps, encodings,
    a column.

    They are gone from reads and searches at once, and from the files after `embedstore compact --keep-hours 0`.
    """
    from embedstore import api

    if collections and (slides or patients):
        raise click.UsageError(
            "--slide and --patient remove slides from all collections, and --collection removes a whole collection; "
            "give one or the other"
        )
    if not (slides or patients or views or collections or maps or encodings or columns):
        raise click.UsageError(
            "name what to remove with --slide, --patient, --collection, --views, --map, --encoding or --column"
        )
    opened = api.open(store)
    chosen = opened.find_slides(slides=slides, patients=patients) if slides or patients else []
    stored_views = {name: opened.count_views(name) for name in views}
    tiles = {name: len(opened.collection(name)) for name in collections}
    mapped = {name: opened.collection(name) for name in maps}
    map_tiles = {name: len(collection.map()) for name, collection in mapped.items()}
    encoded = {name: _encoding(opened, name) for name in encodings}
    if not yes:
        lines = [*chosen, *(f"{count:,} views of {name}" for name, count in stored_views.items())]
        lines += [f"collection {name}, {count:,} tiles" for name, count in tiles.items()]
        lines += [f"the map of {name}, {count:,} tiles" for name, count in map_tiles.items()]
        lines += [f"the slide vectors {name}" for name in encodings]
        lines += [f"column {name!r} of all slides" for name in columns]
        click.echo("\n".join(lines), err=True)
        kinds = {
            f"these {len(chosen)} slide(s)": chosen,
            "these collections": collections,
            "these views": views,
            "these maps": maps,
            "these slide vectors": encodings,
            "these columns": columns,
        }
        what = " and ".join(kind for kind, named in kinds.items() if named)
        confirm(f"Remove {what} from {opened.uri}?")
    if columns:
        opened.remove_columns(columns)
    removed_views = {name: opened.remove_views(name) for name in stored_views}
    for collection in mapped.values():
        collection.remove_map()
    for collection, name in encoded.values():
        collection.remove_encoding(name)
    removed_tiles = {name: opened.remove_collection(name) for name in collections}
    removed = opened.remove(slides=chosen) if chosen else {}
    if as_json:
        print_json(
            {
                "slides": chosen, "rows": removed, "collections": removed_tiles, "views": removed_views,
                "maps": list(maps), "encodings": list(encodings), "columns": list(columns),
            }
        )  # fmt: skip
        return
    for name in columns:
        click.echo(f"column {name!r} removed")
    for name, count in removed_views.items():
        click.echo(f"{name}: {count:,} views removed")
    for name, count in removed_tiles.items():
        click.echo(f"{name}: collection removed, {count:,} tiles")
    for name in maps:
        click.echo(f"{name}: map removed; `embedstore map` makes another")
    for name in encodings:
        click.echo(f"{name}: slide vectors removed; `embedstore encode-slides` makes others")
    if chosen:
        for name, rows in removed.items():
            click.echo(f"{name}: {rows} tiles removed")
        click.echo(
            f"{len(chosen)} slide(s) removed; `embedstore compact --keep-hours 0` removes them from the files", err=True
        )


def _encoding(opened: "Store", name: str) -> "tuple[Collection, str]":
    """The collection and the encoding of COLLECTION/NAME, both of which there are."""
    collection, slash, encoding = name.rpartition("/")
    if not slash:
        raise click.UsageError(f"--encoding is {name!r}; expected COLLECTION/NAME, as `embedstore ls` shows them")
    chosen = opened.collection(collection)
    chosen.slide_vectors(encoding)
    return chosen, encoding
