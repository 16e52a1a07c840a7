"""Pictures: encoded once, of the right colours and size, and those that the extractor saw."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import openslide
import pytest
import tifffile
from PIL import Image

from embedstore.config import TilingConfig
from embedstore.errors import PictureNotFoundError, RegionReadError
from embedstore.service.pictures import OpenSlides, Picture, Pictures, SlideFile
from embedstore.service.pictures.byte_cache import ByteCache
from embedstore.slides import Slide, open_slide
from embedstore.store import TileLocation
from tests.slides.drawings import damage_tile, tissue_picture, write_scn, write_tiff


def decoded(picture: Picture) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(picture.make(), np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@pytest.fixture
def pictures():
    pictures = Pictures(open_slides=OpenSlides(2))
    yield pictures
    pictures.close()


@pytest.fixture
def slide(drawn_slide) -> SlideFile:
    return SlideFile(name="a", path=str(drawn_slide()))


@pytest.mark.slow
def test_tiles_have_the_colours_of_the_slide(pictures: Pictures, slide: SlideFile):
    info = pictures.info(slide)
    tile = decoded(pictures.deep_zoom_tile(slide, info.max_level, 0, 0))
    with open_slide(slide.path) as opened:
        expected = opened.read_region((0, 0), 0, (info.tile_px, info.tile_px))
    assert tile.shape == expected.shape
    np.testing.assert_allclose(tile.mean(axis=(0, 1)), expected.mean(axis=(0, 1)), atol=0.5)
    assert np.abs(tile.astype(int) - expected).mean() < 4
    assert decoded(pictures.deep_zoom_tile(slide, info.max_level, 1, 1)).shape == (530 - 512, 700 - 512, 3)


def test_the_facts_of_a_slide_are_those_of_the_list(pictures: Pictures, tmp_path: Path):
    path = write_scn(tmp_path / "a.scn", tissue_picture(512, 384), size=(900, 800), corner=(200, 100))
    info = pictures.info(SlideFile(name="a", path=str(path)))
    assert (info.size_l0, info.bounds_l0, info.mpp, info.vendor) == ((900, 800), (200, 100, 512, 384), 0.5, "leica")
    assert (info.magnification, info.tile_px, info.overlap_px) == (20.0, 512, 0)
    assert (info.min_level, info.max_level, info.levels[0]) == (0, 10, (900, 800, 1.0))
    assert pictures.info(SlideFile(name="a", path=str(path), mpp=0.3)).mpp == 0.3


def test_a_thumbnail_is_the_scanned_part_at_the_size_asked_for(pictures: Pictures, tmp_path: Path):
    picture = tissue_picture(512, 384)
    path = write_scn(tmp_path / "a.scn", picture, size=(900, 800), corner=(200, 100))
    slide = SlideFile(name="a", path=str(path))
    for edge, size in ((128, (128, 96)), (511, (511, 383)), (2048, (512, 384))):
        found = decoded(pictures.thumbnail(slide, edge))
        assert found.shape[1::-1] == size
        np.testing.assert_allclose(found.mean(axis=(0, 1)), picture.mean(axis=(0, 1)), atol=3)
    for edge in (0, 2049):
        with pytest.raises(PictureNotFoundError, match="expected 1 to 2048 px"):
            pictures.thumbnail(slide, edge)


def test_images_of_the_label_are_not_shown(pictures: Pictures, tmp_path: Path):
    """As in files of Aperio, whose second image is a thumbnail and whose last are label and macro."""
    red = np.zeros((256, 256, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    path = write_tiff(tmp_path / "a.svs", tissue_picture(700, 530), factors=(1,))
    with tifffile.TiffWriter(path, append=True) as tiff:
        for name, kind in (("thumbnail", 0), ("label", 1), ("macro", 9)):
            about = f"Aperio Image Library v12.0.0\r\n{name} 256x256"
            tiff.write(red, description=about, subfiletype=kind, compression="lzw", metadata=None)
    slide = SlideFile(name="a", path=str(path))
    with openslide.OpenSlide(path) as opened:
        assert {"thumbnail", "label", "macro"} == set(opened.associated_images)
    shown = [pictures.thumbnail(slide, 256), *(pictures.deep_zoom_tile(slide, level, 0, 0) for level in range(11))]
    for picture in map(decoded, shown):
        assert not ((picture[..., 0] > 200) & (picture[..., 1] < 60)).any()


def test_tiles_are_those_that_the_extractor_saw(pictures: Pictures, slide: SlideFile):
    tiling = TilingConfig(tile_px=64, mpp=0.5)
    tile = TileLocation(1, "a", 256, 128, 128, None)
    found = decoded(pictures.tile(slide, tile, tiling))
    with open_slide(slide.path) as opened:
        expected = opened.read_region((256, 128), 1, (64, 64))
    assert found.shape == (64, 64, 3) and np.abs(found.astype(int) - expected).mean() < 3


def test_tiles_of_a_folder_are_its_files(pictures: Pictures, tmp_path: Path):
    Image.new("RGB", (96, 96), (200, 100, 150)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no image")
    folder, tiling = SlideFile(name="T", path=str(tmp_path), kind="tiles"), TilingConfig(tile_px=48)
    found = decoded(pictures.tile(folder, TileLocation(1, "T", 0, 0, 0, "a.png"), tiling))
    assert found.shape == (48, 48, 3) and np.abs(found.astype(int) - (200, 100, 150)).max() <= 2
    for name in ("b.png", "c.png"):
        with pytest.raises(RegionReadError, match=name) as error:
            pictures.tile(folder, TileLocation(1, "T", 0, 0, 0, name), tiling).make()
        assert str(tmp_path) not in str(error.value)
    for ask in (pictures.info, lambda file: pictures.thumbnail(file, 64)):
        with pytest.raises(PictureNotFoundError, match="slide 'T' is a folder of ready-made tiles"):
            ask(folder)


@pytest.mark.slow
def test_a_damaged_place_costs_its_tile(pictures: Pictures, tmp_path: Path):
    path = write_tiff(tmp_path / "a.svs", tissue_picture(4200, 530), factors=(1,))
    damage_tile(path, page=0, index=0)
    slide = SlideFile(name="a", path=str(path), reader="tiff")
    for _ in range(2):
        with pytest.raises(RegionReadError, match="slide 'a', level 0, tile column 0"):
            pictures.deep_zoom_tile(slide, 13, 0, 0).make()
    assert decoded(pictures.deep_zoom_tile(slide, 13, 8, 0)).shape == (512, 104, 3)
    whole = decoded(pictures.deep_zoom_tile(slide, 8, 0, 0))  # of what can be read
    assert (whole[:, :50] == 255).all() and whole[:, 70:].mean() < 240


def test_a_picture_is_made_once_until_the_file_changes(tmp_path: Path):
    opened = []

    def counted(path: str, **options: object) -> Slide:
        opened.append(path)
        return open_slide(path, **options)

    pictures = Pictures(open_slides=OpenSlides(open_slide=counted))
    path = write_tiff(tmp_path / "a.svs", tissue_picture(300, 200), factors=(1,))
    slide = SlideFile(name="a", path=str(path), reader="tiff")
    tile = pictures.deep_zoom_tile(slide, 9, 0, 0)
    assert tile.at_hand() is None
    first = tile.make()
    pictures.open_slides.close()
    again = pictures.deep_zoom_tile(slide, 9, 0, 0)
    assert again.at_hand() is first and again.make() is first and len(opened) == 1
    assert again.tag == tile.tag != pictures.deep_zoom_tile(slide, 9, 0, 1).tag
    write_tiff(path, tissue_picture(301, 200, seed=1), factors=(1,))
    changed = pictures.deep_zoom_tile(slide, 9, 0, 0)
    assert changed.tag != tile.tag and changed.make() != first and len(opened) == 2
    with pytest.raises(PictureNotFoundError, match="no deep-zoom level 10; expected 0 to 9"):
        pictures.deep_zoom_tile(slide, 10, 0, 0).make()
    pictures.close()


# -- the cache ------------------------------------------------------------------------------


def test_the_cache_is_bounded_in_bytes_and_drops_the_oldest():
    cache = ByteCache(10)
    for key in "abc":
        cache.get_or_make(key, lambda: b"1234")
    assert cache.get("a") is None and cache.get("b") and cache.held_bytes == 8
    assert cache.get_or_make("huge", lambda: bytes(11)) == bytes(11)
    assert cache.get("huge") is None and cache.held_bytes == 8
    cache.get("b")
    cache.get_or_make("d", lambda: b"1234")
    assert cache.get("b") and cache.get("c") is None


def test_what_ten_ask_for_at_once_is_made_once():
    cache, made, everyone_asks = ByteCache(100), [], threading.Barrier(10)

    def ask(_: int) -> bytes:
        everyone_asks.wait()
        return cache.get_or_make("a", make)

    def make() -> bytes:
        made.append(1)
        return b"tile"

    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(ask, range(10))) == [b"tile"] * 10
    assert len(made) == 1


def test_errors_are_told_to_all_and_not_kept():
    cache, waiting, tries = ByteCache(100), threading.Event(), []

    def fail() -> bytes:
        tries.append(1)
        waiting.wait()
        raise RegionReadError("damaged")

    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(cache.get_or_make, "a", fail) for _ in range(3)]
        while not tries:
            pass
        waiting.set()
        for each in asked:
            with pytest.raises(RegionReadError, match="damaged"):
                each.result()
    assert cache.get_or_make("a", lambda: b"mended") == b"mended"
