"""Contact sheets."""

import numpy as np
import pytest

from embedstore.errors import ConfigError
from embedstore.export.pictures.contact_sheet import ACCENT, ACCENT_PX, BLANK, PAPER, blank_tile, contact_sheet

RED, BLUE = (200, 30, 30), (30, 30, 200)


def plain(colour, height=64, width=64):
    return np.full((height, width, 3), colour, np.uint8)


def test_tiles_stand_row_by_row():
    sheet = np.asarray(contact_sheet([plain(RED), plain(RED), plain(BLUE)], columns=2, tile_px=64))
    reds, blues = np.argwhere((sheet == RED).all(2)), np.argwhere((sheet == BLUE).all(2))
    assert len(reds) == 2 * 64 * 64 and len(blues) == 64 * 64
    assert blues[:, 0].min() > reds[:, 0].max()
    assert blues[:, 1].max() < sheet.shape[1] // 2


def test_tile_keeps_its_shape():
    sheet = np.asarray(contact_sheet([plain(RED, 50, 200)], tile_px=100))
    red = np.argwhere((sheet == RED).all(2))
    assert tuple(np.ptp(red, axis=0) + 1) == (25, 100)


def test_captions_take_room_below_and_leave_the_tile_alone():
    bare = contact_sheet([plain(RED)], tile_px=96)
    named = contact_sheet([plain(RED)], ["slide.svs\n1024, 2048"], tile_px=96, title="found")
    assert named.width == bare.width and named.height > bare.height + 32
    ink = (np.asarray(named) < 120).all(2)
    assert ink.any()
    assert (np.asarray(named) == RED).all(2).sum() == 96 * 96


def test_long_captions_stay_below_their_tile():
    sheet = np.asarray(contact_sheet([plain(PAPER), plain(PAPER)], ["x" * 400, ""], columns=2, tile_px=96))
    caption = sheet[14 + 96 + 3 :, 14 + 96 + 2 :]
    assert (caption == PAPER).all()


def test_letters_that_the_font_lacks_are_spelt_out():
    spelt = contact_sheet([plain(RED)], ["Präparat 0.5 µm"])
    assert np.array_equal(spelt, contact_sheet([plain(RED)], ["Praparat 0.5 um"]))


def test_accented_tiles_stand_in_rows_of_their_own_with_a_frame():
    tiles = [plain(RED), plain(RED), plain(RED), plain(BLUE)]
    sheet = np.asarray(contact_sheet(tiles, ["q"] * 3 + ["n"], columns=2, tile_px=64, accented=3))
    reds, blues = np.argwhere((sheet == RED).all(2)), np.argwhere((sheet == BLUE).all(2))
    assert len(reds) == 3 * 64 * 64 and blues.min(axis=0)[1] == reds.min(axis=0)[1]
    assert blues[:, 0].min() > reds[:, 0].max() + ACCENT_PX
    frame = (sheet == ACCENT).all(2)
    top, left = reds.min(axis=0)
    assert frame[top - ACCENT_PX : top, left : left + 64].all() and not frame[top - ACCENT_PX - 1].any()
    assert not frame[blues[:, 0].min() - 1, left : left + 64].any()


def test_further_lines_of_a_title_push_the_tiles_down():
    one, two = (contact_sheet([plain(RED)] * 4, title=title) for title in ("found", "found\nin a collection"))
    assert two.height == one.height + 16
    assert (np.asarray(two) == RED).all(2).sum() == (np.asarray(one) == RED).all(2).sum()


def test_a_blank_tile_says_why_and_keeps_its_letters_inside():
    card = blank_tile("slide not at hand", 96)
    assert card.shape == (96, 96, 3)
    ink = np.argwhere((card != BLANK).any(2))
    assert len(ink) and ink.min() > 4 and ink.max() < 92


@pytest.mark.parametrize(
    ("tiles", "captions", "options", "named"),
    [
        ([], [], {}, "of no tiles"),
        ([plain(RED)], ["a", "b"], {}, "2 captions for 1"),
        ([plain(RED).astype(np.float32)], [], {}, "tile 0 .* float32"),
        ([plain(RED)[..., 0]], [], {}, r"tile 0 .* \(64, 64\)"),
        ([plain(RED)], [], {"columns": 0}, "0 columns"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(tiles, captions, options, named):
    with pytest.raises(ConfigError, match=named):
        contact_sheet(tiles, captions, **options)
