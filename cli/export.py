"""`embedstore export`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.json_log import log_json_option
from cli.options import (
    collection_option,
    json_option,
    origin_option,
    print_json,
    print_notes,
    slides_option,
    store_option,
    where_option,
)
from embedstore.errors import shown_on_a_line

if TYPE_CHECKING:
    from embedstore.export import ExportFormat
    from embedstore.export_format import LayoutName

FORMATS = (
    "geojson",
    "png",
    "csv",
    "parquet",
    "slides",
    "anndata",
    "dicom",
)  # of ExportFormat, whose module is slow to import
LAYOUTS = ("trident", "clam", "stamp", "anndata", "spatialdata", "parquet")  # of LayoutName


@click.command(
    epilog="Example:  embedstore export --store my-store --head tumour --format geojson --out qupath/",
)
@store_option
@click.option(
    "--head", metavar="NAME", help="Export the predictions of this head; without one, the embeddings of a collection."
)
@collection_option
@slides_option
@where_option
@click.option(
    "--format",
    type=click.Choice(FORMATS),
    help="geojson: for QuPath; png: heat maps; csv, parquet: all rows; slides: one row per slide; anndata: .h5ad; "
    "dicom: a parametric map and annotations of DICOM slides.  [default: that of the ending of --out]",
)
@click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    help="Instead of a format: all vectors in the files of another tool, a slide at a time. trident: also for "
    "Patho-Bench; spatialdata: for LazySlide; anndata: a .h5ad a slide; parquet: a file a slide.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="A file; for geojson and png also a folder; for dicom and layouts a folder.",
)
@origin_option
@click.option("--merge", is_flag=True, help="geojson: merge neighbouring tiles of one class into annotations.")
@click.option(
    "--min-probability",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="geojson, dicom: leave out tiles whose class is less probable than this.",
)
@click.option("--class", "of_class", metavar="NAME", help="png: show the probability of this class.")
@click.option(
    "--picture-px",
    type=click.IntRange(100, 8000),
    default=1600,
    show_default=True,
    help="png: longer side of the slide's picture, pixels.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME",
    help="Layouts anndata, spatialdata and parquet: add this column of slides, such as patient; repeatable.",
)
@log_json_option
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    store: str,
    head: str | None,
    collection: str | None,
    slides: tuple[str, ...],
    where: str | None,
    format: "ExportFormat | None",
    layout: "LayoutName | None",
    out: Path,
    columns: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Write predictions and embeddings for QuPath, DICOM viewers, pandas, AnnData and people, or, with --layout,
    embeddings for the tools of others.

    The paths of the files are printed, one per line. Exit code 3: some slides could not be written in a layout.
    """
    from embedstore import api
    from embedstore.export_format import ENDINGS

    if format is None and layout is None:
        format = ENDINGS.get(out.suffix.lower())
    if format is None and layout is None:
        raise click.UsageError("give --format, or --layout for the files of another tool")
    if format is not None and layout is not None:
        raise click.UsageError(f"--format {format} and --layout {layout} are two exports; give one of them")
    if head is not None and collection is not None:
        raise click.UsageError("a head knows its collection; give --head or --collection")
    if layout is not None:
        for option in ctx.command.params:
            given = ctx.get_parameter_source(option.name or "") is click.core.ParameterSource.COMMANDLINE
            if option.name in options and given:
                raise click.UsageError(f"a layout has vectors and places; leave out {option.opts[0]}")
        _export_layout(
            store, out, layout, as_json, head=head, collection=collection, slides=slides, where=where, columns=columns
        )
        return
    if columns:
        raise click.UsageError("--column is of --layout; a format has the columns that it has")
    result = api.open(store).export(
        out, format=format, head=head, collection=collection, slides=slides, where=where, **options
    )
    print_notes(result.notes)
    if as_json:
        files = [
            {**({"slide_id": file.slide_id} if file.slide_id else {}), "path": str(file.path), "rows": file.rows}
            for file in result.files
        ]
        print_json({"format": format, "slides": result.slides, "files": files, "notes": result.notes})
        return
    for file in result.files:
        click.echo(file.path)
    rows = sum(file.rows for file in result.files)
    click.echo(f"{result.slides} slide(s), {rows} {result.unit} in {len(result.files)} file(s)", err=True)


def _export_layout(store: str, out: Path, layout: "LayoutName", as_json: bool, **chosen: Any) -> None:
    from embedstore import api

    result = api.open(store).export_layout(out, layout, **chosen)
    print_notes(result.notes)
    stood = sum(slide.stood for slide in result.slides)
    if as_json:
        slides = [
            {"slide_id": slide.slide_id, "path": str(slide.path), "tiles": slide.tiles, "stood": slide.stood}
            for slide in result.slides
        ]
        print_json({"layout": layout, "slides": slides, "failed": dict(result.failed), "notes": result.notes})
    else:
        for slide in result.slides:
            click.echo(slide.path)
        tiles = sum(slide.tiles for slide in result.slides)
        click.echo(f"{len(result.slides)} slide(s), {tiles} tiles; {stood} stood there already", err=True)
    for slide_id, reason in result.failed.items():
        click.echo(f"failed  {shown_on_a_line(slide_id)}: {reason}", err=True)
    if result.failed:
        sys.exit(3)
