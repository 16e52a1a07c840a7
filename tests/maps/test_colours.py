"""A value for each tile on the map, in its order, of whatever a filter may name."""

import numpy as np
import pytest

from embedstore.errors import ConfigError, HeadNotFoundError, TaskNotFoundError
from embedstore.labels.class_colours import NEGATIVE, POSITIVE
from embedstore.maps import (
    MapColours,
    TileMap,
    colours_from_bytes,
    colours_to_bytes,
    make_map,
    map_colours,
    map_from_bytes,
    map_picture,
    map_to_bytes,
    read_map,
)
from embedstore.store import Collection, Label, Store
from tests.store import predicted

from .conftest import PCA, build

PROBABILITY = np.linspace(0, 1, 30, dtype=np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """With a head that has predicted slide a, and one of three classes, slide c."""
    store = build(tmp_path_factory.mktemp("colours"))
    make_map(store, store.collection("toy"), PCA)
    predicted.predict(store, predicted.facts(), {"a": predicted.two(PROBABILITY)})
    facts = predicted.facts(head="kinds", classes=("fat", "gland", "stroma"), positive=None, thresholds={})
    predicted.predict(store, facts, {"c": np.eye(3, dtype=np.float32)[np.arange(12) % 3]})
    return store


@pytest.fixture(scope="module")
def collection(store: Store) -> Collection:
    return store.collection("toy")


@pytest.fixture(scope="module")
def tiles(store: Store, collection: Collection) -> TileMap:
    return read_map(store, collection)


def named(colours: MapColours) -> list[str | None]:
    return [None if code < 0 else colours.classes[code] for code in colours.values]


def test_by_slide_and_by_patient(store: Store, collection: Collection, tiles: TileMap):
    by_slide = map_colours(store, collection, tiles, "slide")
    assert named(by_slide) == tiles.rows["slide_id"].to_pylist()
    assert (by_slide.classes, by_slide.counts) == (("a", "b", "c"), (30, 30, 12))
    by_patient = map_colours(store, collection, tiles, "patient")
    assert named(by_patient) == [f"P-{name}" for name in tiles.rows["slide_id"].to_pylist()]


def test_by_the_labels_of_a_task(store: Store, collection: Collection, tiles: TileMap):
    store.labels.record(
        Label(task="lesion", label=label, slide_id="a", x=x, y=0, edge_l0=128, author="ann", source="a.csv")
        for x, label in ((0.0, "yes"), (128.0, "no"), (256.0, "yes"))
    )
    colours = map_colours(store, collection, tiles, "label:lesion")
    assert (colours.kind, colours.classes, colours.counts) == ("classes", ("no", "yes"), (1, 2))
    assert named(colours)[:4] == ["yes", "no", "yes", None]
    with pytest.raises(TaskNotFoundError, match="lesoin"):
        map_colours(store, collection, tiles, "label:lesoin")


def test_by_a_head_its_probability_of_what_is_looked_for(store: Store, collection: Collection, tiles: TileMap):
    colours = map_colours(store, collection, tiles, "head:lesion")
    assert (colours.kind, colours.range, colours.threshold) == ("numbers", (0, 1), 0.5)
    assert colours.title == "probability of tumour, head lesion"
    np.testing.assert_allclose(colours.values[:30], PROBABILITY)
    assert np.isnan(colours.values[30:]).all()
    decided = map_colours(store, collection, tiles, "lesion.label")
    assert (decided.classes, decided.positive, decided.counts) == (("normal", "tumour"), "tumour", (15, 15))
    with pytest.raises(HeadNotFoundError):
        map_colours(store, collection, tiles, "head:tumor")


def test_by_a_head_of_several_classes_the_class(store: Store, collection: Collection, tiles: TileMap):
    colours = map_colours(store, collection, tiles, "head:kinds")
    assert (colours.kind, colours.classes, colours.counts) == ("classes", ("fat", "gland", "stroma"), (4, 4, 4))


def test_by_a_number_of_the_tile(store: Store, collection: Collection, tiles: TileMap):
    colours = map_colours(store, collection, tiles, "tissue")
    assert (colours.kind, colours.range) == ("numbers", (0.5, 1.0))


def test_a_column_that_is_not_there_is_told_with_those_that_are(store: Store, collection: Collection, tiles: TileMap):
    with pytest.raises(ConfigError, match=r"no column 'tisue'.*did you mean tissue"):
        map_colours(store, collection, tiles, "tisue")


def test_what_is_sent_is_what_arrives(store: Store, collection: Collection, tiles: TileMap):
    arrived = map_from_bytes(map_to_bytes(tiles))
    assert arrived.rows.equals(tiles.rows) and arrived.facts == tiles.facts
    for by in ("slide", "tissue"):
        colours = map_colours(store, collection, tiles, by)
        again = colours_from_bytes(colours_to_bytes(colours, tiles.facts.version))
        np.testing.assert_array_equal(again.values, colours.values)
        assert (again.classes, again.counts, again.range, again.title) == (
            colours.classes, colours.counts, colours.range, colours.title,
        )  # fmt: skip


def test_a_picture_has_the_colours_of_the_classes(store: Store, collection: Collection, tiles: TileMap):
    drawn = {}
    for by in (None, "head:lesion", "lesion.label"):
        colours = None if by is None else map_colours(store, collection, tiles, by)
        drawn[by] = np.asarray(map_picture(tiles, colours, title="map of toy", picture_px=300))
        assert drawn[by].shape == (414, 660, 3)
    points = drawn["lesion.label"][84:384, 30:330].reshape(-1, 3)
    for colour in (POSITIVE, NEGATIVE):
        assert (points == colour).all(axis=1).sum() > 10
    assert not (drawn[None][84:384, 30:330].reshape(-1, 3) == POSITIVE).all(axis=1).any()
