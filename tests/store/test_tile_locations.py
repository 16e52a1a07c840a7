"""Where the tiles of a collection lie, as its table has them."""

from collections.abc import Callable

import numpy as np
import pytest

from embedstore.errors import CollectionNotFoundError
from embedstore.store import Collection, CollectionWriter, FragmentWriter, SlideFragments, Store, read_tile_locations

from .conftest import DIM, vectors

Deliver = Callable[..., SlideFragments]


def ready_made(collection: Collection, slide_id: str, names: tuple[str, ...]) -> SlideFragments:
    n = len(names)
    writer = FragmentWriter(
        table_uri=collection.table.uri,
        schema=collection.schema,
        collection=collection.name,
        slide_id=slide_id,
        xy_l0=np.zeros((n, 2), np.int32),
        edge_l0=0,
        tissue=np.ones(n, np.float32),
        names=names,
    )
    writer.put(np.arange(n), vectors(slide_id, n))
    assert vectors(slide_id, n).shape == (n, DIM)
    return writer.finish()


def test_tiles_come_in_the_order_of_the_table(collection: Collection, deliver: Deliver):
    CollectionWriter(collection).commit([deliver("b", 3), deliver("a", 2)])
    found = read_tile_locations(collection)
    assert (found.slides, found.collection, found.version) == (("b", "a"), "toy", collection.dataset().version)
    np.testing.assert_array_equal(found.slide, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(found.xy_l0, [[0, 0], [512, 0], [1024, 0], [0, 0], [512, 0]])
    np.testing.assert_array_equal(found.edge_l0, [512] * 5)
    np.testing.assert_array_equal(found.row, range(5))
    assert found.tile_id.tolist() == collection.tiles(columns=["tile_id"]).column(0).to_pylist()
    assert found.names is None
    assert found.describe(4) == "slide a at 512, 0"


def test_tiles_of_some_slides_keep_their_rows_in_the_table(collection: Collection, deliver: Deliver):
    CollectionWriter(collection).commit([deliver("a", 3), deliver("b", 2), deliver("c", 2)])
    found = read_tile_locations(collection, slides={"c", "a", "unknown"})
    assert found.slides == ("a", "c")
    np.testing.assert_array_equal(found.row, [0, 1, 2, 5, 6])
    every = read_tile_locations(collection)
    np.testing.assert_array_equal(found.tile_id, every.tile_id[found.row])


def test_no_slide_and_an_empty_collection_have_no_tile(collection: Collection, deliver: Deliver):
    assert len(read_tile_locations(collection)) == 0
    CollectionWriter(collection).commit([deliver("a", 3)])
    none = read_tile_locations(collection, slides=[])
    assert (len(none), none.slides, none.xy_l0.shape) == (0, (), (0, 2))


def test_ready_made_tiles_have_names(collection: Collection, deliver: Deliver):
    CollectionWriter(collection).commit([deliver("a", 1), ready_made(collection, "folder", ("x.png", "y.png"))])
    found = read_tile_locations(collection)
    assert found.names is not None
    assert found.names.tolist() == [None, "x.png", "y.png"]
    assert found.describe(2) == "slide folder, y.png"
    assert found.describe(0) == "slide a at 0, 0"


def test_a_removed_slide_has_no_places(collection: Collection, deliver: Deliver):
    writer = CollectionWriter(collection)
    writer.commit([deliver("a", 3), deliver("b", 2)])
    writer.remove(["a"])
    found = read_tile_locations(collection)
    assert found.slides == ("b",)
    np.testing.assert_array_equal(found.row, [0, 1])


def test_a_collection_that_is_not_there_is_named(store: Store):
    with pytest.raises(CollectionNotFoundError, match="no collection 'nowhere'"):
        read_tile_locations(Collection(store.uri, "nowhere"))
