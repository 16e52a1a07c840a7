"""Hits as a web page in one file: no script, no network."""

import base64
import io
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from embedstore.errors import ExportError
from embedstore.export.hits.hit_pictures import (
    Picture,
    distance_text,
    pictures_of,
    place_text,
    summary_lines,
)
from embedstore.output_files import FILE_ENDINGS, atomic_write
from embedstore.search.hits import Hit, Hits
from embedstore.store import TileLocation

PICTURE_PX = 512  # longest side of a picture in the page; most tiles are smaller, query images larger
JPEG_QUALITY = 88
NOTEBOOK_TILES = 24  # a notebook file keeps its output, and is read in a diff

STYLE = """
.es { --paper: #fafaf8; --card: #ffffff; --ink: #26262b; --quiet: #64646c; --line: #dcdce0; --accent: #0072b2;
  color-scheme: light; background: var(--paper); color: var(--ink); padding: 1.5rem clamp(1rem, 3vw, 2.5rem);
  font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
@media (prefers-color-scheme: dark) {
  .es { --paper: #18181b; --card: #232327; --ink: #e9e9ec; --quiet: #a6a6ae; --line: #3a3a40; --accent: #56b4e9;
    color-scheme: dark; }
}
.es h1 { margin: 0; font-size: 1.35rem; line-height: 1.3; font-weight: 600; overflow-wrap: anywhere; }
.es h2 { margin: 1.75rem 0 .75rem; font-size: .95rem; font-weight: 600; }
.es p { margin: .35rem 0 0; color: var(--quiet); }
.es p.es-note { color: var(--ink); border-left: 3px solid var(--accent); padding-left: .6rem; }
.es ol { list-style: none; margin: 0; padding: 0; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(13rem, 100%), 1fr)); }
.es .es-several ol { gap: .75rem; grid-template-columns: repeat(auto-fill, minmax(min(9rem, 100%), 11rem)); }
.es .es-several li { font-size: .86em; }
.es li { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 6px; overflow: hidden;
  break-inside: avoid; }
.es .es-query li { border: 3px solid var(--accent); }
.es img, .es .es-blank { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; margin: 0; }
.es .es-blank { display: grid; place-items: center; text-align: center; color: var(--quiet); background: var(--line); }
.es .es-said { padding: .55rem .7rem .7rem; }
.es .es-head { display: flex; justify-content: space-between; font-weight: 600; font-variant-numeric: tabular-nums; }
.es .es-head span + span { font-weight: 400; }
.es .es-query .es-head { color: var(--accent); }
.es .es-slide { overflow-wrap: anywhere; }
.es dl { display: grid; grid-template-columns: auto 1fr; gap: 0 .6rem; margin: .3rem 0 0; font-size: .86rem; }
.es .es-id { margin-top: .3rem; color: var(--quiet); font-size: .76rem; overflow-wrap: anywhere; }
.es dt { color: var(--quiet); }
.es dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
"""
PAGE_STYLE = "body { margin: 0; }\n.es { min-height: 100vh; box-sizing: border-box; }\n"
# A page may be opened anywhere: it must not fetch or run anything, whatever the names of slides contain.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_page(hits: Hits, path: str | Path) -> int:
    """Write a page with the query and a card for each hit, with its picture, distance, slide, place and metadata.

    The page needs no other file and follows the reader's choice of a light or dark theme.

    Returns:
        How many tiles it shows.
    Raises:
        ExportError: the path has the ending of other files, or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() in FILE_ENDINGS - {".html", ".htm"}:
        raise ExportError(f"page {path} ends in {path.suffix!r}; expected {path.with_suffix('.html')}")
    title = escape(f"Nearest to {hits.query.title}")
    with atomic_write(path) as part, part.open("w", encoding="utf-8", errors="xmlcharrefreplace", newline="\n") as file:
        file.write('<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n')
        file.write(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n')
        file.write('<meta name="viewport" content="width=device-width, initial-scale=1">\n')
        file.write('<meta name="color-scheme" content="light dark">\n')
        file.write(f"<title>{title}</title>\n<style>{STYLE}{PAGE_STYLE}</style>\n</head>\n<body>\n")
        file.writelines(_body(hits, len(hits)))
        file.write("</body>\n</html>\n")
    return len(hits)


def notebook_html(hits: Hits) -> str:
    """The first hits as HTML for a notebook."""
    return f"<style>{STYLE}</style>\n" + "".join(_body(hits, NOTEBOOK_TILES))


def _body(hits: Hits, most: int) -> Iterator[str]:
    yield f'<div class="es">\n<header>\n<h1>Nearest to {escape(hits.query.title)}</h1>\n'
    yield f"<p>{escape(' · '.join(summary_lines(hits)))}</p>\n"
    if hits.note:
        yield f'<p class="es-note">{escape(hits.note)}</p>\n'
    shown = hits.first(most)
    query, found = pictures_of(hits, [hit.tile for hit in shown])
    several = " es-several" if len(query) > 1 else ""  # smaller, so that the hits are not far below
    yield f'</header>\n<section class="es-query{several}">\n<h2>Query</h2>\n<ol>\n'
    for picture, tile in query:
        yield _card(picture, "query", "", tile, {} if tile is None else {"place": place_text(tile)})
    yield "</ol>\n</section>\n"
    if shown:
        part = f", the first {len(shown)} of {len(hits)}" if len(shown) < len(hits) else ""
        yield f'<section class="es-found">\n<h2>Found{part}</h2>\n<ol>\n'
        for picture, hit in zip(found, shown, strict=True):
            yield _card(picture, str(hit.rank), f"distance {distance_text(hit)}", hit.tile, _facts(hit))
        yield "</ol>\n<p>Distance is 1 − cosine, from 0 (the same direction) to 2; places are level-0 pixels.</p>\n"
        yield "</section>\n"
    yield "</div>\n"


def _card(picture: Picture, left: str, right: str, tile: TileLocation | None, facts: dict[str, str]) -> str:
    """A list item: the picture, two words above, and facts on the tile."""
    lines = [f'<li>\n{_image(picture, alt=left)}\n<div class="es-said">']
    lines.append(f'<div class="es-head"><span>{escape(left)}</span><span>{escape(right)}</span></div>')
    if tile is not None:
        lines.append(f'<div class="es-slide">{escape(tile.slide_id)}</div>')
        lines.append("<dl>")
        lines += [f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts.items()]
        lines.append(f'</dl>\n<div class="es-id">tile {tile.tile_id}</div>')
    return "\n".join([*lines, "</div>\n</li>\n"])


def _facts(hit: Hit) -> dict[str, str]:
    """Facts on a tile besides its slide and id, by name."""
    facts: dict[str, Any] = {"place": place_text(hit.tile), "patient": hit.patient, **hit.more}
    return {name: _text(value) for name, value in facts.items() if value is not None}


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _image(picture: Picture, *, alt: str) -> str:
    if isinstance(picture, str):
        return f'<div class="es-blank">{escape(picture)}</div>'
    image = Image.fromarray(picture)
    image.thumbnail((PICTURE_PX, PICTURE_PX), Image.Resampling.BOX)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=JPEG_QUALITY, subsampling=0)  # colour at full resolution: stains are told by it
    text = base64.b64encode(data.getvalue()).decode()
    return f'<img src="data:image/jpeg;base64,{text}" alt="{escape(alt)}" decoding="async">'
