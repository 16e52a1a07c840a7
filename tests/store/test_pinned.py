"""A collection that is pinned: several reads of one version, whatever is written meanwhile."""

from embedstore.store import Collection, CollectionWriter, nearest_tiles
from tests.store.conftest import vectors


def test_what_is_committed_later_is_not_in_it(collection: Collection, deliver):
    writer = CollectionWriter(collection)
    writer.commit([deliver("a", 5)])
    pinned = collection.pinned()
    writer.commit([deliver("b", 7)])
    assert (pinned.slides(), len(pinned)) == ({"a": 5}, 5)
    assert pinned.tiles(columns=["slide_id"])["slide_id"].to_pylist() == ["a"] * 5
    found = nearest_tiles(pinned, vectors("b", 7)[0], k=20)
    assert set(found["slide_id"].to_pylist()) == {"a"}
    assert (collection.slides(), len(collection.pinned())) == ({"a": 5, "b": 7}, 12)


def test_what_is_removed_later_is_still_in_it(collection: Collection, deliver):
    writer = CollectionWriter(collection)
    writer.commit([deliver("a", 5), deliver("b", 7)])
    pinned = collection.pinned()
    writer.remove(["a"])
    writer.compact(keep_s=3600)
    assert pinned.slides() == {"a": 5, "b": 7}
    assert nearest_tiles(pinned, vectors("a", 5)[0], k=1)["slide_id"].to_pylist() == ["a"]
    assert collection.slides() == {"b": 7}
