"""A map is made once; new slides are placed into it, and removed ones are gone from it at once."""

import importlib.metadata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from embedstore.errors import ConfigError, MapNotFoundError
from embedstore.map_config import MapConfig
from embedstore.map_record import MapFacts
from embedstore.maps import TileMap, make_map, read_map
from embedstore.store import Collection, CollectionWriter, Store
from embedstore.store.compaction import compact
from embedstore.store.removal import remove_slides

from .conftest import DIM, PCA, SLIDES, group_of, vectors

Add = Callable[[str, np.ndarray], None]


def places_of(tiles: TileMap, slide_id: str) -> np.ndarray:
    return tiles.places[np.array(tiles.rows["slide_id"].to_pylist()) == slide_id]


def test_every_tile_has_a_place_and_those_that_are_alike_lie_together(
    store: Store, collection: Collection, mapped: MapFacts
):
    tiles = read_map(store, collection)
    assert set(tiles.tile_ids) == set(collection.tiles(columns=["tile_id"])["tile_id"].to_pylist())
    assert np.abs(tiles.places).max() == pytest.approx(1)
    group = np.concatenate([group_of(n) for n in SLIDES.values()])
    middles = np.stack([tiles.places[group == each].mean(axis=0) for each in range(3)])
    nearest = np.linalg.norm(tiles.places[:, None] - middles, axis=2).argmin(axis=1)
    assert (nearest == group).all()
    assert (mapped.tiles, mapped.slides, mapped.placed, mapped.new_slides) == (72, 3, 0, 0)
    assert mapped.record.method == "pca" and mapped.record.library is None
    assert mapped.record.collection_version == collection.dataset().version


def test_the_same_seed_gives_the_same_map(store: Store, collection: Collection, mapped: MapFacts):
    before = read_map(store, collection)
    assert make_map(store, collection, PCA, rebuild=True).version != mapped.version
    after = read_map(store, collection)
    assert before.rows.equals(after.rows)


def test_without_a_map_there_is_a_word_on_it(store: Store, collection: Collection):
    with pytest.raises(MapNotFoundError, match=r"'toy' has no map yet; `embedstore map --collection toy` makes it"):
        read_map(store, collection)


def test_a_new_slide_is_placed_beside_what_it_resembles_and_nothing_else_moves(
    store: Store, collection: Collection, mapped: MapFacts, add: Add
):
    before = read_map(store, collection)
    add("new", vectors(SLIDES["a"], seed=1 + SLIDES["a"]))  # the tiles of slide a once more
    assert read_map(store, collection).facts.new_slides == 1
    facts = make_map(store, collection)
    after = read_map(store, collection)
    assert (facts.tiles, facts.placed, facts.new_slides) == (102, 30, 0)
    assert after.rows.slice(0, 72).equals(before.rows)
    np.testing.assert_allclose(places_of(after, "new"), places_of(before, "a"), atol=1e-3)
    assert make_map(store, collection).version == facts.version  # nothing to do


def test_a_removed_slide_is_on_no_map(store: Store, collection: Collection, mapped: MapFacts):
    remove_slides(store, ["b"])
    tiles = read_map(store, collection)
    assert tiles.slide_names == ("a", "c") and tiles.facts.tiles == 42
    assert "b" not in store.map("toy").slides()


def test_a_tile_that_is_gone_from_the_collection_alone_is_on_no_map(
    store: Store, collection: Collection, mapped: MapFacts
):
    CollectionWriter(collection).remove(["b"])
    assert "b" in store.map("toy").slides()
    assert read_map(store, collection).slide_names == ("a", "c")


def test_removing_leaves_no_trace_after_compaction(store: Store, collection: Collection, add: Add):
    add("brontosaurus", vectors(9, seed=9))
    make_map(store, collection, PCA)
    remove_slides(store, ["brontosaurus"])
    compact(store, keep_s=0)
    files = [path for path in Path(store.uri, "map-toy.lance").rglob("*") if path.is_file()]
    assert files and not [path for path in files if b"brontosaurus" in path.read_bytes()]


def test_a_slide_that_goes_while_the_map_is_made_is_not_on_it(
    store: Store, collection: Collection, monkeypatch: pytest.MonkeyPatch
):
    from embedstore.maps import making

    def slow(*args: object) -> np.ndarray:
        remove_slides(store, ["b"])
        return lay_out(*args)

    lay_out = making.lay_out
    monkeypatch.setattr(making, "lay_out", slow)
    assert make_map(store, collection, PCA).slides == 2
    assert "b" not in store.map("toy").slides()


def test_of_many_tiles_a_sample_is_on_the_map_evenly_over_slides(store: Store, collection: Collection, add: Add):
    facts = make_map(store, collection, MapConfig(method="pca", tiles=15))
    assert store.map("toy").slides() == {"a": 5, "b": 5, "c": 5}
    assert (facts.record.tiles, facts.record.candidates, facts.collection_tiles) == (15, 72, 72)
    assert facts.note == "15 of 72 tiles, drawn evenly over the slides"
    add("new", vectors(72, seed=5))
    assert make_map(store, collection).placed == 8  # its share of 15, as it has half of the tiles
    assert read_map(store, collection).facts.note.endswith("; 8 of them placed later")


def test_other_settings_ask_for_a_map_made_anew(store: Store, collection: Collection, mapped: MapFacts):
    with pytest.raises(ConfigError, match=r"was made with seed 0; make it anew with rebuild"):
        make_map(store, collection, MapConfig(method="pca", seed=1))
    assert make_map(store, collection, MapConfig(method="pca", seed=1), rebuild=True).record.config.seed == 1


def test_vectors_without_a_direction_are_left_out(store: Store, collection: Collection, add: Add):
    broken = vectors(6, seed=3)
    broken[0], broken[1, 2] = 0, np.nan
    add("broken", broken)
    assert make_map(store, collection, PCA).tiles == 76
    add("also broken", broken)
    assert make_map(store, collection).placed == 4


def test_too_few_tiles_are_told(tmp_path: Path):
    store = Store.create(tmp_path / "few")
    from embedstore.store import Collection as Table
    from tests.collection_records import collection_record

    Table.create(store.uri, "toy", collection_record(DIM))
    with pytest.raises(ConfigError, match=r"'toy' has 0 tile\(s\) with a vector; a map needs 3 or more"):
        make_map(store, store.collection("toy"), PCA)


def test_a_missing_package_is_told_before_any_work(
    store: Store, collection: Collection, monkeypatch: pytest.MonkeyPatch
):
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(ConfigError, match=r"pip install 'embedstore\[map\]'.*method pca"):
        make_map(store, collection)
    assert not store.map("toy").exists()


@pytest.mark.slow
def test_pacmap_keeps_groups_apart_and_repeats_itself(store: Store, collection: Collection, add: Add):
    add("large", vectors(300, seed=4))
    facts = make_map(store, collection)
    assert facts.record.method == "pacmap" and facts.record.library.startswith("pacmap ")
    tiles = read_map(store, collection)
    group = np.concatenate([group_of(n) for n in (*SLIDES.values(), 300)])
    distance = np.linalg.norm(tiles.places[:, None] - tiles.places, axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (group[distance.argmin(axis=1)] == group).all()
    make_map(store, collection, rebuild=True)
    assert read_map(store, collection).rows.equals(tiles.rows)


def test_a_handful_of_tiles_is_laid_out_by_its_components(store: Store, collection: Collection):
    facts = make_map(store, collection, MapConfig(tiles=9))
    assert (facts.record.config.method, facts.record.method, facts.tiles) == ("pacmap", "pca", 9)
