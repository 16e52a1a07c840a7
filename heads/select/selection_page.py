"""A report on extractors as a self-contained web page: one file, no script, no network."""

import base64
from collections.abc import Iterable, Iterator
from html import escape

from embedstore.quantities import human_bytes, human_time
from heads.evaluation.report import Metric
from heads.select.selection_picture import report_png
from heads.select.selection_report import CandidateReport, SelectionReport, title_of

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { --paper: #fafaf8; --card: #ffffff; --ink: #26262b; --quiet: #64646c; --line: #dcdce0; --accent: #0072b2;
  color-scheme: light; }
body { margin: 0; padding: 1.5rem clamp(1rem, 3vw, 2.5rem); background: var(--paper); color: var(--ink);
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { margin: 0; font-size: 1.35rem; font-weight: 600; }
h2 { margin: 1.75rem 0 .6rem; font-size: 1rem; font-weight: 600; }
p { margin: .35rem 0; max-width: 75ch; }
.verdict { border-left: 3px solid var(--accent); padding-left: .7rem; font-size: 1.05rem; }
.quiet { color: var(--quiet); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; background: var(--card); }
th, td { padding: .35rem .7rem; border: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:nth-child(2), td:nth-child(2), td.error { text-align: left; }
td.error { white-space: normal; color: var(--quiet); }
td small { color: var(--quiet); }
img { max-width: 100%; margin-top: 1rem; border: 1px solid var(--line); background: #fff; }
li { max-width: 75ch; }
"""


def report_page(report: SelectionReport) -> str:
    """The page: verdict, table, picture, other tasks, notes, and how it was measured."""
    return "\n".join(_parts(report)) + "\n"


def _parts(report: SelectionReport) -> Iterator[str]:
    title = f"Extractors for {report.task}"
    yield f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
    yield f"<h1>{escape(title)}</h1>"
    yield (
        f'<p class="quiet">{report.tiles:,} labelled tiles of {report.patients:,} patients, '
        f"classes {escape(', '.join(report.classes))}; collection {escape(report.collection)}</p>"
    )
    yield f'<p class="verdict">{escape(report.verdict)}.</p>'
    yield "<h2>Candidates</h2>"
    yield from _table(report)
    png = base64.b64encode(report_png(report)).decode()
    yield f'<img alt="Scores, cost and robustness of each candidate" src="data:image/png;base64,{png}">'
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
    if report.notes:
        yield f"<h2>Notes</h2><ul>{''.join(f'<li>{escape(note)}</li>' for note in report.notes)}</ul>"
    yield "<h2>How it was measured</h2>"
    yield f'<p class="quiet">{_HOW}</p></body></html>'


_HOW = (
    "Every candidate embedded the same tiles, cut around the same places. Probes are trained and tested on different "
    "patients; scores are balanced accuracy, intervals are of 95 % by resampling patients, and candidates are "
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
        scores = [_metric(row.scores.get(probe)) for probe in probes]
        rows.append([str(row.rank), escape(row.name) + size, *scores, _metric(row.behind), share, *_cost(row)])
    failed = (
        f'<tr><td>–</td><td>{escape(row.name)}</td><td class="error" colspan="{len(header) - 2}">'
        f"{escape(row.error or '')}</td></tr>"
        for row in report.failed
    )
    yield from _rows(header, rows, failed)


def _robustness(report: SelectionReport) -> Iterator[str]:
    kinds = [name for name in report.tried[0].robustness if not name.endswith("_found")]
    if kinds:
        yield "<h2>Robustness</h2>"
        rows = (
            [str(row.rank), escape(row.name), *(_metric(row.robustness.get(kind)) for kind in kinds)]
            for row in report.tried
        )
        yield from _rows(["", "extractor", *map(title_of, kinds)], rows)


def _rows(header: Iterable[str], rows: Iterable[list[str]], more: Iterable[str] = ()) -> Iterator[str]:
    """A table; its cells are HTML."""
    yield '<div class="wide"><table><thead><tr>'
    yield "".join(f"<th>{escape(title)}</th>" for title in header) + "</tr></thead>"
    for cells in rows:
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    yield from more
    yield "</table></div>"


def _metric(metric: Metric | None) -> str:
    if metric is None or metric.value is None:
        return ""
    interval = "" if metric.low is None else f"<br><small>{metric.low:.3f} to {metric.high:.3f}</small>"
    return f"{metric.value:.3f}{interval}"


def _cost(row: CandidateReport) -> list[str]:
    costs = human_time(3600 * (row.hours or 0)), human_bytes(1e9 * (row.gigabytes or 0))
    return [f"{row.tiles_per_s or 0:,.0f}", *costs]
