"""Self-contained web pages of reports: one file, no script, no network."""

import base64
from collections.abc import Iterable, Iterator
from html import escape

from heads.evaluation.report import Metric

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


def page(title: str, parts: Iterable[str]) -> str:
    """A page from its title and the HTML of its parts."""
    head = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>',
        f"<h1>{escape(title)}</h1>",
    )
    return "\n".join([*head, *parts, "</body></html>"]) + "\n"


def table(header: Iterable[str], rows: Iterable[Iterable[str]], more: Iterable[str] = ()) -> Iterator[str]:
    """A table; cells, and `more` rows below them, are HTML."""
    yield '<div class="wide"><table><thead><tr>'
    yield "".join(f"<th>{escape(title)}</th>" for title in header) + "</tr></thead>"
    for cells in rows:
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    yield from more
    yield "</table></div>"


def metric_cell(metric: Metric | None, *, signed: bool = False) -> str:
    """A metric with its interval below it; nothing where it is undefined."""
    if metric is None or metric.value is None:
        return ""
    sign = "+" if signed else ""
    interval = "" if metric.low is None else f"<br><small>{metric.low:{sign}.3f} to {metric.high:{sign}.3f}</small>"
    return f"{metric.value:{sign}.3f}{interval}"


def picture(png: bytes, alt: str) -> str:
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def listing(title: str, entries: Iterable[str]) -> str:
    """A heading and a list of texts; nothing where there is none."""
    items = "".join(f"<li>{escape(entry)}</li>" for entry in entries)
    return f"<h2>{escape(title)}</h2><ul>{items}</ul>" if items else ""
