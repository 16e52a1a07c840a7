"""Deep-zoom tiles show the right pixels in the right place, on every level."""

import math
from pathlib import Path

import cv2
import numpy as np
import openslide
import pytest
from openslide.deepzoom import DeepZoomGenerator

from embedstore.errors import PictureNotFoundError
from embedstore.service.pictures import deep_zoom as module
from embedstore.service.pictures.deep_zoom import DeepZoom, DeepZoomGrid
from embedstore.slides import Slide, open_slide
from embedstore.slides.slide import Pixels, SlideHeader
from tests.slides.drawings import tissue_picture, write_dicom, write_scn, write_tiff

WIDTH, HEIGHT = 700, 530


class PaintedSlide(Slide):
    """A slide in memory: levels of the given sizes, each reduced from the same picture."""

    reader = "painted"

    def __init__(self, picture: Pixels, sizes: list[tuple[int, int]], bounds: tuple[int, int, int, int] | None = None):
        width, height = sizes[0]
        names = ("x", "y", "width", "height")
        properties = (
            {} if bounds is None else {f"openslide.bounds-{n}": str(b) for n, b in zip(names, bounds, strict=True)}
        )
        header = SlideHeader(
            level_sizes=sizes,
            level_downsamples=[(width / w + height / h) / 2 for w, h in sizes],
            mpp_xy=None,
            vendor="painted",
            properties=properties,
        )
        super().__init__("painted.svs", header)
        self.levels = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for size in sizes]
        self.read_px = 0

    def _fill(self, level: int, x: int, y: int, out: Pixels) -> None:
        out[:] = self.levels[level][y : y + out.shape[0], x : x + out.shape[1]]
        self.read_px += out.shape[0] * out.shape[1]

    def close(self) -> None:
        pass


def whole(deep_zoom: DeepZoom, level: int) -> Pixels:
    """A level, put together from its tiles as a viewer does."""
    grid = deep_zoom.grid
    (width, height), (columns, rows) = grid.size(level), grid.tiles(level)
    shown = np.zeros((height, width, 3), np.uint8)
    for row in range(rows):
        for column in range(columns):
            tile = deep_zoom.pixels(level, column, row)
            x, y = column * grid.tile_px, row * grid.tile_px
            assert tile.shape == shown[y : y + grid.tile_px, x : x + grid.tile_px].shape
            shown[y : y + grid.tile_px, x : x + grid.tile_px] = tile
    return shown


def reduced(picture: Pixels, factor: int) -> Pixels:
    """A picture in squares of level-0 pixels; the last square is filled with the last pixels."""
    height, width = picture.shape[:2]
    rows, columns = math.ceil(height / factor), math.ceil(width / factor)
    padded = np.pad(picture, ((0, rows * factor - height), (0, columns * factor - width), (0, 0)), mode="edge")
    return padded.reshape(rows, factor, columns, factor, 3).mean(axis=(1, 3))


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (256, 256), (257, 3), (1024, 700), (100_001, 65_537)])
def test_the_grid_is_that_of_the_format(size):
    grid = DeepZoomGrid(size_l0=size, tile_px=256)
    assert grid.max_level == math.ceil(math.log2(max(size)))
    assert grid.size(grid.max_level) == size and grid.size(0) == (1, 1)
    for level in range(grid.max_level + 1):
        assert grid.size(level) == tuple(math.ceil(edge / grid.factor(level)) for edge in size)
        columns, rows = grid.tiles(level)
        x, y, width, height = grid.tile(level, columns - 1, rows - 1)
        assert (x + width, y + height) == grid.size(level)
        for beyond in ((level, columns, 0), (level, 0, rows), (level, -1, 0), (level, 0, -1)):
            with pytest.raises(PictureNotFoundError, match="has no tile in column"):
                grid.tile(*beyond)
    with pytest.raises(PictureNotFoundError, match=f"no deep-zoom level {grid.max_level + 1}; expected 0 to"):
        grid.tile(grid.max_level + 1, 0, 0)


@pytest.mark.parametrize("edge", [64, 256])
def test_the_grid_is_openslides(drawn_slide, edge: int):
    with openslide.OpenSlide(drawn_slide()) as slide:
        known, grid = (
            DeepZoomGenerator(slide, tile_size=edge, overlap=0),
            DeepZoomGrid(size_l0=slide.dimensions, tile_px=edge),
        )
        assert known.level_count == grid.max_level + 1
        assert known.level_dimensions == tuple(map(grid.size, range(grid.max_level + 1)))
        assert known.level_tiles == tuple(map(grid.tiles, range(grid.max_level + 1)))
        last = tuple(count - 1 for count in grid.tiles(8))
        assert known.get_tile(8, last).size == grid.tile(8, *last)[2:]


