"""Contact sheets."""

import numpy as np
import pytest

from embedstore.errors import ConfigError
from embedstore.exchange.pictures import PAPER, contact_sheet

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


@pytest.mark.parametrize(
    ("tiles", "captions", "options", "named"),
    [
        ([], [], {}, "without tiles"),
        ([plain(RED)], ["a", "b"], {}, "2 captions for 1"),
        ([plain(RED).astype(np.float32)], [], {}, "tile 0 .* float32"),
        ([plain(RED)[..., 0]], [], {}, r"tile 0 .* \(64, 64\)"),
        ([plain(RED)], [], {"columns": 0}, "0 columns"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(tiles, captions, options, named):
    with pytest.raises(ConfigError, match=named):
        contact_sheet(tiles, captions, **options)
