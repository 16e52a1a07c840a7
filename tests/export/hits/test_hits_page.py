"""Pages: whole in one file, in order, and safe whatever slides are called."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from embedstore.export import write_page
from embedstore.export.hits.hits_page import NOTEBOOK_TILES, notebook_html
from embedstore.store import Store, TileLocation
from tests.export.hits_scene import COLOURS, FOLDER, LOST, make_found, make_hits, of_tile, tile_rows, vector

VOID = {"meta", "img"}


class Reader(HTMLParser):
    """Tags with their attributes, the texts between them, and whether each tag is closed in turn."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"] and data.strip():
            self.texts.append(data.strip())

    def pictures(self) -> list[np.ndarray]:
        sources = [attrs["src"] or "" for tag, attrs in self.tags if tag == "img"]
        heads = {source.split(",")[0] for source in sources}
        assert heads <= {"data:image/jpeg;base64"}
        return [
            np.asarray(Image.open(io.BytesIO(base64.b64decode(source.split(",")[1], validate=True))))
            for source in sources
        ]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_found(tmp_path)


def written(hits, path: Path) -> Reader:
    assert write_page(hits, path) == len(hits)
    return Reader(path.read_text(encoding="utf-8"))


def test_pictures_stand_in_the_page_with_the_query_first(store: Store, tmp_path: Path):
    red, green, blue = tile_rows(store, "a.svs")
    cohort = pa.array(["A", None], pa.string())
    page = written(make_hits(store, [blue, green], of_tile(red), cohort=cohort, note="two only"), tmp_path / "p.html")
    means = [picture.mean(axis=(0, 1)) for picture in page.pictures()]
    assert np.allclose(means, [COLOURS[0], COLOURS[2], COLOURS[1]], atol=3)
    texts = page.texts
    assert texts.index("query") < texts.index("distance 0.0000") < texts.index("distance 0.1000")
    assert f"tile {green['tile_id']}" in texts and "x 256, y 0" in texts and "P0" in texts and "two only" in texts
    assert texts.count("cohort") == 1 and "A" in texts  # one slide does not say
    assert "2 tiles of 1 slide of 1 patient · collection toy · tiles of 256 px at 0.5 µm/px, 128 µm wide" in texts


def test_nothing_is_fetched_or_run(store: Store, tmp_path: Path):
    page = written(make_hits(store, tile_rows(store, "a.svs")), tmp_path / "p.html")
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in page.tags}
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on") or name == "href"]
    policy = [attrs["content"] for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    text = (tmp_path / "p.html").read_text()
    assert "http://" not in text and "https://" not in text and "url(" not in text
    assert "prefers-color-scheme: dark" in text


def test_names_of_users_are_text(store: Store, tmp_path: Path):
    nasty = "</title><script>alert('a&b')</script>\"'><img src=x onerror=alert(1)>"
    row = {**tile_rows(store, LOST)[0], "slide_id": nasty, "name": nasty}
    hits = make_hits(
        store, [row], vector(nasty, tiles=(TileLocation.from_row(row),)), note=nasty, **{nasty: pa.array([nasty])}
    )
    page = written(hits, tmp_path / "p.html")
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert page.texts.count(nasty) == 7  # note; slide and place of the query and of the tile; a column and its value
    assert [text for text in page.texts if text.startswith("Nearest")] == [f"Nearest to {nasty}"] * 2
    Reader(notebook_html(hits))


def test_a_title_that_is_no_text_is_written_all_the_same(store: Store, tmp_path: Path):
    written(make_hits(store, tile_rows(store, LOST), vector("image \udcff.png")), tmp_path / "p.html")


def test_what_is_lost_is_said_and_costs_no_other_picture(store: Store, tmp_path: Path):
    red, *_ = tile_rows(store, "a.svs")
    page = written(make_hits(store, [*tile_rows(store, LOST), red, *tile_rows(store, FOLDER)]), tmp_path / "p.html")
    assert len(page.pictures()) == 1
    assert page.texts.count("slide not at hand") == 4 and "a vector, which has no picture" in page.texts
    assert "n/1.png" in page.texts


def test_nothing_found_is_a_page_too(store: Store, tmp_path: Path):
    page = written(make_hits(store, []), tmp_path / "p.html")
    assert "nothing found · collection toy" in page.texts and "Found" not in page.texts


def test_a_notebook_shows_the_first_tiles(store: Store):
    rows = tile_rows(store, LOST)[:1] * (NOTEBOOK_TILES + 3)
    page = Reader(notebook_html(make_hits(store, rows)))
    assert sum(tag == "li" for tag, _ in page.tags) == 1 + NOTEBOOK_TILES
    assert f"Found, the first {NOTEBOOK_TILES} of {NOTEBOOK_TILES + 3}" in page.texts


def test_pictures_of_a_size_that_a_page_can_hold(store: Store, tmp_path: Path):
    Image.new("RGB", (3000, 1500), COLOURS[0]).save(tmp_path / "q.png")
    page = written(make_hits(store, [], vector("image", picture=tmp_path / "q.png")), tmp_path / "p.html")
    assert [picture.shape for picture in page.pictures()] == [(256, 512, 3)]
