"""Pictures of stored tiles: as they were ingested, and what becomes of those that are lost."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from embedstore.errors import RegionReadError, SlideFormatError, SlideNotFoundError
from embedstore.export import pictures_at_hand, tile_pictures
from embedstore.slides.readers import slide_process
from embedstore.store import Store
from tests.export.hits_scene import COLOURS, FOLDER, LOST, make_found, tile_rows
from tests.slides.drawings import damage_tile


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_found(tmp_path)


def test_pictures_follow_their_rows(store: Store):
    red, green, blue = tile_rows(store, "a.svs")
    pictures = tile_pictures(store, "toy", [blue, red, green, red])
    expected = [np.full((256, 256, 3), COLOURS[i], np.uint8) for i in (2, 0, 1, 0)]
    assert np.array_equal(pictures, expected)
    assert np.array_equal(pictures_at_hand(store, "toy", [blue, red, green, red]), expected)


def test_a_lost_slide_stops_the_one_and_costs_the_other_its_tiles(store: Store):
    red, *_ = tile_rows(store, "a.svs")
    rows = [*tile_rows(store, LOST), red]
    with pytest.raises(SlideNotFoundError, match=r"b\.svs"):
        tile_pictures(store, "toy", rows)
    first, second, picture = pictures_at_hand(store, "toy", rows)
    assert first == second == "slide not at hand"
    assert (picture == COLOURS[0]).all()


def test_a_tile_that_cannot_be_read_costs_itself(store: Store, tmp_path: Path):
    damage_tile(tmp_path / "a.svs", page=0, index=1)
    rows = tile_rows(store, "a.svs")
    with pytest.raises(RegionReadError, match=r"'a\.svs': a tile that was readable at ingest is not now"):
        tile_pictures(store, "toy", rows)
    red, green, blue = pictures_at_hand(store, "toy", rows)
    assert green == "tile cannot be read"
    assert (red == COLOURS[0]).all() and (blue == COLOURS[2]).all()


def test_a_file_that_is_no_slide_any_more(store: Store, tmp_path: Path):
    (tmp_path / "a.svs").write_bytes(b"nothing of a slide")
    rows = tile_rows(store, "a.svs")
    with pytest.raises(SlideFormatError):
        tile_pictures(store, "toy", rows)
    assert pictures_at_hand(store, "toy", rows) == ["slide cannot be read"] * 3


def test_a_slide_that_the_ledger_does_not_know(store: Store):
    rows = tile_rows(store, "a.svs")
    store.ledger.forget(["a.svs"])
    assert pictures_at_hand(store, "toy", rows) == ["slide not at hand"] * 3


def test_a_slide_whose_resolution_only_its_file_knows(store: Store, monkeypatch: pytest.MonkeyPatch):
    rows, known = tile_rows(store, "a.svs"), store.ledger.slides()
    monkeypatch.setattr(store.ledger, "slides", lambda: [replace(row, slide_mpp=None) for row in known])
    assert (pictures_at_hand(store, "toy", rows)[1] == COLOURS[1]).all()


def test_a_folder_of_tiles(store: Store, tmp_path: Path):
    (tmp_path / "t").mkdir()
    cv2.imwrite(str(tmp_path / "t/2.png"), np.full((64, 64, 3), COLOURS[2][::-1], np.uint8))
    store.ledger.refresh([(FOLDER, str(tmp_path), {})])
    lost, picture = pictures_at_hand(store, "toy", tile_rows(store, FOLDER))
    assert lost == "tile cannot be read" and (picture == COLOURS[2]).all()


def test_a_slide_is_opened_once_for_all_its_tiles(store: Store, monkeypatch: pytest.MonkeyPatch):
    opened: list[str] = []

    def check_file(path: str | Path) -> str:
        opened.append(Path(path).name)
        return known(path)

    known = slide_process.check_file
    monkeypatch.setattr(slide_process, "check_file", check_file)
    tile_pictures(store, "toy", tile_rows(store, "a.svs"))
    assert opened == ["a.svs"]
