"""`embedstore ingest`."""

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import click

from cli.extractor_flags import DEFAULT_EXTRACTOR, extractor_flags
from cli.ingest_settings import EXECUTION, READING, RUN, TILING, TISSUE, VIEWS, resolve
from cli.json_log import json_log
from cli.options import config_option, json_option, print_json, print_off_map, print_table, store_option
from embedstore.quantities import human_bytes, human_time

if TYPE_CHECKING:
    from actors.estimate import IngestEstimate
    from actors.summary import IngestSummary
    from cli.json_log import JsonLog

SHOWN_WARNINGS = 10


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
@click.option("--log-json", is_flag=True, help="Write progress, warnings and errors to stderr as JSON, one a line.")
@json_option
def command(slides: tuple[str, ...], store: str, as_json: bool, dry_run: bool, log_json: bool, **options: Any) -> None:
    """Embed the tissue tiles of SLIDES into a store.

    SLIDES are files, folders (searched for slides; DICOM included), folders of ready-made tiles, or lists in CSV or
    Parquet with a column 'path' and any further columns (slide_id, patient, mpp, tissue, …). Each may also be an
    address such as s3://bucket/slides/. Complete slides are skipped, so the same command finishes an interrupted run.
    Exit code 3: some slides failed; `embedstore status` shows why.
    """
    from embedstore.api.ingest import estimate_ingest, ingest_request, run_ingest

    with json_log() if log_json else contextlib.nullcontext() as log:
        request = ingest_request(slides, store, **resolve(options))
        if dry_run:
            _print_estimate(estimate_ingest(request), as_json)
            return
        result = run_ingest(request, on_progress=log.progress if log else None)
        summary = result.summary
        if log:
            _log_summary(summary, log)
    if as_json:
        print_json(summary.as_record())
    else:
        _print_summary(summary, store, notes=not log_json)
    if (summary.failed or summary.left_failed) and not log_json:
        click.echo("next: mend the reasons, and run the same command with --retry-failed", err=True)
    if summary.stopped:
        if not log_json:
            click.echo(
                f"interrupted: {summary.remaining} slide(s) remain; the same command goes on from here", err=True
            )
        sys.exit(128 + (result.signal or 2))
    if summary.failed or summary.left_failed:
        sys.exit(3)


def _log_summary(summary: "IngestSummary", log: "JsonLog") -> None:
    for state, level, slides in (
        ("failed", "error", summary.failed),
        ("failed earlier", "error", summary.left_failed),
        ("empty", "info", summary.empty),
        ("warning", "warning", summary.warned),
    ):
        for slide_id, reason in slides:
            log.write("slide", reason, level=level, slide_id=slide_id, state=state)
    log.write("summary", f"{summary.done} done, {summary.remaining} remain", summary=summary.as_record())


def _print_notes(summary: "IngestSummary") -> None:
    for line in summary.understood.lines():
        click.echo(line, err=True)
    for slide_id, reason in summary.failed:
        click.echo(f"failed  {slide_id}: {reason}", err=True)
    for slide_id, reason in summary.left_failed:
        click.echo(f"failed earlier  {slide_id}: {reason}", err=True)
    for slide_id, reason in summary.empty:
        click.echo(f"no tile  {slide_id}: {reason}", err=True)
    for slide_id, warning in summary.warned[:SHOWN_WARNINGS]:
        click.echo(f"warning  {slide_id}: {warning}", err=True)
    if len(summary.warned) > SHOWN_WARNINGS:
        click.echo(f"… {len(summary.warned):,} warnings in all; `embedstore status` shows them", err=True)


def _print_summary(summary: "IngestSummary", store: str, *, notes: bool) -> None:
    """Print what an ingest did; with `notes`, also what came up, on stderr."""
    if notes:
        _print_notes(summary)
    click.echo(
        f"{summary.done} slide(s) done, {summary.already} already there, {len(summary.empty)} without tiles, "
        f"{len(summary.failed) + len(summary.left_failed)} failed; "
        f"{summary.tiles} tiles in {human_time(summary.seconds)}"
    )
    if summary.tiles:
        stages = ", ".join(f"{stage} {human_time(seconds)}" for stage, seconds in vars(summary.stage_s).items())
        click.echo(f"worker time: {stages}")
    click.echo(f"collections in {store}: {', '.join(summary.collections)}")
    if notes:
        for name, slides in summary.without_views.items():
            click.echo(f"{name} has stored views, but not of {slides} slide(s); --views makes them", err=True)
        for name, slides in summary.off_map.items():
            print_off_map(name, slides)


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
