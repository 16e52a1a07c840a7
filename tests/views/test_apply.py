"""Each parameter does to pixels what it says: against numpy, closed forms on flat colours, and formulas in float64."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedstore.config import ViewConfig
from embedstore.views import PARAMETERS, draw_parameters, unchanged
from embedstore.views.apply import apply_view, with_views

# Optical densities of one unit of stain, by Ruifrok & Johnston's table, scaled to length 1 by hand.
HAEMATOXYLIN = np.array([0.650, 0.704, 0.286]) / 0.99992
EOSIN = np.array([0.072, 0.990, 0.105]) / 0.99814
RESIDUAL = np.cross(HAEMATOXYLIN, EOSIN) / np.linalg.norm(np.cross(HAEMATOXYLIN, EOSIN))


def changed(**values: float) -> np.ndarray:
    parameters = unchanged()
    for name, value in values.items():
        parameters[PARAMETERS.index(name)] = value
    return parameters


def tissue(px: int = 64, *, seed: int = 0) -> np.ndarray:
    """Smooth blobs in colours of tissue."""
    noise = np.random.default_rng(seed).normal(size=(px, px, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return np.clip(170 + 300 * smooth, 0, 255).astype(np.uint8)


def flat(colour, px: int = 32) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8), (px, px, 3)).copy()


def dyed(haematoxylin: float, eosin: float) -> np.ndarray:
    """A flat tile with these amounts of stains."""
    return flat(np.rint(256 * 10 ** -(haematoxylin * HAEMATOXYLIN + eosin * EOSIN) - 1))


def test_unchanged_gives_the_same_bytes_in_an_array_of_its_own():
    tile = tissue()
    view = apply_view(tile, unchanged())
    np.testing.assert_array_equal(view, tile)
    assert not np.shares_memory(view, tile)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirror", [False, True])
def test_mirror_and_turns_move_pixels_alone(mirror, turns):
    tile = tissue()
    expected = np.rot90(np.fliplr(tile) if mirror else tile, turns)
    np.testing.assert_array_equal(apply_view(tile, changed(mirror=mirror, turns=turns)), expected)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (1, 1), (0.3, 0.8)])
def test_crop_shows_the_square_that_is_left(x, y):
    """Of a plane of grey that rises along x, and one along y, the view has a closed form."""
    px, share = 128, 0.36
    column, row = np.meshgrid(np.arange(px), np.arange(px))
    tile = np.stack([column, row, np.full_like(row, 9)], axis=-1).astype(np.uint8)
    scale = (1 - share) ** 0.5
    at = (np.arange(px) + 0.5) * scale - 0.5  # centres of pixels, from the corner of the square
    view = apply_view(tile, changed(crop=share, crop_x=x, crop_y=y)).astype(float)
    inside = slice(4, -4)  # the edge is repeated, which bends the plane
    expected_x, expected_y = (at + place * px * (1 - scale) for place in (x, y))
    assert np.abs(view[inside, inside, 0] - expected_x[inside]).max() <= 1
    assert np.abs(view[inside, inside, 1] - expected_y[inside, None]).max() <= 1
    assert (view[..., 2] == 9).all()


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"haematoxylin_gain": 0.2}, (0.6, 0.4)),
        ({"haematoxylin_shift": -0.1}, (0.4, 0.4)),
        ({"eosin_gain": -0.25}, (0.5, 0.3)),
        ({"eosin_shift": 0.1, "haematoxylin_gain": 0.1}, (0.55, 0.5)),
    ],
)
def test_stains_have_the_requested_amounts(parameters, expected):
    view = apply_view(dyed(0.5, 0.4), changed(**parameters)).astype(int)
    assert np.abs(view - dyed(*expected)).max() <= 2


def test_stains_follow_the_formula_everywhere():
    """In float64, pixel by pixel, on every kind of colour."""
    tile = np.random.default_rng(1).integers(0, 256, (72, 72, 3), dtype=np.uint8)
    gain, shift = np.array([0.15, -0.2, 0]), np.array([0.1, -0.05, 0])
    stains = np.stack([HAEMATOXYLIN, EOSIN, RESIDUAL])
    amounts = -np.log10((tile + 1.0) / 256) @ np.linalg.inv(stains)
    amounts = amounts * (1 + gain) + np.clip((amounts - 0.05) / 0.2, 0, 1) * shift
    expected = np.clip(256 * 10 ** -(amounts @ stains) - 1, 0, 255)
    names = ("haematoxylin_gain", "eosin_gain", "haematoxylin_shift", "eosin_shift")
    view = apply_view(tile, changed(**dict(zip(names, [0.15, -0.2, 0.1, -0.05], strict=True))))
    assert np.abs(view - expected).max() <= 1


@pytest.mark.parametrize("level", [240, 247, 255])
@pytest.mark.parametrize("shift", [-0.2, 0.2])
def test_background_is_unchanged_when_stains_change(level, shift):
    glass = flat((level,) * 3)
    view = apply_view(glass, changed(haematoxylin_shift=shift, eosin_shift=shift))
    assert np.abs(view.astype(int) - glass).max() <= 1


@given(amount=st.floats(0, 1), shift=st.floats(-0.2, 0.2))
def test_offsets_leave_no_stain_below_none(amount, shift):
    """Pale tissue stays on its side of white: no channel gets lighter than the glass behind it."""
    view = apply_view(dyed(0, amount), changed(eosin_shift=shift)).astype(int)
    assert view.max() <= 255 and (view[0, 0, 1] <= view[0, 0, [0, 2]] + 2).all()


@pytest.mark.parametrize("sigma", [0.5, 1.5, 4.0])
def test_blur_is_a_gaussian_of_so_many_pixels(sigma):
    from scipy.ndimage import gaussian_filter

    tile = tissue(96, seed=3)
    expected = gaussian_filter(tile.astype(float), (sigma, sigma, 0), mode="mirror")
    assert np.abs(apply_view(tile, changed(blur=sigma)) - expected).max() <= 1.5


def test_contrast_is_about_the_mean_and_brightness_is_a_share_of_white():
    tile = flat((100, 100, 100))
    tile[:16] = 140  # mean 120
    view = apply_view(tile, changed(contrast=0.5))
    assert (view[:16] == 150).all() and (view[16:] == 90).all()
    view = apply_view(tile, changed(brightness=-0.1))
    assert (view[:16] == round(140 - 25.5)).all() and (view[16:] == round(100 - 25.5)).all()
    view = apply_view(tile, changed(contrast=0.5, brightness=0.5))
    assert (view[:16] == 255).all() and (view[16:] == round(90 + 127.5)).all()


def test_jpeg_keeps_flat_colours_and_coarsens_with_its_parameter():
    for colour in [(200, 40, 120), (30, 60, 180)]:  # red and blue are not taken for each other
        assert np.abs(apply_view(flat(colour), changed(jpeg=20)).astype(int) - colour).max() <= 4
    tile = tissue()
    errors = [np.abs(apply_view(tile, changed(jpeg=jpeg)).astype(int) - tile).mean() for jpeg in (2, 30, 70, 99)]
    assert errors == sorted(errors) and errors[0] < 5 < errors[-1]


def test_jpeg_halves_the_resolution_of_colour_alone():
    tile = flat((255, 0, 0))
    tile[:, ::2] = (0, 130, 0)  # about as bright as red, by turns
    view = apply_view(tile, changed(jpeg=1)).astype(int)
    assert np.abs(np.diff(view[16, 8:24, 0])).max() < 40


def test_steps_come_in_the_order_of_the_parameters():
    tile, every = tissue(), changed(
        crop=0.2, crop_x=0.4, crop_y=0.9, mirror=1, turns=3, haematoxylin_gain=0.1, eosin_shift=-0.05, blur=0.8,
        contrast=0.1, brightness=-0.05, jpeg=40,
    )  # fmt: skip
    at = dict(zip(PARAMETERS, every.tolist(), strict=True))
    view = tile
    for step in (
        ("crop", "crop_x", "crop_y"), ("mirror",), ("turns",), ("haematoxylin_gain", "eosin_shift"), ("blur",),
        ("contrast", "brightness"), ("jpeg",),
    ):  # fmt: skip
        view = apply_view(view, changed(**{name: at[name] for name in step}))
    np.testing.assert_array_equal(apply_view(tile, every), view)


@given(tile_id=st.integers(-(2**63), 2**63 - 1), px=st.sampled_from([16, 33, 50]))
def test_a_view_is_reproducible_and_leaves_its_tile_unchanged(tile_id, px):
    tile = tissue(px)
    before = tile.copy()
    for parameters in draw_parameters(np.array([tile_id]), ViewConfig(count=2))[0]:
        view = apply_view(tile, parameters)
        assert view.shape == tile.shape and view.dtype == np.uint8 and view.flags.c_contiguous
        np.testing.assert_array_equal(view, apply_view(tile, parameters))
    np.testing.assert_array_equal(tile, before)


def test_with_views_puts_the_tile_first():
    tiles = np.stack([tissue(seed=seed) for seed in range(3)])
    parameters = draw_parameters(np.arange(3), ViewConfig(count=2))
    copies = with_views(tiles, parameters)
    assert copies.shape == (3, 3, 64, 64, 3) and copies.dtype == np.uint8
    np.testing.assert_array_equal(copies[:, 0], tiles)
    for i in range(3):
        for k in range(2):
            np.testing.assert_array_equal(copies[i, 1 + k], apply_view(tiles[i], parameters[i, k]))


def test_no_tiles_have_no_views():
    parameters = draw_parameters(np.empty(0, np.int64), ViewConfig(count=2))
    assert with_views(np.empty((0, 8, 8, 3), np.uint8), parameters).shape == (0, 3, 8, 8, 3)
