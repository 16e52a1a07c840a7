"""`embedstore search`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.flags import Flag, Section
from cli.options import TileId, collection_option, json_option, print_json, print_notes, print_table, store_option
from embedstore.search_config import AWAY_WEIGHT, IndexSearchConfig, SearchConfig

if TYPE_CHECKING:
    from embedstore.api import Collection, SearchResult

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

#: Options that do not apply to a search for slides.
TILES_ONLY = (
    "text", "image", "mpp", "trust_extractor", "vector", "task", "label", "more_like", "negatives", "not_weight",
    "per_slide", "diverse", "columns", "probes", "exact", "montage", "html", "geojson", "table",
)  # fmt: skip
#: Options that do not apply to a search for many queries.
ONE_ONLY = (
    "slide", "encoder", "at", "region", "text", "image", "mpp", "trust_extractor", "vector", "task", "label",
    "more_like", "negatives", "not_weight", "per_slide", "diverse", "probes", "exact", "montage", "html", "geojson",
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
@click.option(
    "--encoder",
    metavar="NAME",
    help="With --slide alone: compare the slides' vectors by this encoder, which `embedstore encode-slides` made.",
)
@click.option("--at", nargs=2, type=int, metavar="X Y", help="Search by the tile at this level-0 pixel.")
@click.option(
    "--region",
    nargs=4,
    type=int,
    metavar="X Y W H",
    help="Search by the tiles whose centre is in this box, level-0 pixels.",
)
@click.option(
    "--text",
    multiple=True,
    metavar="WORDS",
    help="Search by words, if the collection's extractor has a text tower. Repeatable: the mean of several texts.",
)
@click.option("--image", type=click.Path(path_type=Path), help="Search by an image, embedded as the collection was.")
@click.option(
    "--mpp", type=click.FloatRange(0.02, 100), help="Resolution of --image, µm/px.  [default: the collection's]"
)
@click.option(
    "--trust-extractor",
    is_flag=True,
    help="With --image or --text: allow running the extractor that the store names, if it is a function of its user's.",
)
@click.option(
    "--vector", type=click.Path(path_type=Path), help="Search by a vector: .npy, or numbers in .csv, .txt or .json."
)
@click.option(
    "--queries",
    type=click.Path(path_type=Path),
    help="Search for many at once: vectors in .npy or .parquet, or a table with a column tile_id. With --table.",
)
@click.option(
    "--warm",
    is_flag=True,
    help="With --queries: keep a copy of the vectors in the user's folder for caches, which pays for thousands.",
)
@click.option("--task", metavar="TASK", help="The task that --label belongs to.")
@click.option("--label", metavar="CLASS", help="Search by the mean of the tiles that are labelled with this class.")
@click.option(
    "--more-like",
    type=TileId(),
    multiple=True,
    metavar="TILE",
    help="Move the query to the mean of itself and this tile; repeatable.",
)
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
    """Find the nearest tiles in the whole collection: by TILE, a place, a region, words, an image, a vector or a
    label.

    Distances are 1 - cosine: 0 is the same, 1 is unrelated. The query's own tiles are left out. With --slide alone,
    slides are ranked by how well they match a few representative tiles of it; with --encoder, by one vector a slide.
    """
    from embedstore import api

    chosen = api.open(store).collection(collection)
    if options["list_columns"]:
        _print_columns(chosen.filter_columns(), as_json)
    elif options["queries"] is not None:
        _search_many(chosen, tile, as_json, options)
    elif options["warm"]:
        raise click.UsageError("--warm goes with --queries; give both")
    elif _is_slide_search(tile, options):
        _search_slides(chosen, as_json, options)
    else:
        _search_tiles(chosen, tile, as_json, options)


def _search_many(collection: "Collection", tile: int | None, as_json: bool, options: dict[str, Any]) -> None:
    from embedstore.export.table_file import rows_path, write_rows

    if wrong := [name for name in ONE_ONLY if options[name] not in (None, False, 0, ())]:
        raise click.UsageError(f"--queries takes no {_named(wrong)}")
    if tile is not None:
        raise click.UsageError("search by --queries or by one tile, not by both")
    if options["table"] is None:
        raise click.UsageError("--queries finds many rows; name a file for them with --table")
    path = rows_path(options["table"], what="neighbours")
    config = SearchConfig(**SEARCH.given(options))
    if options["warm"]:
        collection.warm()
    found = collection.search_many(
        options["queries"], k=config.k, where=config.where, exclude_same=config.exclude_same, columns=config.columns
    )
    rows = write_rows(found.to_arrow(), path, what="neighbours")
    if as_json:
        print_json({"collection": collection.name, "rows": rows, "files": [str(path)]})
    else:
        click.echo(f"wrote {path}: {rows:,} neighbours", err=True)


def _named(names: list[str]) -> str:
    return ", ".join("--not" if name == "negatives" else f"--{name.replace('_', '-')}" for name in names)


def _is_slide_search(tile: int | None, options: dict[str, Any]) -> bool:
    return options["slide"] is not None and tile is None and not (options["at"] or options["region"])


def _search_tiles(collection: "Collection", tile: int | None, as_json: bool, options: dict[str, Any]) -> None:
    if options["encoder"] is not None:
        raise click.UsageError("--encoder compares slides; it goes with --slide alone")
    config = SearchConfig(**SEARCH.given(options), index_search=IndexSearchConfig(**INDEX_SEARCH.given(options)))
    query = _query(collection, tile, options)
    weight = {} if options["not_weight"] is None else {"away_weight": options["not_weight"]}
    result = collection.search(query, config, more_like=options["more_like"], away_from=options["negatives"], **weight)
    hits = result.hits
    written = _write(result, options)
    if as_json:
        record = {"collection": hits.collection, "query": hits.query.title, "note": hits.note}
        print_json({**record, "hits": hits.to_pylist(), "files": written})
        return
    click.echo(f"{hits.summary() if len(hits) else 'nothing found'}, nearest to {hits.query.title}", err=True)
    if len(hits):
        names = [name for name in hits.table.column_names if hits.table[name].null_count < len(hits)]
        print_table([[row[name] for name in names] for row in hits], names)
    print_notes(filter(None, [hits.note]))
    for path in written:
        click.echo(f"wrote {path}", err=True)


def _query(collection: "Collection", tile: int | None, options: dict[str, Any]) -> Any:
    """What to search by: anything that `Collection.search` takes."""
    slide, at, region = options["slide"], options["at"], options["region"]
    queries = {
        "TILE": tile, "--at": at or None, "--region": region or None, "--text": options["text"] or None,
        "--image": options["image"], "--vector": options["vector"], "--label": options["label"],
    }  # fmt: skip
    given = [name for name, value in queries.items() if value is not None]
    if (options["task"] is not None) != (options["label"] is not None):
        raise click.UsageError("--task and --label belong together: the class LABEL of the task TASK")
    if len(given) > 1:
        raise click.UsageError(f"search by one of these only; {' and '.join(given)} were given")
    if not given:
        raise click.UsageError(
            f"name what to search by: {', '.join(queries)}; --slide alone to find slides, or --queries"
        )
    if given[0] in ("--at", "--region") and slide is None:
        raise click.UsageError(f"{given[0]} is a place on a slide; name the slide with --slide")
    if slide is not None and given[0] not in ("--at", "--region"):
        raise click.UsageError(
            f"--slide goes with --at or --region, but {given[0]} was given; to find tiles of one slide only, "
            "add --where \"slide_id = '{}'\"".format(slide.replace("'", "''"))
        )
    if options["mpp"] and given[0] != "--image":
        raise click.UsageError("--mpp goes with --image; give both")
    if options["trust_extractor"] and given[0] not in ("--image", "--text"):
        raise click.UsageError("--trust-extractor goes with --image or --text; give both")
    if options["not_weight"] is not None and not options["negatives"]:
        raise click.UsageError("--not-weight goes with --not; give both")
    match given[0]:
        case "TILE":
            return int(tile or 0)
        case "--at":
            return (slide, *at)
        case "--region":
            return collection.query_by_region(slide, region)
        case "--text":
            return collection.query_by_text(options["text"], trust_extractor=options["trust_extractor"])
        case "--image":
            return collection.query_by_image(
                options["image"], mpp=options["mpp"], trust_extractor=options["trust_extractor"]
            )
        case "--vector":
            return collection.query_by_vector(options["vector"])
        case _:
            return collection.query_by_label(options["task"], options["label"])


def _write(result: "SearchResult", options: dict[str, Any]) -> list[str]:
    """Write the requested files and return their paths."""
    files = {"montage": options["montage"], "page": options["html"]}
    files |= {"geojson": options["geojson"], "table": options["table"]}
    if not any(files.values()):
        return []
    written = result.export_files(**files)
    print_notes(written.notes)
    return [str(path) for path in written.paths]


def _search_slides(collection: "Collection", as_json: bool, options: dict[str, Any]) -> None:
    tiles_only = [name for name in TILES_ONLY if options[name] not in (None, False, 0, ())]
    if tiles_only:
        raise click.UsageError(
            f"--slide alone finds slides and takes no {_named(tiles_only)}; add --at or --region to search for tiles"
        )
    config = SearchConfig(**SEARCH.given(options))
    slides = collection.similar_slides(
        options["slide"],
        k=config.k,
        encoder=options["encoder"],
        where=config.where,
        exclude_same_patient=config.exclude_same == "patient",
    )
    if as_json:
        about = {"collection": collection.name, "slide": options["slide"], "encoder": options["encoder"]}
        print_json({**about, "slides": slides.to_pylist()})
    elif len(slides):
        print_table([list(row.values()) for row in slides], slides.column_names)
    else:
        click.echo(f"no other slide of collection {collection.name} passes", err=True)


def _print_columns(columns: dict[str, str], as_json: bool) -> None:
    if as_json:
        print_json(columns)
    else:
        print_table([[name, origin] for name, origin in columns.items()], ["column", "of"])
