"""A hot index that is brought from version to version holds what one made from nothing holds."""

import shutil
from concurrent.futures import CancelledError
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedstore.errors import ConfigError
from embedstore.search.hot import HotIndex, changes, codes
from embedstore.search.hot.changes import Work, brought_to, is_worn
from embedstore.store import Collection, CollectionWriter
from embedstore.store.hot_folder import HotFolder
from embedstore.store.nearest import nearest_tiles
from tests.search.planted import DIM, noise, plant
from tests.store.test_index import add

WORK = Work(threads=1, stopped=lambda: False, report=lambda progress: None)


@pytest.fixture
def scene(tmp_path: Path) -> tuple[Collection, HotFolder]:
    store, collection = plant(tmp_path, {f"s{i}": noise(20, i) for i in range(4)})
    return collection, HotFolder.take(tmp_path / "cache", store.uri, "toy")


def check(index: HotIndex, collection: Collection) -> None:
    """It holds the rows of the collection, and finds the nearest."""
    pinned = collection.pinned()
    assert index.version == pinned.dataset().version
    tiles = pinned.tiles()
    rows = np.flatnonzero(index.rows.address >= 0)
    held = index.table(rows, np.zeros(len(rows), np.float32), vector=True).drop_columns(["distance"])
    by_tile = [("tile_id", "ascending")]
    assert held.sort_by(by_tile).to_pylist() == tiles.select(held.column_names).sort_by(by_tile).to_pylist()
    assert set(index.rows.slides) - {""} == set(tiles["slide_id"].to_pylist())
    query = np.ones(DIM, np.float32) / 4
    found, distance = index.nearest(query, 15)
    expected = nearest_tiles(pinned, query, k=15)
    assert index.rows.tile_id[found].tolist() == expected["tile_id"].to_pylist()
    assert distance.tolist() == expected["distance"].to_pylist()
    assert index.rows.at(index.rows.address[rows]).tolist() == rows.tolist()


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "replace", "same", "remove", "compact"]), st.integers(0, 7)),
    min_size=1,
    max_size=6,
)


@pytest.mark.slow
@settings(max_examples=6, deadline=None)
@given(steps=STEPS, every=st.integers(1, 3), parts=st.booleans())
def test_any_way_of_a_collection_is_followed(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], every: int, parts: bool
):
    folder = tmp_path_factory.mktemp("way")
    store, collection = plant(folder, {f"s{i}": noise(12, i) for i in range(4)})
    taken = HotFolder.take(folder / "cache", store.uri, "toy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codes, "FLAT_ROWS", 30 if parts else 10**6)
        patch.setattr(changes, "PROBES", ())  # everything is looked at, as codes of so few rows are coarse
        patch.setattr(changes, "CANDIDATES", (400,))
        index = brought_to(None, collection.pinned(), taken, WORK).index
        check(index, collection)
        for number, (step, slide) in enumerate(steps):
            name = f"s{slide}"
            writer = CollectionWriter(collection)
            if step == "compact":
                writer.compact(keep_s=0, purge=bool(slide % 2))
            elif step == "remove" and len(writer.present() - {name}):
                writer.remove([name])
            elif step != "remove":
                add(collection, {name: noise(12, slide if step == "same" else 100 + number)}, replacing=True)
            if number % every == 0:
                change = brought_to(index, collection.pinned(), taken, WORK)
                index = change.index
                taken.wipe(change.removed, DIM)
                check(index, collection)
        index = brought_to(index, collection.pinned(), taken, WORK).index
        check(index, collection)
    taken.release()
    shutil.rmtree(folder)


def test_compaction_moves_rows_and_reads_none_anew(scene):
    collection, folder = scene
    first = brought_to(None, collection.pinned(), folder, WORK).index
    CollectionWriter(collection).compact(keep_s=0)
    moved = brought_to(first, collection.pinned(), folder, WORK)
    assert len(moved.removed) == 0 and len(moved.index.rows) == 80
    assert moved.index.fragments.keys() != first.fragments.keys()
    check(moved.index, collection)


def test_a_slide_embedded_again_has_the_same_tiles_and_other_vectors(scene):
    collection, folder = scene
    first = brought_to(None, collection.pinned(), folder, WORK).index
    add(collection, {"s1": noise(20, 77)}, replacing=True)
    CollectionWriter(collection).compact(keep_s=0, purge=True)
    change = brought_to(first, collection.pinned(), folder, WORK)
    assert change.removed.tolist() == list(range(20, 40)) and len(change.index.rows) == 100
    assert not is_worn(change.index)
    check(change.index, collection)


def test_nothing_stays_of_what_was_removed(scene, tmp_path: Path):
    collection, folder = scene
    first = brought_to(None, collection.pinned(), folder, WORK).index
    there = np.asarray(first.vectors[20:40]).tobytes()
    CollectionWriter(collection).remove(["s1"])
    change = brought_to(first, collection.pinned(), folder, WORK)
    assert len(first.nearest(np.ones(DIM, np.float32) / 4, 80)[0]) == 80  # who still searches the old one finds all
    folder.wipe(change.removed, DIM)
    change.index.rows.save(tmp_path / "rows")
    change.index.codes.save(tmp_path / "codes")
    assert "s1" not in change.index.rows.slides and is_worn(change.index)
    assert not change.index.rows.tile_id[20:40].any() and len(change.index.codes) == 60
    assert there not in (folder.path / "vectors.f16").read_bytes() and b"s1" not in (tmp_path / "rows").read_bytes()
    check(change.index, collection)


def test_what_is_no_longer_wanted_leaves_the_old_index_as_it_is(scene):
    collection, folder = scene
    first = brought_to(None, collection.pinned(), folder, WORK).index
    add(collection, {"new": noise(20, 5)})
    with pytest.raises(CancelledError):
        brought_to(first, collection.pinned(), folder, Work(threads=1, stopped=lambda: True, report=WORK.report))
    check(brought_to(first, collection.pinned(), folder, WORK).index, collection)


def test_a_disk_without_room_is_told_before_anything_is_written(scene, monkeypatch):
    collection, folder = scene
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1))
    with pytest.raises(ConfigError, match=r"needs .* and 1 B are free; free some space there, pass folder="):
        brought_to(None, collection.pinned(), folder, WORK)


def test_codes_are_trained_anew_when_there_are_many_more_rows(scene, monkeypatch):
    collection, folder = scene
    monkeypatch.setattr(codes, "FLAT_ROWS", 70)
    first = brought_to(None, collection.pinned(), folder, WORK).index
    add(collection, {"s8": noise(30, 8)})
    second = brought_to(first, collection.pinned(), folder, WORK).index
    assert (first.coded_rows, second.coded_rows, len(second.codes)) == (80, 80, 110)
    add(collection, {"s9": noise(30, 9)})
    third = brought_to(second, collection.pinned(), folder, WORK).index
    assert third.coded_rows == len(third.codes) == 140
    check(third, collection)


def test_an_empty_collection_may_be_kept_warm(tmp_path: Path):
    store, collection = plant(tmp_path, {})
    folder = HotFolder.take(tmp_path / "cache", store.uri, "toy")
    index = brought_to(None, collection.pinned(), folder, WORK).index
    assert index.rows.living == 0 and len(index.nearest(np.ones(DIM, np.float32) / 4, 3)[0]) == 0
    add(collection, {"a": noise(20, 1)})
    check(brought_to(index, collection.pinned(), folder, WORK).index, collection)
