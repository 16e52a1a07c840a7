"""`embedstore label`: files in and out, labels one by one, their history, disagreements, and removal."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from cli.group import Group
from cli.json_log import log_json_option
from cli.options import (
    TileId,
    class_map_of,
    collection_option,
    confirm,
    json_option,
    origin_option,
    print_json,
    print_notes,
    print_table,
    slides_option,
    store_option,
)

if TYPE_CHECKING:
    from embedstore.labels.importing import ReadFile
    from embedstore.store import LabelChange

task_option = click.option("--task", required=True, metavar="NAME", help="The task that the labels belong to.")
SHOWN = 5  # conflicts that are printed


@click.group(cls=Group, epilog="Example:  embedstore label ls --store my-store")
def command() -> None:
    """Import, list, export, compare, undo and remove labels.

    A label assigns a place on a slide, a whole slide or a patient to a class of a task. It belongs to the place, so
    every collection of the slide can use it.
    """


@command.command(
    "import",
    epilog="Example:  embedstore label import qupath/ --store my-store --task tumour --negative normal",
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@store_option
@task_option
@click.option(
    "--format",
    type=click.Choice(["auto", "geojson", "asap", "table"]),
    default="auto",
    show_default=True,
    help="Format of the files; auto goes by their suffix: .geojson, .json, .xml, or that of a table.",
)
@click.option(
    "--slide", metavar="ID", help="The slide that annotations belong to.  [default: the slide named like the file]"
)
@click.option(
    "--origin",
    type=click.Choice(["bounds", "level0"]),
    help="Origin of coordinates: the corner of the slide's image, as in QuPath (default for GeoJSON), or of level 0 "
    "(default for ASAP and tables). Files written by embedstore state theirs.",
)
@click.option(
    "--class-map",
    "renames",
    multiple=True,
    metavar="OLD=NEW",
    help="Rename a class; repeatable, also for the same NEW.",
)
@click.option("--only", multiple=True, metavar="CLASS", help="Import only this class; repeatable.")
@click.option(
    "--exclude",
    multiple=True,
    metavar="CLASS",
    help="Cut the areas of this class out of the others, such as _2 of CAMELYON or Ignore* of QuPath; repeatable.",
)
@click.option("--negative", metavar="CLASS", help="Class of everything that is not annotated.")
@click.option(
    "--within",
    default="slide",
    show_default=True,
    metavar="slide|CLASS",
    help="Where --negative applies: on the whole slide, or in the areas of a class, which is then not imported itself.",
)
@click.option("--unclassified", metavar="CLASS", help="Class of annotations that have none (in ASAP: no group).")
@click.option("--author", metavar="NAME", help="Author of the labels.  [default: your login name]")
@click.option("--skip-unknown-slides", is_flag=True, help="Leave out files and rows of slides not in the store.")
@click.option("--skip-invalid", is_flag=True, help="Leave out malformed files and annotations.")
@collection_option
@click.option("--dry-run", is_flag=True, help="Only read and check; write nothing.")
@json_option
def import_(
    files: tuple[Path, ...],
    store: str,
    renames: tuple[str, ...],
    author: str | None,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Import the labels of FILES for a task: all of them, or none if there is an error.

    FILES are annotations of QuPath (GeoJSON) or ASAP (XML), one per slide, or folders of them; or tables (CSV, Parquet)
    with the column label and one of: tile_id; slide_id, x and y (a point), and with edge_l0 a tile; slide_id and name
    (a ready-made tile); slide_id (the whole slide); patient. They may have the columns split, patient and task too.

    Importing a file again replaces the labels that the same author had from it. Places with labels of two classes are
    reported, and both labels are kept.
    """
    from embedstore import api

    result = api.open(store).labels.read(
        files, class_map=class_map_of(renames), author=author, dry_run=dry_run, **options
    )
    config, counts = result.config, result.summary()
    for line in (*result.notes, *_conflicts(result.conflicts)):
        click.echo(line, err=True)
    if as_json:
        print_json(
            {
                "task": config.task,
                "author": config.author,
                "dry_run": dry_run,
                "files": [_file_record(file) for file in result.files],
                "labels": len(result.rows),
                "counts": counts,
                "replaced": result.replaced,
                "change": result.change,
                "conflicts": result.conflicts,
                "notes": result.notes,
            }
        )
        return
    columns = ("class", "kind", "labels", "slides")
    print_table([[row[column] for column in columns] for row in counts], columns)
    done = "would be imported" if dry_run else f"imported, {result.replaced} old ones withdrawn"
    click.echo(f"{len(result.rows)} labels of {len(result.files)} file(s) {done}, task {config.task}", err=True)
    if result.change is not None:
        click.echo(f"change {result.change}; `embedstore label undo` takes it back", err=True)


