"""Queries by what a label's tiles are like on average."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import shapely

from embedstore.errors import LabelError, TaskNotFoundError
from embedstore.search.queries import prototype as module
from embedstore.search.queries.prototype import prototype_query
from embedstore.store import Collection, Label, Store, TileLocation
from tests.search.queries.query_scene import EDGE, add_slide, new_collection, noise, unit

VECTORS = {"a.svs": noise(1, 10), "b.svs": noise(2, 6)}


def area(label: str, slide_id: str, first: int, last: int, *, kind: str = "area", task: str = "tissue") -> Label:
    """What covers some tiles of a slide, and a bit of the next."""
    drawn = shapely.box(first * EDGE, 0, (last + 1) * EDGE + 20, EDGE)
    return Label(
        task=task,
        label=label,
        kind=kind,
        slide_id=slide_id,
        geometry=shapely.to_wkb(drawn),
        author="ann",  # type: ignore[arg-type]
    )


@pytest.fixture
def scene(tmp_path: Path) -> tuple[Store, Collection]:
    store, collection = new_collection(tmp_path)
    for slide_id, vectors in VECTORS.items():
        add_slide(store, collection, slide_id, vectors)
    store.labels.record(
        [
            area("tumour", "a.svs", 2, 5),
            area("tumour", "b.svs", 0, 0),
            area("stroma", "a.svs", 7, 8),
            area("stroma", "a.svs", 5, 5),  # a tile of two classes
            area("absent", "c.svs", 0, 3),
            area("alone", "b.svs", 1, 2, task="single"),
            area("none", "b.svs", 0, 5, kind="rest", task="single"),
        ]
    )
    return store, collection


def test_the_mean_of_the_tiles_of_a_class(scene):
    store, collection = scene
    query = prototype_query(store, collection, "tissue", "tumour")
    own = np.concatenate([VECTORS["a.svs"][2:5], VECTORS["b.svs"][:1]])  # 5 is stroma as well
    mean = unit(unit(own).mean(axis=0))
    np.testing.assert_allclose(query.vector, mean, atol=1e-5)
    every = collection.tiles(columns=["tile_id"])["tile_id"].to_pylist()
    assert query.tile_ids.tolist() == [every[i] for i in (2, 3, 4, 10)]
    assert query.slides == ("a.svs", "b.svs")
    assert query.title == "tumour of tissue (mean of 4 tiles on 2 slides)"
    order = np.argsort(-(unit(own) @ mean))
    assert [tile.tile_id for tile in query.tiles] == [query.tile_ids[i] for i in order]
    nearest = collection.tiles(where=f"tile_id = {query.tiles[0].tile_id}")
    assert TileLocation.from_table(nearest) == [query.tiles[0]]


def test_one_class_and_what_is_left_by_it(scene):
    """No head could be fitted on a single class; a prototype needs no other."""
    store, collection = scene
    assert len(prototype_query(store, collection, "single", "alone").tile_ids) == 2
    assert len(prototype_query(store, collection, "single", "none").tile_ids) == 4
    store.labels.record([Label(task="mine", label="this", kind="point", slide_id="b.svs", x=600, y=5, author="me")])
    query = prototype_query(store, collection, "mine", "this")
    np.testing.assert_allclose(query.vector, unit(VECTORS["b.svs"][1]), atol=1e-6)
    assert query.title == "this of mine (mean of 1 tile on 1 slide)"


def test_ready_made_tiles_are_shown_by_their_files(scene):
    store, collection = scene
    add_slide(store, collection, "folder", noise(3, 2), names=("x/1.png", "y/2.png"))
    store.labels.record([Label(task="tiles", label="y", slide_id="folder", name="y/2.png")])
    assert [tile.name for tile in prototype_query(store, collection, "tiles", "y").tiles] == ["y/2.png"]


def test_many_tiles_are_sampled_the_same_way_each_time(scene, monkeypatch: pytest.MonkeyPatch):
    store, collection = scene
    store.labels.record([Label(task="whole", label="a", kind="slide", slide_id="a.svs", author="me")])
    full = prototype_query(store, collection, "whole", "a")
    monkeypatch.setattr(module, "MOST_TILES", 4)
    once, again = (prototype_query(store, collection, "whole", "a") for _ in range(2))
    np.testing.assert_array_equal(once.vector, again.vector)
    assert once.tile_ids.tolist() == full.tile_ids.tolist()
    shown = {tile.tile_id for tile in once.tiles}
    assert len(shown) == 4
    rows = [i for i, tile in enumerate(once.tile_ids.tolist()) if tile in shown]
    np.testing.assert_allclose(once.vector, unit(unit(VECTORS["a.svs"][rows]).mean(axis=0)), atol=1e-5)


def test_an_unknown_task_names_those_there_are(scene):
    with pytest.raises(
        TaskNotFoundError, match="no label of task 'tisue' in the store; it has labels of single, tissue"
    ):
        prototype_query(*scene, "tisue", "tumour")


def test_an_unknown_class_names_those_there_are(scene):
    with pytest.raises(LabelError, match="task 'tissue' has no class 'x'; its labels name absent, stroma, tumour"):
        prototype_query(*scene, "tissue", "x")


def test_a_class_without_a_tile_says_what_was_found(scene):
    with pytest.raises(
        LabelError, match=r"no tile of collection 'toy' is of class 'absent'; found stroma 2, tumour 4, and 1 whose"
    ):
        prototype_query(*scene, "tissue", "absent")


def test_labels_that_hit_nothing(scene):
    store, collection = scene
    store.labels.record([area("far", "a.svs", 50, 60, task="far")])
    with pytest.raises(LabelError, match="hit no tile of collection 'toy'"):
        prototype_query(store, collection, "far", "far")


def test_labels_that_contradict_each_other_leave_nothing(scene):
    store, collection = scene
    of_ann = [area(label, "a.svs", 1, 1, task="clash") for label in ("x", "y")]
    store.labels.record([of_ann[0], dataclasses.replace(of_ann[1], author="ben")])
    with pytest.raises(LabelError, match="no class answers anything without a conflict; found x 0, y 0, and 1 whose"):
        prototype_query(store, collection, "clash", "x")