@pytest.mark.slow
@pytest.mark.parametrize(
    "sizes",
    [
        [(WIDTH, HEIGHT)],
        [(WIDTH, HEIGHT), (WIDTH // 2, HEIGHT // 2), (WIDTH // 4, HEIGHT // 4)],
        [(WIDTH, HEIGHT), (WIDTH // 4, HEIGHT // 4)],
        [(WIDTH, HEIGHT), (WIDTH // 3, HEIGHT // 3)],
    ],
)
def test_every_level_shows_the_whole_slide(sizes, monkeypatch):
    monkeypatch.setattr(module, "OVERVIEW_LEVEL", 7)
    picture = cv2.GaussianBlur(tissue_picture(WIDTH, HEIGHT), (0, 0), 2)
    deep_zoom = DeepZoom(PaintedSlide(picture, sizes), tile_px=64)
    for level in range(deep_zoom.grid.max_level + 1):
        shown, expected = whole(deep_zoom, level), reduced(picture, deep_zoom.grid.factor(level))
        assert shown.shape == expected.shape
        difference = np.abs(shown - expected)
        # Levels whose size is no whole share of level 0 are off by up to a pixel of theirs at the far end.
        assert difference.mean() < 1.5, (level, difference.mean())
        if len(sizes) == 1 or deep_zoom.grid.factor(level) == 1:
            assert difference.max() <= 1


def test_a_tile_is_what_the_slide_has_there(drawn_slide):
    with open_slide(drawn_slide()) as slide:
        deep_zoom = DeepZoom(slide, tile_px=128)
        top = deep_zoom.grid.max_level
        for column, row in ((0, 0), (2, 3), (5, 4)):  # the last has 60×18 px
            x, y, width, height = deep_zoom.grid.tile(top, column, row)
            expected = slide.read_region((x, y), 0, (width, height))
            np.testing.assert_array_equal(deep_zoom.pixels(top, column, row), expected)
        x, y, width, height = deep_zoom.grid.tile(top - 1, 2, 2)
        np.testing.assert_array_equal(
            deep_zoom.pixels(top - 1, 2, 2), slide.read_region((2 * x, 2 * y), 1, (width, height))
        )
        x, y, width, height = deep_zoom.grid.tile(top - 3, 0, 0)  # from the level that has a quarter
        region = slide.read_region((0, 0), 2, (2 * width - 1, 2 * height - 2))
        found = deep_zoom.pixels(top - 3, 0, 0)[: height - 1, : width - 1]
        np.testing.assert_allclose(found, reduced(region, 2)[: height - 1, : width - 1], atol=1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["scn", "dicom", "deflate"])
def test_slides_of_other_readers(tmp_path: Path, kind: str):
    picture = cv2.GaussianBlur(tissue_picture(512, 384), (0, 0), 2)
    expected = picture
    if kind == "scn":  # the image begins at a corner within level 0
        path = write_scn(tmp_path / "a.scn", picture, size=(900, 800), corner=(200, 100))
        expected = np.full((800, 900, 3), 255, np.uint8)
        expected[100:484, 200:712] = picture
    elif kind == "dicom":
        path = write_dicom(tmp_path / "a.dcm", picture)
    else:
        path = write_tiff(tmp_path / "a.tif", picture, colours="deflate", aperio=False)
    with open_slide(path) as slide:
        deep_zoom = DeepZoom(slide, tile_px=256)
        assert deep_zoom.grid.size_l0 == expected.shape[1::-1]
        for level in range(5, deep_zoom.grid.max_level + 1):
            shown = whole(deep_zoom, level)
            assert np.abs(shown - reduced(expected, deep_zoom.grid.factor(level))).mean() < 3
        if kind == "scn":
            assert slide.bounds_l0 == (200, 100, 512, 384)


def test_coarse_levels_of_a_slide_without_any_are_made_once():
    slide = PaintedSlide(np.zeros((1000, 4200, 3), np.uint8), [(4200, 1000)])
    deep_zoom = DeepZoom(slide)
    assert deep_zoom.min_level == 0
    for level in range(11):
        whole(deep_zoom, level)
    assert slide.read_px == 4200 * 1000


def test_a_level_that_had_to_be_made_of_too_many_pixels_is_not_offered(monkeypatch):
    monkeypatch.setattr(module, "MOST_OVERVIEW_READ_PX", 1_000_000)
    monkeypatch.setattr(module, "MOST_TILE_READ_PX", 200 * 200)
    slide = PaintedSlide(np.zeros((1000, 4200, 3), np.uint8), [(4200, 1000)])
    deep_zoom = DeepZoom(slide, tile_px=100)
    assert deep_zoom.min_level == 12 and deep_zoom.grid.max_level == 13
    assert deep_zoom.pixels(12, 0, 0).shape == (100, 100, 3)
    read_px = slide.read_px
    for level in (0, 11):
        with pytest.raises(PictureNotFoundError, match="expected 12 to 13; save the slide as a pyramid"):
            deep_zoom.pixels(level, 0, 0)
    assert slide.read_px == read_px