def _file_record(file: "ReadFile") -> dict[str, Any]:
    return {
        "path": str(file.path),
        "format": file.format,
        "slides": file.slides,
        "labels": len(file.rows),
        "skipped": file.skipped,
    }


def _conflicts(conflicts: tuple[str, ...]) -> list[str]:
    if not conflicts:
        return []
    lines = [f"{len(conflicts)} place(s) have labels of two classes; all are kept, and heads leave such places out:"]
    lines += [f"  {line}" for line in conflicts[:SHOWN]]
    return [*lines, "  …"] if len(conflicts) > SHOWN else lines


@command.command(epilog="Example:  embedstore label ls --store my-store --task tumour")
@store_option
@click.option("--task", metavar="NAME", help="Only this task.")
@json_option
def ls(store: str, task: str | None, as_json: bool) -> None:
    """List the labels of a store: their number by task, class, kind, author and file, and when they were made."""
    from embedstore import api

    opened = api.open(store)
    rows = opened.labels.summary(task).to_pylist()
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo(
            f"{opened.uri} has no labels yet; `embedstore label import FILE --task NAME` brings them in", err=True
        )
    else:
        columns = ("task", "label", "kind", "labels", "slides", "author", "last", "source")
        shown = [{**row, "last": f"{row['last']:%Y-%m-%d %H:%M}"} for row in rows]
        print_table([[row[column] for column in columns] for row in shown], ("task", "class", *columns[2:]))


@command.command(epilog="Example:  embedstore label export --store my-store --task tumour --out labels/")
@store_option
@task_option
@slides_option
@click.option("--author", metavar="NAME", help="Only labels of this author.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="A folder; or a .csv or .parquet file, which takes everything but areas; or a .geojson file for one slide.",
)
@origin_option
@click.option(
    "--format",
    type=click.Choice(["files", "patho-bench", "pathorob", "eva"]),
    default="files",
    show_default=True,
    help="Files that QuPath and `label import` read; or those of a benchmark, into a folder: Patho-Bench and eva take "
    "labels of slides with folds, PathoROB labelled tiles.",
)
@click.option("--head", metavar="NAME", help="patho-bench, eva: a head of slides or patients whose folds are written.  "
              "[default: the split that came with the labels]")  # fmt: skip
@collection_option
@click.option("--site", metavar="COLUMN", help="pathorob: the column of the slides that names the medical centre.")
@log_json_option
@json_option
def export(
    store: str,
    task: str,
    slides: tuple[str, ...],
    author: str | None,
    out: Path,
    origin: Literal["bounds", "level0"],
    format: Literal["files", "patho-bench", "pathorob", "eva"],
    head: str | None,
    collection: str | None,
    site: str | None,
    as_json: bool,
) -> None:
    """Write the labels of a task so that QuPath opens them, and `label import` reads them again.

    A folder gets SLIDE.geojson for the annotations of each slide, and labels.csv for tiles, slides and patients. The
    paths of the files are printed, one per line.
    """
    from embedstore import api

    if format != "files":
        if slides or author:
            raise click.UsageError(f"--slide and --author do not go with --format {format}, which takes all labels")
        made = api.open(store).labels.export_benchmark(
            out, task=task, format=format, head=head, collection=collection, site=site
        )
        print_notes(made.notes)
        if as_json:
            print_json(made.to_pylist())
        else:
            click.echo("\n".join(made["path"]))
        return
    if head or collection or site:
        raise click.UsageError("--head, --collection and --site go with --format patho-bench, pathorob or eva")
    written = api.open(store).labels.export(out, task=task, slides=slides, author=author, origin=origin)
    if as_json:
        print_json([{"path": str(file.path), "labels": file.labels} for file in written])
        return
    for file in written:
        click.echo(str(file.path))
    click.echo(f"{sum(file.labels for file in written)} labels in {len(written)} file(s)", err=True)


