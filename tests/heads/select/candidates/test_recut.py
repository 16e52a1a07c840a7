"""Where the square of another tiling lies."""

from types import SimpleNamespace
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from embedstore.config import TilingConfig
from embedstore.store import TileLocation
from heads.select.candidates.recut import SquareReader


def square(size: tuple[int, int], edge: int, *, origin: tuple[int, int] = (0, 0)) -> SquareReader:
    """Squares of `edge` level-0 pixels on a slide that is one level of `size` with its image from `origin` on."""
    slide: Any = SimpleNamespace(level_downsamples=[1.0], bounds_l0=(*origin, *size))
    return SquareReader(slide, TilingConfig(tile_px=edge, mpp=0.5), 0.5)


def tile(x: int, y: int, edge_l0: int) -> TileLocation:
    return TileLocation(tile_id=0, slide_id="s", x=x, y=y, edge_l0=edge_l0, name=None)


@given(data=st.data())
def test_a_square_is_around_the_centre_or_at_the_edge_of_the_image(data: st.DataObject):
    size = data.draw(st.tuples(st.integers(100, 3000), st.integers(100, 3000)))
    origin = data.draw(st.tuples(st.integers(0, 500), st.integers(0, 500)))
    edge = data.draw(st.integers(16, min(size)))
    stored = data.draw(st.integers(1, min(size)))
    place = [data.draw(st.integers(low, low + length - stored)) for low, length in zip(origin, size, strict=True)]
    corner = square(size, edge, origin=origin).corner(tile(*place, stored))
    for at, begin, low, length in zip(corner, place, origin, size, strict=True):
        assert low <= at and at + edge <= low + length
        off = (at + edge / 2) - (begin + stored / 2)
        assert abs(off) <= 0.5 or at in (low, low + length - edge)


@given(edge=st.integers(16, 400), x=st.integers(0, 600), y=st.integers(0, 600))
def test_the_same_tiling_gives_the_same_place(edge: int, x: int, y: int):
    assume(x + edge <= 1000 and y + edge <= 1000)
    assert square((1000, 1000), edge).corner(tile(x, y, edge)) == (x, y)


def test_a_slide_smaller_than_a_tile_is_taken_from_its_corner():
    assert square((100, 300), 200, origin=(7, 9)).corner(tile(20, 250, 50)) == (7, 109)
