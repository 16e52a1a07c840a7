"""`embedstore search`."""

from pathlib import Path
from typing import Any

import click

from cli.flags import Flag, Section
from cli.options import TileId, collection_option, json_option, print_json, print_table, store_option
from embedstore.search_config import AWAY_WEIGHT, IndexSearchConfig, SearchConfig

SEARCH = Section(
    "search",
    SearchConfig,
    Flag("k", "-k"),
    Flag(
        "where",
        metavar="SQL",
        help="Only tiles that satisfy this, such as "
        '"cohort = \'A\' AND label.tumour IS NULL AND \\"my-head\\".p_tumour > 0.9"; '
        "--list-columns lists the columns. With --slide alone, only slides that do.",
    ),
    "exclude_same",
    Flag("per_slide", metavar="N", type=click.IntRange(1)),
    Flag("diverse", metavar="W", type=click.FloatRange(0, 1)),
    "columns",
)
INDEX_SEARCH = Section("index", IndexSearchConfig, Flag("nprobes", "--probes", type=click.IntRange(1)), "exact")

#: Options that mean nothing where slides are looked for.
TILES_ONLY = (
    "image", "mpp", "trust_extractor", "vector", "task", "label", "negatives", "not_weight", "per_slide", "diverse",
    "columns", "probes", "exact", "montage", "html", "geojson", "table",
)  # fmt: skip


@click.command(
    context_settings={"ignore_unknown_options": True},  # half of all tile ids begin with a minus sign
    epilog="Example:  embedstore search --store my-store --slide a.svs --at 20480 10240 -k 20 --montage like.png",
)
@click.argument("tile", type=TileId(), required=False)
@store_option
@collection_option
@click.option(
    "--slide", metavar="ID", help="With --at or --region: the slide of the query. Alone: find slides like this one."
)
@click.option("--at", nargs=2, type=int, metavar="X Y", help="Search by the tile at this level-0 pixel.")
@click.option(
    "--region",
    nargs=4,
    type=int,
    metavar="X Y W H",
    help="Search by the tiles whose centre is in this box, level-0 pixels.",
)
@click.option("--image", type=click.Path(path_type=Path), help="Search by an image, embedded as the collection was.")
@click.option(
    "--mpp", type=click.FloatRange(0.02, 100), help="Resolution of --image, µm/px.  [default: the collection's]"
)
@click.option(
    "--trust-extractor",
    is_flag=True,
    help="With --image: allow running the extractor that the store names, if it is a function of its user's.",
)
@click.option(
    "--vector", type=click.Path(path_type=Path), help="Search by a vector: .npy, or numbers in .csv, .txt or .json."
)
@click.option("--task", metavar="TASK", help="The task that --label belongs to.")
@click.option("--label", metavar="CLASS", help="Search by the mean of the tiles that are labelled with this class.")
@click.option(
    "--not",
    "negatives",
    type=TileId(),
    multiple=True,
    metavar="TILE",
    help="Move the query away from this tile; repeatable.",
)
@click.option("--not-weight", type=click.FloatRange(0), help=f"How far away from them.  [default: {AWAY_WEIGHT}]")
@SEARCH
@click.option("--list-columns", is_flag=True, help="Only print the columns that --where may use.")
@INDEX_SEARCH
@click.option("--montage", type=click.Path(path_type=Path), metavar="PNG", help="Draw the query and the neighbours.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a self-contained HTML page of them.")
@click.option(
    "--geojson",
    type=click.Path(path_type=Path),
    help="Write them for QuPath: to a file, or to a folder with one file per slide.",
)
@click.option("--table", type=click.Path(path_type=Path), help="Write them as .csv, .parquet or .json.")
@json_option
def command(tile: int | None, store: str, collection: str | None, as_json: bool, **options: Any) -> None:
    """Find the nearest tiles in the whole collection: by TILE, a place, a region, an image, a vector or a label.

    Distances are 1 - cosine: 0 is the same, 1 is unrelated. The query's own tiles are left out. With --slide alone,
    slides are ranked by how well they match a few representative tiles of it.
    """
    from embedstore.store import Store

    opened = Store.open(store)
    chosen = opened.collection(collection)
    if options["list_columns"]:
        _print_columns(opened, chosen, as_json)
    elif _is_slide_search(tile, options):
        _search_slides(opened, chosen, as_json, options)
    else:
        _search_tiles(opened, chosen, tile, as_json, options)


def _is_slide_search(tile: int | None, options: dict[str, Any]) -> bool:
    return options["slide"] is not None and tile is None and not (options["at"] or options["region"])