def place_options(function: Callable[..., None]) -> Callable[..., None]:
    """The options of a command that say which places are meant; it gets the places as rows."""

    @functools.wraps(function)
    def with_places(
        tiles: tuple[int, ...],
        slide: str | None,
        at: tuple[float, float] | None,
        edge: float | None,
        name: str | None,
        patient: str | None,
        **options: Any,
    ) -> None:
        about = {"slide_id": slide, "edge_l0": edge, "name": name, "patient": patient}
        about |= {"x": at[0], "y": at[1]} if at else {}
        row = {field: value for field, value in about.items() if value is not None}
        if bool(row) == bool(tiles):
            raise click.UsageError("expected either --tile, or a place: --slide (with --at or --name) or --patient")
        function(places=[{"tile_id": tile} for tile in tiles] or [row], **options)

    for option in (
        click.option("--patient", metavar="NAME", help="All slides of a patient."),
        click.option("--name", metavar="FILE", help="With --slide: a ready-made tile."),
        click.option(
            "--edge", type=click.FloatRange(0, min_open=True), help="With --at: edge of a tile, level-0 pixels."
        ),
        click.option(
            "--at",
            nargs=2,
            type=float,
            metavar="X Y",
            help="With --slide: a point, or the corner of a tile; level-0 pixels.",
        ),
        click.option("--slide", metavar="ID", help="A slide; alone, the whole slide."),
        click.option("--tile", "tiles", type=TileId(), multiple=True, metavar="ID", help="A tile; repeatable."),
    ):
        with_places = option(with_places)
    return with_places


@command.command(
    epilog="Example:  embedstore label add --store my-store --task tumour --class tumour --slide a.svs --at 2048 512"
)
@store_option
@task_option
@click.option("--class", "label", required=True, metavar="NAME", help="The class.")
@place_options
@click.option("--author", metavar="NAME", help="Author of the labels.  [default: your login name]")
@collection_option
@json_option
def add(store: str, task: str, label: str, places: list[dict[str, Any]], as_json: bool, **options: Any) -> None:
    """Label tiles, a place, a slide or a patient.

    An author has one such label of a task at one place: another class there replaces it.
    """
    from embedstore import api

    made = api.open(store).labels.add(task, [{"label": label, **place} for place in places], **options)
    for note in made.notes:
        click.echo(note, err=True)
    _print_change(made, as_json)


@command.command(
    epilog="Example:  embedstore label withdraw --store my-store --task tumour --slide a.svs --at 2048 512"
)
@store_option
@task_option
@place_options
@click.option("--author", metavar="NAME", help="Who withdraws them.  [default: your login name]")
@click.option("--of", metavar="NAME", help="Whose labels they are, * for anybody's.  [default: the author's own]")
@collection_option
@json_option
def withdraw(store: str, task: str, places: list[dict[str, Any]], as_json: bool, **options: Any) -> None:
    """Withdraw labels of tiles, a place, a slide or a patient; they count no more, and stay in the history."""
    from embedstore import api

    _print_change(api.open(store).labels.withdraw(task, places=places, **options), as_json)


def _print_change(made: "LabelChange", as_json: bool) -> None:
    if as_json:
        print_json({"change": made.id, "undoes": made.undoes, "added": made.added, "withdrawn": made.withdrawn})
        return
    what = f"{made.added} label(s) added, {made.withdrawn} withdrawn, task {made.task}"
    click.echo(what if made.id is None else f"{what}; change {made.id}")


