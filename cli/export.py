"""`embedstore export`."""

from pathlib import Path
from typing import Any

import click

from cli.options import collection_option, json_option, print_json, store_option

#: What each form writes; those with a folder write a file a slide.
FORMS = ("geojson", "png", "csv", "parquet", "slides", "anndata")
SUFFIXES = {"geojson": ".geojson", "png": ".png"}


@click.command(
    epilog="Example:  embedstore export --store my-store --head tumour --format geojson --out qupath/",
)
@store_option
@click.option("--head", metavar="NAME", help="Whose predictions; without one, the embeddings of a collection.")
@collection_option
@click.option("--slide", "slides", multiple=True, metavar="ID", help="Only this slide; may be given several times.")
@click.option("--where", metavar="SQL", help="Only slides whose row fulfils this, such as \"cohort = 'A'\".")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMS),
    required=True,
    help="geojson: for QuPath; png: heat maps; csv, parquet: all rows; slides: a row a slide; anndata: .h5ad.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A file; of geojson and png also a folder.")
@click.option(
    "--origin",
    type=click.Choice(["bounds", "level0"]),
    default="bounds",
    show_default=True,
    help="geojson: coordinates from the corner of the slide's image, as QuPath shows it, or of level 0.",
)
@click.option("--merge", is_flag=True, help="geojson: unite neighbouring tiles of one class to annotations.")
@click.option(
    "--min-probability",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="geojson: leave out tiles whose class is less probable.",
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
    form: str,
    out: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Write predictions and embeddings for QuPath, pandas, AnnData and people.

    The files that were written are printed, one a line.
    """
    from embedstore.export import export_scope
    from embedstore.slides import single_thread
    from embedstore.store import Store

    if head is not None and collection is not None:
        raise click.UsageError("a head knows its collection; give --head or --collection")
    single_thread()
    scope = export_scope(Store.open(store), head=head, collection=collection, slides=slides, where=where)
    if form in SUFFIXES:
        written, notes = _write_by_slide(scope, form, out, bool(slides), options)
    else:
        written, notes = [_write_table(scope, form, out)], []
    for note in notes:
        click.echo(f"note: {note}", err=True)
    if as_json:
        print_json({"format": form, "slides": len(scope.slides), "files": written, "notes": notes})
        return
    for each in written:
        click.echo(each["path"])
    total, unit = sum(each["rows"] for each in written), {"geojson": "objects", "png": "pictures"}.get(form, "rows")
    click.echo(f"{len(scope.slides)} slide(s), {total} {unit} in {len(written)} file(s)", err=True)


def _write_by_slide(
    scope: Any, form: str, out: Path, asked: bool, options: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[str]]:
    """A file a slide; what was written, and what the user should know."""
    from embedstore.export import write_geojson, write_heat_map
    from embedstore.output_files import slide_path

    placed, folders = scope.slides_with_places(form, asked=asked)
    notes = [f"{name!r} is a folder of ready-made tiles, which {form} cannot show" for name in folders]
    written: list[dict[str, Any]] = []
    for slide_id in placed:
        path = slide_path(out, slide_id, SUFFIXES[form], single=len(placed) == 1)
        if form == "geojson":
            chosen = {name: options[name] for name in ("origin", "merge", "min_probability")}
            rows = write_geojson(scope, slide_id, path, **chosen)
        else:
            of_class, picture_px = options["of_class"], options["picture_px"]
            note = write_heat_map(scope, slide_id, path, of_class=of_class, picture_px=picture_px)
            notes += [note] if note else []
            rows = 1
        written.append({"slide_id": slide_id, "path": str(path), "rows": rows})
    return written, notes


def _write_table(scope: Any, form: str, out: Path) -> dict[str, Any]:
    """One file of everything."""
    from embedstore.errors import ExportError
    from embedstore.export import write_anndata, write_slide_scores, write_table

    if out.is_dir():
        raise ExportError(f"--out {out} is a folder; {form} writes one file, such as {out / f'export.{form}'}")
    if form == "slides":
        rows = write_slide_scores(scope, out)
    elif form == "anndata":
        rows = write_anndata(scope, out)
    else:
        rows = write_table(scope, out, form="csv" if form == "csv" else "parquet")
    return {"path": str(out), "rows": rows}
