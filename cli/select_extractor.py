"""`embedstore select-extractor`."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.extractor_flags import DETAIL_FLAGS, extractor_flags, extractors_from_flags
from cli.fit_settings import SPLIT, resolve_split
from cli.flags import Flag, Section
from cli.json_log import log_json_option
from cli.options import (
    collection_option,
    config_option,
    json_option,
    print_json,
    print_notes,
    print_table,
    store_option,
    where_option,
)
from embedstore.config import ExecutionConfig, JoinConfig
from embedstore.output_files import require_folder
from embedstore.quantities import human_bytes, human_time
from heads.config import SelectConfig

if TYPE_CHECKING:
    from embedstore.extractors import ExtractorConfig
    from heads.select import SelectionReport

SELECT = Section(
    "select",
    SelectConfig,
    "level",
    "encoder",
    "tiles",
    "slide_tiles",
    Flag("rank_by", metavar="PROBE"),
    Flag("site", metavar="COLUMN"),
    "seed",
)
JOIN = Section("join", JoinConfig)  # a table of the TOML file without flags


@click.command(epilog="Example:  embedstore select-extractor --store my-store -t tumour -e colour-12 -e stain-texture")
@store_option
@collection_option
@click.option("--task", "-t", required=True, metavar="NAME", help="Task whose labels the candidates are tried on.")
@extractor_flags("A candidate: a name from `embedstore extractors`, any timm model, or module:function; repeatable.")
@config_option
@SELECT
@click.option(
    "--rank-check",
    multiple=True,
    metavar="TASK",
    help="Also rank on this task and report how far the rankings agree; repeatable.",
)
@where_option
@SPLIT
@click.option(
    "--tile-px", type=int, help="Edge of the tiles for every candidate, pixels.  [default: the candidate's own]"
)
@click.option("--tile-mpp", type=float, help="Resolution of these tiles, µm/px.  [default: the candidate's own]")
@click.option("--device", default=ExecutionConfig.device, show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
              help="Write report.json, report.png and report.html here.")  # fmt: skip
@log_json_option
@json_option
def command(
    store: str, collection: str | None, task: str, rank_check: tuple[str, ...], where: str | None, tile_px: int | None,
    tile_mpp: float | None, device: str, out: Path | None, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Compare candidates for an extractor on a labelled proxy task of your own slides.

    A sample of the labelled tiles goes through every candidate in one pass over the pixels. Linear heads, neighbours,
    class means and few-shot probes measure how well each candidate separates the classes on unseen patients, with
    intervals; cost and robustness are reported too. The tiles come from a collection that has the labelled slides:
    `ingest -e stain-texture` makes one without any weights. With --level slide, labels are of slides, and a slide
    is some of its tiles, as --encoder puts them together. Exit code 3: a candidate could not be tried.
    """
    candidates, config = resolve_select(options)
    from embedstore import api

    opened = api.open(store)
    if out is not None:
        require_folder(out)  # fail before the work, not after it
    selection = opened.select_extractor(
        task, candidates, config, collection=collection, rank_check=rank_check, where=where, tile_px=tile_px,
        mpp=tile_mpp, device=device,
    )  # fmt: skip
    if out is not None:
        selection.write(out)
        click.echo(f"{out / 'report.html'}, report.png, report.json", err=True)
    report = selection.report
    if as_json:
        print_json(report.as_record())
    else:
        _print(report)
    if report.failed:
        sys.exit(3)


def resolve_select(options: Mapping[str, Any]) -> "tuple[list[ExtractorConfig], SelectConfig]":
    """Merge flags over the TOML file over defaults.

    The file has [[extractor]] tables, as for ingest, and the tables [select], [split] and [join].

    Raises:
        ConfigError: the file has an unknown table or field, or a value is not valid.
    """
    from embedstore.extractors.extractor_tables import EXTRACTOR_FIELDS, extractors_from_tables
    from embedstore.toml_tables import fields_of, read_tables

    path = options.get("config_file")
    fields = fields_of({section.table: section.config for section in (SELECT, SPLIT, JOIN)})
    tables = read_tables(path, fields | {"extractor": EXTRACTOR_FIELDS}, repeated=["extractor"])
    config = SELECT.build(
        tables["select"], options, split=resolve_split(tables, options), join=JOIN.build(tables["join"], options)
    )
    if options.get("extractors"):
        return extractors_from_flags(options), config
    if not tables["extractor"]:
        raise click.UsageError("name candidates with --extractor, or in [[extractor]] tables of --config")
    if unused := [flag for flag, name in DETAIL_FLAGS.items() if options.get(name)]:
        raise click.UsageError(f"{', '.join(unused)} goes with --extractor; the candidates are those of {path}")
    return extractors_from_tables(tables["extractor"], path)[0], config


def _print(report: "SelectionReport") -> None:
    """The ranking with its cost, then the other probes, then robustness: three tables, each as wide as a screen."""
    from heads.select.selection_report import title_of

    tried, rank_by = report.tried, report.rank_by
    rows = [
        [
            candidate.rank, candidate.name, str(candidate.scores[rank_by]), str(candidate.behind or ""),
            _percent(candidate.first_share), round(candidate.tiles_per_s or 0),
            human_time(3600 * (candidate.hours or 0)), human_bytes(1e9 * (candidate.gigabytes or 0)),
        ]
        for candidate in tried
    ]  # fmt: skip
    print_table(rows, ["", "extractor", title_of(rank_by), "behind", "first in", "tiles/s", "embed all", "vectors"])
    for candidate in report.failed:
        click.echo(f"–  {candidate.name}: {candidate.error}")
    for title, metrics in (
        ("extractor", [candidate.scores for candidate in tried]),
        ("robustness", [candidate.robustness for candidate in tried]),
    ):
        names = [name for name in metrics[0] if name != rank_by and not name.endswith("_found")]
        if names:
            click.echo()
            rows = [
                [candidate.rank, candidate.name, *(str(values.get(name, "")) for name in names)]
                for candidate, values in zip(tried, metrics, strict=True)
            ]
            print_table(rows, ["", title, *map(title_of, names)])
    if report.rank_checks:
        click.echo()
    for check in report.rank_checks:
        click.echo(f"ranking on {check.task}: Kendall's tau over {len(check.scores)} candidates {check.agreement}")
    area = f"the area of {report.collection_tiles:,} tiles of {report.collection}"
    click.echo(f"embed all, vectors: for {area}; time of embedding alone, on {tried[0].device}", err=True)
    print_notes(report.notes)
    click.echo(report.verdict, err=True)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"