def _search_tiles(store: Any, collection: Any, tile: int | None, as_json: bool, options: dict[str, Any]) -> None:
    from embedstore.search import away_from, search, tile_query

    config = SearchConfig(**SEARCH.given(options), index_search=IndexSearchConfig(**INDEX_SEARCH.given(options)))
    query = _query(store, collection, tile, options)
    if options["negatives"]:
        negatives = [tile_query(store, collection, each) for each in options["negatives"]]
        weight = {} if options["not_weight"] is None else {"weight": options["not_weight"]}
        query = away_from(query, negatives, **weight)
    hits = search(store, collection, query, config)
    written = _write(hits, options)
    if as_json:
        found = {"collection": hits.collection, "query": query.title, "note": hits.note}
        print_json({**found, "hits": hits.to_pylist(), "files": written})
        return
    click.echo(f"{hits.summary() if len(hits) else 'nothing found'}, nearest to {query.title}", err=True)
    if len(hits):
        names = [name for name in hits.table.column_names if hits.table[name].null_count < len(hits)]
        print_table([[row[name] for name in names] for row in hits], names)
    if hits.note:
        click.echo(f"note: {hits.note}", err=True)
    for path in written:
        click.echo(f"wrote {path}", err=True)


def _query(store: Any, collection: Any, tile: int | None, options: dict[str, Any]) -> Any:
    from embedstore import search
    from embedstore.store.sql import sql_string

    slide, at, region = options["slide"], options["at"], options["region"]
    ways = {
        "TILE": tile, "--at": at or None, "--region": region or None, "--image": options["image"],
        "--vector": options["vector"], "--label": options["label"],
    }  # fmt: skip
    given = [name for name, value in ways.items() if value is not None]
    if (options["task"] is not None) != (options["label"] is not None):
        raise click.UsageError("--task and --label belong together: the class LABEL of the task TASK")
    if len(given) > 1:
        raise click.UsageError(f"search by one thing; {' and '.join(given)} are given")
    if not given:
        raise click.UsageError(f"say what to search by: {', '.join(ways)}, or --slide alone for slides")
    if given[0] in ("--at", "--region") and slide is None:
        raise click.UsageError(f"{given[0]} is a place on a slide; name the slide with --slide")
    if slide is not None and given[0] not in ("--at", "--region"):
        raise click.UsageError(
            f"--slide says where --at or --region is, and {given[0]} is given; to find tiles of one slide alone, "
            f'add --where "slide_id = {sql_string(slide)}"'
        )
    for name in ("mpp", "trust_extractor"):
        if options[name] and given[0] != "--image":
            raise click.UsageError(f"--{name.replace('_', '-')} is of an --image; give both")
    if options["not_weight"] is not None and not options["negatives"]:
        raise click.UsageError("--not-weight is how far away from the tiles of --not; give both")
    match given[0]:
        case "TILE":
            return search.tile_query(store, collection, int(tile or 0))
        case "--at":
            return search.place_query(store, collection, slide, at)
        case "--region":
            return search.region_query(store, collection, slide, region)
        case "--image":
            return search.image_query(
                store, collection, options["image"], mpp=options["mpp"], trust_extractor=options["trust_extractor"]
            )
        case "--vector":
            return search.vector_query(collection, options["vector"])
        case _:
            return search.prototype_query(store, collection, options["task"], options["label"])


def _write(hits: Any, options: dict[str, Any]) -> list[str]:
    """Write the files that are wanted; their paths."""
    files = {
        "montage": options["montage"], "page": options["html"], "geojson": options["geojson"],
        "table": options["table"],
    }  # fmt: skip
    if not any(files.values()):
        return []
    from embedstore.export import HitFiles, write_hits

    written = write_hits(hits, HitFiles(**files))
    for note in written.notes:
        click.echo(f"note: {note}", err=True)
    return [str(path) for path in written.paths]


def _search_slides(store: Any, collection: Any, as_json: bool, options: dict[str, Any]) -> None:
    from embedstore.search import similar_slides

    tiles_only = [name for name in TILES_ONLY if options[name] not in (None, False, 0, ())]
    if tiles_only:
        named = ", ".join("--not" if name == "negatives" else f"--{name.replace('_', '-')}" for name in tiles_only)
        raise click.UsageError(
            f"--slide alone finds slides, for which {named} is not meant; add --at or --region to search for tiles"
        )
    config = SearchConfig(**SEARCH.given(options))
    found = similar_slides(
        store,
        collection,
        options["slide"],
        k=config.k,
        where=config.where,
        exclude_same_patient=config.exclude_same == "patient",
    )
    if as_json:
        print_json({"collection": collection.name, "slide": options["slide"], "slides": found.to_pylist()})
    elif found.num_rows:
        print_table([list(row.values()) for row in found.to_pylist()], found.column_names)
    else:
        click.echo(f"no other slide of collection {collection.name} passes", err=True)


def _print_columns(store: Any, collection: Any, as_json: bool) -> None:
    from embedstore.search import filter_columns

    columns = filter_columns(store, collection)
    if as_json:
        print_json(columns)
    else:
        print_table([[name, origin] for name, origin in columns.items()], ["column", "of"])
