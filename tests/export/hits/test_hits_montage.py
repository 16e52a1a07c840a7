"""Montages: the query first and set apart, neighbours in their order, and what is lost costs its own picture only."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedstore.errors import ConfigError, ExportError
from embedstore.export import draw_montage, write_montage
from embedstore.export.pictures.contact_sheet import ACCENT, BLANK, INK
from embedstore.store import Store, TileLocation
from tests.export.hits_scene import COLOURS, FOLDER, LOST, make_found, make_hits, of_tile, tile_rows, vector

RED, GREEN, BLUE = COLOURS
TILE_PX = 96


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_found(tmp_path)


def box(sheet: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the pixels of a colour, the last ones included."""
    rows, columns = np.nonzero((np.asarray(sheet) == colour).all(axis=2))
    return columns.min(), rows.min(), columns.max(), rows.max()


def count(sheet: Image.Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(sheet) == colour).all(axis=2).sum())


def test_the_query_stands_first_in_a_frame_and_neighbours_follow_in_their_order(store: Store, tmp_path: Path):
    red, green, blue = tile_rows(store, "a.svs")
    hits = make_hits(store, [blue, green], of_tile(red))
    sheet = write_montage(hits, tmp_path / "new" / "m.png", tile_px=TILE_PX)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / "m.png")), np.asarray(sheet))
    query, first, second = (box(sheet, colour) for colour in (RED, BLUE, GREEN))
    assert all(count(sheet, colour) == TILE_PX**2 for colour in COLOURS)
    assert query[3] < first[1] == second[1] and query[0] == first[0] < second[0]
    frame = box(sheet, ACCENT)
    assert frame[0] < query[0] and frame[1] < query[1] and query[2] < frame[2] and query[3] < frame[3] < first[1]


def test_a_query_of_several_tiles_shows_them_all_before_what_was_found(store: Store):
    red, green, blue = tile_rows(store, "a.svs")
    query = vector("lesion", tiles=(TileLocation.from_row(red), TileLocation.from_row(green)))
    sheet = draw_montage(make_hits(store, [blue], query), tile_px=TILE_PX, columns=1)
    assert box(sheet, RED)[3] < box(sheet, GREEN)[1] and box(sheet, GREEN)[3] < box(sheet, BLUE)[1]


def test_a_slide_that_is_lost_costs_its_own_pictures(store: Store):
    red, *_ = tile_rows(store, "a.svs")
    rows = [*tile_rows(store, LOST), red, *tile_rows(store, FOLDER)]
    sheet = draw_montage(make_hits(store, rows, of_tile(rows[0])), tile_px=TILE_PX)
    assert count(sheet, RED) == TILE_PX**2
    assert count(sheet, BLANK) > 5 * 0.8 * TILE_PX**2  # the query, four tiles found, less the letters


def test_what_has_no_picture_shows_a_card(store: Store, tmp_path: Path):
    red, *_ = tile_rows(store, "a.svs")
    Image.new("RGBA", (300, 150), (*GREEN, 255)).save(tmp_path / "q.png")
    sheet = draw_montage(make_hits(store, [red], vector("image", picture=tmp_path / "q.png")), tile_px=TILE_PX)
    assert count(sheet, GREEN) == TILE_PX * TILE_PX // 2
    for query in (vector(), vector("image", picture=tmp_path / "lost.png")):
        sheet = draw_montage(make_hits(store, [red], query), tile_px=TILE_PX)
        assert 0.5 * TILE_PX**2 < count(sheet, BLANK) < TILE_PX**2


def test_nothing_found_still_shows_the_query(store: Store):
    red, *_ = tile_rows(store, "a.svs")
    sheet = draw_montage(make_hits(store, [], of_tile(red)), tile_px=TILE_PX)
    assert count(sheet, RED) == TILE_PX**2 and count(sheet, INK)


def test_what_cannot_be_written_is_refused(store: Store, tmp_path: Path):
    hits = make_hits(store, tile_rows(store, LOST))
    with pytest.raises(ExportError, match=r"ends in '\.svg'; expected a picture, such as .*m\.png"):
        write_montage(hits, tmp_path / "m.svg")
    with pytest.raises(ConfigError, match="0 columns"):
        write_montage(hits, tmp_path / "m.png", columns=0)
    assert not (tmp_path / "m.png").exists()
