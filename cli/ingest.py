"""`embedstore ingest`."""

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from cli.extractor_flags import DEFAULT_EXTRACTOR, extractor_flags
from cli.ingest_settings import EXECUTION, READING, RUN, TILING, TISSUE, VIEWS, resolve
from cli.options import config_option, json_option, print_json, print_table, store_option
from embedstore.quantities import human_bytes, human_time

if TYPE_CHECKING:
    from actors.request import IngestRequest
    from actors.summary import IngestSummary
    from embedstore.progress import OnProgress, Progress
    from embedstore.slides import SlideSource


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
@json_option
def command(slides: tuple[str, ...], store: str, as_json: bool, dry_run: bool, **options: Any) -> None:
    """Embed the tissue tiles of SLIDES into a store.

    SLIDES are files, folders (searched for slides; DICOM included), folders of ready-made tiles, or lists in CSV or
    Parquet with a column 'path' and any further columns (slide_id, patient, mpp, tissue, …). Complete slides are
    skipped, so the same command finishes an interrupted run. Exit code 3: some slides failed; `embedstore status`
    shows why.
    """
    from embedstore.slides import find_slides

    sources = find_slides(slides, mpp=options["mpp"])
    if not sources:
        raise click.UsageError(f"no slide in {', '.join(slides)}; expected slide files, folders of tiles, or a list")
    request = _request(sources, store, options)
    if dry_run:
        _dry_run(request, as_json)
        return
    from actors.ingest import ingest
    from actors.interruption import stop_on_interrupt

    on_progress = progress_line()
    with stop_on_interrupt(on_progress) as should_stop:
        summary = ingest(request, on_progress=on_progress, should_stop=should_stop)
    if as_json:
        print_json(summary.as_record())
    else:
        _print_summary(summary, store)
    if summary.stopped:
        click.echo(f"interrupted: {summary.remaining} slide(s) remain; the same command goes on from here", err=True)
        sys.exit(130)
    if summary.failed or summary.left_failed:
        sys.exit(3)


def _request(sources: "list[SlideSource]", store: str, options: Mapping[str, Any]) -> "IngestRequest":
    from actors.request import IngestRequest

    settings = resolve(options)
    return IngestRequest(
        sources=sources,
        store_uri=store,
        groups=settings.groups,
        config=settings.ingest,
        run=settings.run,
        execution=settings.execution,
        retry_failed=options["retry_failed"],
        force=frozenset(options["force"]),
        limit=options["limit"],
    )


def progress_line() -> "OnProgress":
    """One line that is redrawn on a terminal; elsewhere a line every half a minute. Messages get their own line."""
    terminal = sys.stderr.isatty()
    last = time.monotonic()

    def on_progress(progress: "Progress") -> None:
        nonlocal last
        if not progress.unit:
            click.echo(f"\n{progress.message}" if terminal else progress.message, err=True)
            return
        if not terminal and time.monotonic() - last < 30:
            return
        last = time.monotonic()
        text = f"{progress.done}/{progress.total} {progress.unit}, {progress.message}"
        sys.stderr.write(f"\r\033[K{text}" if terminal else f"{text}\n")
        sys.stderr.flush()

    return on_progress


def _print_summary(summary: "IngestSummary", store: str) -> None:
    if sys.stderr.isatty():
        click.echo("", err=True)
    for slide_id, reason in summary.failed:
        click.echo(f"failed  {slide_id}: {reason}", err=True)
    for slide_id, reason in summary.left_failed:
        click.echo(f"failed earlier (--retry-failed tries again)  {slide_id}: {reason}", err=True)
    for slide_id, reason in summary.empty:
        click.echo(f"no tile  {slide_id}: {reason}", err=True)
    click.echo(
        f"{summary.done} slide(s) done, {summary.already} already there, {len(summary.empty)} without tiles, "
        f"{len(summary.failed) + len(summary.left_failed)} failed; "
        f"{summary.tiles} tiles in {human_time(summary.seconds)}"
    )
    if summary.tiles:
        spent = ", ".join(f"{stage} {human_time(seconds)}" for stage, seconds in vars(summary.stage_s).items())
        click.echo(f"worker time: {spent}")
    click.echo(f"collections in {store}: {', '.join(summary.collections)}")
    for name, slides in summary.without_views.items():
        click.echo(f"{name} has stored views, but not of {slides} slide(s); --views makes them", err=True)


def _dry_run(request: "IngestRequest", as_json: bool) -> None:
    from actors.estimate import estimate

    result = estimate(request)
    if as_json:
        print_json(result.as_record())
        return
    print_table(
        [
            [
                ", ".join(each.collections),
                each.slides,
                each.slides_done,
                each.slides_failed_earlier,
                each.tiles,
                each.views,
                each.tiles_per_s,
                human_time(3600 * each.hours),
                human_bytes(each.bytes),
            ]
            for each in result.passes
        ],
        [
            "collections",
            "slides",
            "already there",
            "failed earlier",
            "tiles",
            "views",
            "tiles/s here",
            "time",
            "vectors",
        ],
    )
    for slide in result.unfit:
        click.echo(f"{slide.state}  {slide.slide_id}: {slide.reason}")
    for warning in result.warned:
        click.echo(f"warning  {warning.slide_id}: {warning.warning}", err=True)
