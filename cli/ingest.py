"""`embedstore ingest`."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.extractor_flags import DEFAULT_EXTRACTOR, extractor_flags
from cli.ingest_settings import EXECUTION, READING, RUN, TILING, TISSUE, VIEWS, resolve
from cli.json_log import json_log, log_json_flag
from cli.options import config_option, json_option, print_json, print_table, store_option, write_json
from cli.run_summary import end_with, log_summary
from embedstore.output_files import require_file
from embedstore.quantities import human_bytes, human_time

if TYPE_CHECKING:
    from actors.estimate import IngestEstimate


@click.command(epilog="Example:  embedstore ingest slides/ --store my-store --extractor stain-texture")
@click.argument("slides", nargs=-1, required=True, metavar="SLIDES...")
@store_option
@extractor_flags(
    "A name from `embedstore extractors`, any timm model, or module:function; repeatable. Several share one pass over "
    f"the pixels.  [default: {DEFAULT_EXTRACTOR}]"
)
@click.option(
    "--collection",
    "-c",
    "collections",
    multiple=True,
    metavar="NAME",
    help="Name of the collection, one for each --extractor.",
)
@TILING
@click.option("--mpp", type=float, help="Resolution of slides that do not state theirs, µm per level-0 pixel.")
@TISSUE
@READING
@VIEWS
@RUN
@EXECUTION
@config_option
@click.option("--retry-failed", is_flag=True, help="Also retry slides that failed or had no tiles.")
@click.option(
    "--force", multiple=True, metavar="SLIDE", help="Ingest this slide again and replace its rows; repeatable."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Ingest at most N slides.")
@click.option(
    "--dry-run", is_flag=True, help="Only plan: report slides, tiles, time and size, and which slides would fail."
)
@click.option(
    "--summary",
    "summary_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write what --json prints to this file, at the end.",
)
@log_json_flag
@json_option
def command(
    slides: tuple[str, ...],
    store: str,
    as_json: bool,
    dry_run: bool,
    log_json: bool,
    summary_file: Path | None,
    **options: Any,
) -> None:
    """Embed the tissue tiles of SLIDES into a store.

    SLIDES are files, folders (searched for slides; DICOM included), folders of ready-made tiles, or lists in CSV or
    Parquet with a column 'path' and any further columns (slide_id, patient, mpp, tissue, …). Each may also be an
    address such as s3://bucket/slides/. Complete slides are skipped, so the same command finishes an interrupted run.
    Exit code 3: some slides failed; `embedstore status` shows why.
    """
    from embedstore.api.ingest import estimate_ingest, ingest_request, run_ingest

    if summary_file is not None:
        require_file(summary_file)  # before the work, not after it
    with json_log() if log_json else contextlib.nullcontext() as log:
        request = ingest_request(slides, store, **resolve(options))
        if dry_run:
            _print_estimate(estimate_ingest(request), as_json)
            return
        result = run_ingest(request)
        if log:
            log_summary(result.summary, log)
    if summary_file is not None:
        write_json(result.summary.as_record(), summary_file)
    end_with(result, store, as_json=as_json, talks=not log_json)


def _print_estimate(estimate: "IngestEstimate", as_json: bool) -> None:
    if as_json:
        print_json(estimate.as_record())
        return
    for line in estimate.understood.lines():
        click.echo(line)
    print_table(
        [
            [
                ", ".join(group.collections), group.slides, group.slides_done, group.slides_failed_earlier,
                group.tiles, group.views, group.tiles_per_s, human_time(3600 * group.hours),
                human_bytes(group.bytes),
            ]
            for group in estimate.passes
        ],
        [
            "collections", "slides", "already there", "failed earlier", "tiles", "views", "tiles/s here", "time",
            "vectors",
        ],
    )  # fmt: skip
    for slide in estimate.unfit:
        click.echo(f"{slide.state}  {slide.slide_id}: {slide.reason}")
    for warning in estimate.warned:
        click.echo(f"warning  {warning.slide_id}: {warning.warning}", err=True)
