"""`embedstore export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

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

if TYPE_CHECKING:
    from embedstore.export import ExportFormat

FORMATS = (
    "geojson",
    "png",
    "csv",
    "parquet",
    "slides",
    "anndata",
    "dicom",
)  # of ExportFormat, whose module is slow to import


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
    required=True,
    help="geojson: for QuPath; png: heat maps; csv, parquet: all rows; slides: one row per slide; anndata: .h5ad; "
    "dicom: a parametric map and annotations of DICOM slides.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="A file; for geojson and png also a folder; for dicom a folder.",
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
@json_option
def command(
    store: str,
    head: str | None,
    collection: str | None,
    slides: tuple[str, ...],
    where: str | None,
    format: "ExportFormat",
    out: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Write predictions and embeddings for QuPath, DICOM viewers, pandas, AnnData and people.

    The paths of the files are printed, one per line.
    """
    from embedstore import api

    if head is not None and collection is not None:
        raise click.UsageError("a head knows its collection; give --head or --collection")
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
