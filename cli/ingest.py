"""`embedstore ingest`."""

import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from cli.extractor_flags import DEFAULT_EXTRACTOR, extractor_flags
from cli.ingest_settings import EXECUTION, READING, RUN, TILING, TISSUE, VIEWS, resolve
from cli.options import config_option, json_option, print_json, print_table, store_option
from embedstore.quantities import human_bytes, human_time


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

    settings = resolve(options)
    sources = find_slides(slides, mpp=options["mpp"])
    if not sources:
        raise click.UsageError(f"no slide in {', '.join(slides)}; expected slide files, folders of tiles, or a list")
    if dry_run:
        _dry_run(sources, store, settings, options, as_json)
        return
    from actors.ingest import ingest

    stop = _StopOnInterrupt()
    summary = ingest(
        sources,
        store,
        settings.groups,
        config=settings.ingest,
        run=settings.run,
        execution=settings.execution,
        retry_failed=options["retry_failed"],
        force=options["force"],
        limit=options["limit"],
        tell=progress_line(),
        stop=stop,
    )
    if as_json:
        print_json(vars(summary))
    else:
        _print_summary(summary, store)
    if summary.stopped:
        click.echo(f"interrupted: {summary.remaining} slide(s) remain; the same command goes on from here", err=True)
        sys.exit(130)
    if summary.failed or summary.left_failed:
        sys.exit(3)


class _StopOnInterrupt:
    """Becomes true at Ctrl-C; a second one ends the process as usual."""

    def __init__(self) -> None:
        self._asked = False
        signal.signal(signal.SIGINT, self._ask)
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, signum: int, frame: Any) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        click.echo("\nstopping: finished slides are committed, slides in flight are dropped (again to abort)", err=True)

    def __call__(self) -> bool:
        return self._asked


def progress_line() -> Callable[[Any], None]:
    """One line that is redrawn on a terminal; a log line every half a minute elsewhere."""
    terminal = sys.stderr.isatty()
    told = time.monotonic()

    def tell(progress: Any) -> None:
        nonlocal told
        if not terminal and time.monotonic() - told < 30:
            return
        told = time.monotonic()
        left = progress.left_s()
        text = (
            f"{progress.slides_ended}/{progress.slides} slides, {len(progress.failures)} failed, "
            f"{progress.tiles} tiles, {progress.tiles_per_s:.0f} tiles/s"
            f"{'' if left is None else f', {human_time(left)} left'}"
        )
        sys.stderr.write(f"\r\033[K{text}" if terminal else f"{text}\n")
        sys.stderr.flush()

    return tell


def _print_summary(summary: Any, store: str) -> None:
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
        spent = ", ".join(f"{stage} {human_time(seconds)}" for stage, seconds in summary.stage_s.items())
        click.echo(f"worker time: {spent}")
    click.echo(f"collections in {store}: {', '.join(summary.collections)}")
    for name, slides in summary.without_views.items():
        click.echo(f"{name} has stored views, but not of {slides} slide(s); --views makes them", err=True)


def _dry_run(sources: Any, store: str, settings: Any, options: Mapping[str, Any], as_json: bool) -> None:
    from actors.estimate import estimate

    found = estimate(
        sources,
        store,
        settings.groups,
        config=settings.ingest,
        run=settings.run,
        device=settings.execution.device,
        retry_failed=options["retry_failed"],
        force=options["force"],
        limit=options["limit"],
    )
    if as_json:
        print_json(found)
        return
    print_table(
        [
            [
                one["collections"],
                one["slides"],
                one["slides_done"],
                one["slides_failed_earlier"],
                one["tiles"],
                one["views"],
                one["tiles_per_s"],
                human_time(3600 * one["hours"]),
                human_bytes(one["bytes"]),
            ]
            for one in found["passes"]
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
    for slide in found["unfit"]:
        click.echo(f"{slide['state']}  {slide['slide_id']}: {slide['reason']}")
    for slide in found["warned"]:
        click.echo(f"warning  {slide['slide_id']}: {slide['warning']}", err=True)
