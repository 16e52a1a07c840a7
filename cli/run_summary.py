"""How `ingest` and `import` end: what they did, what failed, and the exit code."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from cli.options import print_json, print_off_map
from embedstore.quantities import human_time

if TYPE_CHECKING:
    from actors.summary import IngestSummary
    from cli.json_log import JsonLog
    from embedstore.api.ingest import IngestResult

SHOWN_WARNINGS = 10


def end_with(
    result: "IngestResult", store: str, *, as_json: bool, talks: bool = True, more: Mapping[str, Any] | None = None
) -> None:
    """Print what a run did, and exit: with 3 where slides failed, or as a signal that stopped it demands.

    Args:
        talks: Say on stderr what came up, and what to do next.
        more: Further members of the JSON.
    """
    summary = result.summary
    if as_json:
        print_json(summary.as_record() | dict(more or {}))
    else:
        _print_summary(summary, store, notes=talks)
    failed = bool(summary.failed or summary.left_failed)
    if failed and talks:
        click.echo("next: mend the reasons, and run the same command with --retry-failed", err=True)
    if summary.stopped:
        if talks:
            click.echo(
                f"interrupted: {summary.remaining} slide(s) remain; the same command goes on from here", err=True
            )
        sys.exit(128 + (result.signal or 2))
    if failed:
        sys.exit(3)


def log_summary(summary: "IngestSummary", log: "JsonLog") -> None:
    """Write what a run did to a structured log: an event for each slide that came up, and one for all."""
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
    """What came up in the run; what its slides were understood as was told when it began."""
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
