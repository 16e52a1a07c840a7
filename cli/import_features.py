"""`embedstore import`."""

import contextlib
from typing import TYPE_CHECKING, Any

import click

from cli.flags import Section
from cli.json_log import json_log, log_json_flag
from cli.options import json_option, print_json, store_option
from cli.run_summary import end_with, log_summary
from embedstore.feature_config import FeatureConfig

if TYPE_CHECKING:
    from actors.importing import ImportRequest
    from actors.verifying import Verification

IMPORT = Section(
    "import",
    FeatureConfig,
    "layout",
    "coordinates",
    "features",
    "extractor",
    "tile_px",
    "mpp",
    "slide_mpp",
    "edge_l0",
)


@click.command(epilog="Example:  embedstore import trident_job/ --store my-store --slides slides/")
@click.argument("folder", metavar="FOLDER")
@store_option
@IMPORT
@click.option(
    "--weights",
    metavar="FILE|published",
    help="The weights of --extractor that made the vectors: a file, or those that are published. Only where they are "
    "given can images be searched and new slides ingested into the collection.",
)
@click.option(
    "--verify",
    type=click.IntRange(4),
    metavar="N",
    help="Embed N tiles again with --weights before anything is written, and compare: the import goes on only where "
    "the vectors are those of the extractor.",
)
@click.option("--collection", "-c", metavar="NAME", help="Name of the collection.")
@click.option(
    "--slides",
    multiple=True,
    metavar="PATH",
    help="The slides, as for ingest: files, folders, or a list with their patients; repeatable. Slides without a file "
    "are imported, too.",
)
@click.option("--retry-failed", is_flag=True, help="Also retry slides that failed or had no tiles.")
@click.option(
    "--force", multiple=True, metavar="SLIDE", help="Import this slide again and replace its rows; repeatable."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Import at most N slides.")
@click.option("--dry-run", is_flag=True, help="Only say what the folder was understood as.")
@log_json_flag
@json_option
def command(
    folder: str, store: str, as_json: bool, dry_run: bool, log_json: bool, verify: int | None, **options: Any
) -> None:
    """Bring vectors of tiles that another tool extracted into a store.

    FOLDER is what TRIDENT, CLAM, STAMP, slideflow, tiatoolbox or LazySlide wrote, or holds plain tables with a vector
    and a place a tile. Nothing is extracted again. Complete slides are skipped, so the same command finishes an
    interrupted run. Exit code 3: some slides failed; `embedstore status` shows why.
    """
    from embedstore.api.importing import import_request, run_import, verify_import

    with json_log() if log_json else contextlib.nullcontext() as log:
        request = import_request(folder, store, **options)
        if dry_run:
            verification = None if verify is None else verify_import(request, verify)
            _print_understood(request, as_json, _verified(verification))
            return
        result = run_import(request, verify=verify)
        if log:
            log_summary(result.summary, log)
    end_with(result, store, as_json=as_json, talks=not log_json, more=_verified(result.verification))


def _verified(verification: "Verification | None") -> dict[str, Any]:
    return {} if verification is None else {"verification": verification.as_json()}


def _print_understood(request: "ImportRequest", as_json: bool, more: dict[str, Any]) -> None:
    if as_json:
        print_json(request.as_record() | more)
        return
    for line in request.understood.lines():
        click.echo(line)
