"""A report on extractors as a self-contained web page: one file, no script, no network."""

from collections.abc import Iterator
from html import escape

from embedstore.quantities import human_bytes, human_time
from heads.select.selection_picture import report_png
from heads.select.selection_report import CandidateReport, SelectionReport, title_of
from heads.web_page import listing, metric_cell, page, picture, table


def report_page(report: SelectionReport) -> str:
    """The page: verdict, table, picture, other tasks, notes, and how it was measured."""
    return page(f"Extractors for {report.task}", _parts(report))


def _parts(report: SelectionReport) -> Iterator[str]:
    yield (
        f'<p class="quiet">{report.sample}, '
        f"classes {escape(', '.join(report.classes))}; collection {escape(report.collection)}</p>"
    )
    yield f'<p class="verdict">{escape(report.verdict)}.</p>'
    yield "<h2>Candidates</h2>"
    yield from _table(report)
    yield picture(report_png(report), "Scores, cost and robustness of each candidate")
    yield from _robustness(report)
    if report.rank_checks:
        yield "<h2>Do other tasks rank them alike?</h2><ul>"
        for check in report.rank_checks:
            best = max(check.scores, key=lambda name: check.scores[name].value or 0, default="")
            yield (
                f"<li>{escape(check.task)}: Kendall's τ over {len(check.scores)} candidates "
                f"{escape(str(check.agreement))} ({check.tiles:,} tiles of {check.patients:,} patients); "
                f"the best on it is {escape(best)}</li>"
            )
        yield "</ul>"
    yield listing("Notes", report.notes)
    yield "<h2>How it was measured</h2>"
    yield f'<p class="quiet">{_HOW}</p>'


_HOW = (
    "Every candidate embedded the same tiles, cut around the same places; a slide is some of its tiles. "
    "Probes are trained and tested on different patients; scores are balanced accuracy, intervals are of 95 % by "
    "resampling patients, and candidates are "
    "compared on the same resamples. Few-shot probes are means of several draws, the same for all. The time to embed "
    "all is of embedding alone on this device, for as many tiles of the candidate's size as cover the collection's "
    "tissue; reading slides runs beside it and may take longer. Robustness to a change is the cosine of a tile and "
    "its changed copy, on a scale where 0 is a tile of another patient and 1 is no change. The site index is that of "
    "PathoROB: among the nearest neighbours, those of the same class from another site against those of another class "
    "from the same site."
)


def _table(report: SelectionReport) -> Iterator[str]:
    probes = list(report.tried[0].scores)
    header = ["", "extractor", *map(title_of, probes), "behind", "first in", "tiles/s", "embed all", "vectors"]
    rows = []
    for row in report.tried:
        size = f"<br><small>{row.dim} × {row.tile_px} px, {row.mpp:g} µm/px</small>"
        share = "" if row.first_share is None else f"{100 * row.first_share:.0f} %"
        scores = [metric_cell(row.scores.get(probe)) for probe in probes]
        rows.append([str(row.rank), escape(row.name) + size, *scores, metric_cell(row.behind), share, *_cost(row)])
    failed = (
        f'<tr><td>–</td><td>{escape(row.name)}</td><td class="error" colspan="{len(header) - 2}">'
        f"{escape(row.error or '')}</td></tr>"
        for row in report.failed
    )
    yield from table(header, rows, failed)


def _robustness(report: SelectionReport) -> Iterator[str]:
    kinds = [name for name in report.tried[0].robustness if not name.endswith("_found")]
    if kinds:
        yield "<h2>Robustness</h2>"
        rows = (
            [str(row.rank), escape(row.name), *(metric_cell(row.robustness.get(kind)) for kind in kinds)]
            for row in report.tried
        )
        yield from table(["", "extractor", *map(title_of, kinds)], rows)


def _cost(row: CandidateReport) -> list[str]:
    costs = human_time(3600 * (row.hours or 0)), human_bytes(1e9 * (row.gigabytes or 0))
    return [f"{row.tiles_per_s or 0:,.0f}", *costs]