@command.command(epilog="Example:  embedstore label history --store my-store --task tumour")
@store_option
@click.option("--task", metavar="NAME", help="Only changes of this task.")
@json_option
def history(store: str, task: str | None, as_json: bool) -> None:
    """List the changes of labels: who added and withdrew how many, when, and what is undone.

    Importing is a change, and so is undoing one. Labels that came with ingest are of no change.
    """
    from embedstore import api

    rows = api.open(store).labels.history(task).to_pylist()
    if as_json:
        print_json(rows)
        return
    columns = ("change", "task", "author", "at", "added", "withdrawn", "undoes", "undone_by")
    shown = [{**row, "at": f"{row['at']:%Y-%m-%d %H:%M:%S}"} for row in rows]
    print_table([[row[column] or "" for column in columns] for row in shown], columns)


@command.command(epilog="Example:  embedstore label undo --store my-store --task tumour --author anna")
@store_option
@task_option
@click.option("--change", metavar="ID", help="Undo this change, as `label history` lists it.  [default: your last one]")
@click.option("--author", metavar="NAME", help="Who undoes it.  [default: your login name]")
@json_option
def undo(store: str, task: str, change: str | None, author: str | None, as_json: bool) -> None:
    """Undo a change of labels: what it added is withdrawn, and what it withdrew stands again.

    Undoing is a change too: undo it with --change to have the first one again. A change is not undone if a later one is
    about the same places.
    """
    from embedstore import api

    _print_change(api.open(store).labels.undo(task, change, author=author), as_json)


@command.command(epilog="Example:  embedstore label disagreements --store my-store --task tumour")
@store_option
@task_option
@click.option("--limit", type=click.IntRange(min=0), default=50, show_default=True, help="Most places to print.")
@json_option
def disagreements(store: str, task: str, limit: int, as_json: bool) -> None:
    """Show how well each two authors agree, and the places that they give different classes.

    Of a tile or point that an author did not label, an own area counts that covers its centre, or else an own label of
    the rest. kappa is Cohen's.
    """
    from embedstore import api

    labels = api.open(store).labels
    pairs, places = labels.agreement(task), labels.disagreements(task)
    shown = [{name: value for name, value in row.items() if name != "geometry"} for row in list(places)[:limit]]
    if as_json:
        print_json({"agreement": pairs.to_pylist(), "total": len(places), "places": shown})
        return
    columns = tuple(pairs.column_names)
    print_table([[_number(row[column]) for column in columns] for row in pairs], columns)
    if shown:
        click.echo()
        filled = [name for name in shown[0] if any(row[name] is not None for row in shown)]
        print_table([[_number(row[name]) for name in filled] for row in shown], filled)
    click.echo(f"{len(places)} place(s) with different classes, {len(shown)} shown, task {task}", err=True)


def _number(value: Any) -> Any:
    return "" if value is None else f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


@command.command(epilog="Example:  embedstore label rm --store my-store --task tumour --author anna --yes")
@store_option
@task_option
@click.option("--slide", "slide_id", metavar="ID", help="Only labels on this slide.")
@click.option("--class", "label", metavar="NAME", help="Only labels of this class.")
@click.option("--author", metavar="NAME", help="Only labels of this author.")
@click.option("--source", metavar="FILE", help="Only labels from this file, as `label ls` names it.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def rm(store: str, task: str, yes: bool, as_json: bool, **which: str | None) -> None:
    """Remove labels of a task for good: all, or those that meet every option given; those withdrawn as well.

    They are gone from the files after `embedstore compact --keep-hours 0`.
    """
    from embedstore import api

    opened = api.open(store)
    count = opened.labels.count(task, **which)
    if count and not yes:
        confirm(f"Remove {count} label(s) of task {task} from {opened.uri}?")
    removed = opened.labels.remove(task, **which)
    if as_json:
        print_json({"task": task, "removed": removed})
    else:
        click.echo(f"{removed} label(s) of task {task} removed")
