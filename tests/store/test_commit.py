"""The commit protocol: each slide once, whole, whatever is delivered twice or dies in between."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from embedstore.errors import CollectionMismatchError, CommitError, ConfigError
from embedstore.store import Collection, CollectionWriter, FragmentWriter, SlideFragments, Store
from embedstore.tile_id import tile_ids
from tests.collection_records import collection_record

from .conftest import DIM, vectors

Deliver = Callable[..., SlideFragments]


def rows_of(collection: Collection, slide_id: str) -> np.ndarray:
    table = collection.tiles(where=f"slide_id = '{slide_id}'", columns=["vector"])
    return np.asarray(table.column("vector").combine_chunks().flatten()).reshape(-1, DIM)


def test_a_slide_is_invisible_until_its_group_is_committed(collection: Collection, deliver: Deliver):
    group = [deliver("a", 3), deliver("b", 4)]
    assert len(collection) == 0
    CollectionWriter(collection).commit(group)
    assert collection.slides() == {"a": 3, "b": 4}


def test_a_group_is_one_version(collection: Collection, deliver: Deliver):
    before = collection.dataset().version
    CollectionWriter(collection).commit([deliver(name) for name in "abcdef"])
    assert collection.dataset().version == before + 1


def test_a_second_delivery_is_left(collection: Collection, deliver: Deliver):
    writer = CollectionWriter(collection)
    delivery = deliver("a", 3)
    assert writer.commit([delivery]) == ["a"]
    assert writer.commit([delivery, deliver("a", 3), deliver("b", 2)]) == ["b"]
    assert collection.slides() == {"a": 3, "b": 2}


def test_a_second_delivery_within_one_group_is_left(collection: Collection, deliver: Deliver):
    CollectionWriter(collection).commit([deliver("a", 3), deliver("a", 3)])
    assert collection.slides() == {"a": 3}


def test_a_new_committer_knows_what_is_there(collection: Collection, deliver: Deliver):
    delivery = deliver("a")
    CollectionWriter(collection).commit([delivery])
    assert CollectionWriter(collection).commit([delivery]) == []
    assert collection.slides() == {"a": 5}


def test_a_committer_sees_what_another_committed_meanwhile(collection: Collection, deliver: Deliver):
    mine, other = CollectionWriter(collection), CollectionWriter(collection)
    other.commit([deliver("a")])
    assert mine.commit([deliver("a")]) == []
    assert collection.slides() == {"a": 5}


def test_what_two_committers_added_is_left_once(
    collection: Collection, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
):
    """As a process does that is stopped right before its commit, until its lease is another's."""
    late, other = CollectionWriter(collection), CollectionWriter(collection)
    mine, theirs = [deliver("a", block_rows=2), deliver("b")], [deliver("a", block_rows=2), deliver("c")]
    dataset = collection.dataset()
    other.commit(theirs)
    monkeypatch.setattr(late, "_refresh", lambda: dataset)
    assert late.commit(mine) == ["b"]
    assert collection.slides() == {"a": 5, "b": 5, "c": 5}
    np.testing.assert_array_equal(rows_of(collection, "a"), vectors("a", 5))


def test_a_delivery_that_lies_about_its_rows_is_refused_with_its_group(collection: Collection, deliver: Deliver):
    lying = dataclasses.replace(deliver("a", 3), rows=4)
    with pytest.raises(CommitError, match="hold 3 rows; expected 4"):
        CollectionWriter(collection).commit([deliver("b"), lying])
    assert len(collection) == 0


def test_rows_follow_the_plan_however_embeddings_arrive(collection: Collection):
    tiles = 11
    xy = np.stack([np.arange(tiles), np.arange(tiles)], axis=1).astype(np.int32)
    expected = vectors("a", tiles)
    writer = FragmentWriter(
        table_uri=collection.table.uri, schema=collection.schema, collection="toy", slide_id="a",
        xy_l0=xy, edge_l0=1, tissue=np.ones(tiles, np.float32), block_rows=4,
    )  # fmt: skip
    for rows in np.array_split(np.random.default_rng(0).permutation(tiles), 5):
        assert not writer.complete
        unreadable = rows[rows == 6]
        if len(unreadable):
            writer.put(unreadable, None)
        writer.put(rows[rows != 6], expected[rows[rows != 6]])
    assert writer.complete
    CollectionWriter(collection).commit([writer.finish()])
    kept = [i for i in range(tiles) if i != 6]
    np.testing.assert_array_equal(rows_of(collection, "a"), expected[kept])
    table = collection.tiles(columns=["x", "tile_id"])
    assert table.column("x").to_pylist() == kept
    np.testing.assert_array_equal(table.column("tile_id"), tile_ids("a", [f"{i},{i}" for i in kept]))


def test_replacing_is_atomic_and_leaves_other_slides_alone(collection: Collection, deliver: Deliver):
    writer = CollectionWriter(collection)
    writer.commit([deliver("a", 3), deliver("b", 4)])
    writer.commit([deliver("a", 6, version=1)], replacing=frozenset({"a"}))
    assert collection.slides() == {"a": 6, "b": 4}
    np.testing.assert_array_equal(rows_of(collection, "a"), vectors("a", 6, 1))
    np.testing.assert_array_equal(rows_of(collection, "b"), vectors("b", 4))
    old = collection.dataset().checkout_version(collection.dataset().version - 1)
    assert old.count_rows("slide_id = 'a'") == 3


def test_another_configuration_is_refused_with_the_difference(store: Store, collection: Collection):
    other = collection_record(DIM, tiling={"tile_px": 224})
    with pytest.raises(CollectionMismatchError, match=r"tiling\.tile_px is 256 there and 224 here"):
        Collection.create(store.uri, "toy", other)
    other = collection_record(DIM, digest="sha256:2")
    with pytest.raises(CollectionMismatchError, match=r"digest is 'sha256:1' there and 'sha256:2' here"):
        Collection.create(store.uri, "toy", other)


def test_the_same_weights_under_another_name_are_welcome(store: Store, collection: Collection):
    same = collection_record(DIM, name="elsewhere")
    assert len(Collection.create(store.uri, "toy", same)) == 0


def test_compaction_merges_fragments_and_spares_those_not_yet_committed(collection: Collection, deliver: Deliver):
    writer = CollectionWriter(collection)
    for name in "abcdefgh":
        writer.commit([deliver(name)])
    waiting = deliver("late")
    writer.compact(keep_s=0)
    assert len(collection.dataset().get_fragments()) == 1
    assert len(collection.dataset().versions()) == 1
    writer.commit([waiting])
    np.testing.assert_array_equal(rows_of(collection, "late"), vectors("late", 5))
    assert collection.slides() == dict.fromkeys([*"abcdefgh", "late"], 5)


@pytest.mark.slow
def test_lancedb_reads_what_pylance_wrote(store: Store, collection: Collection, deliver: Deliver):
    import lancedb  # a second that no other test has to wait for

    CollectionWriter(collection).commit([deliver("a", 40)])
    table = lancedb.connect(store.uri).open_table(store.table_name("toy"))
    query = vectors("a", 40)[7].astype(np.float32)
    found = table.search(query).distance_type("cosine").limit(1).to_list()
    assert (found[0]["slide_id"], found[0]["x"]) == ("a", 7 * 512)


def test_a_name_that_cannot_be_a_table_is_refused(store: Store):
    with pytest.raises(ConfigError, match="cannot name a table"):
        Collection(store.uri, "../outside")


def test_tile_ids_are_stable():
    # Ids are written into stores: this value must never change.
    assert tile_ids("a.svs", ["0,0"]).tolist() == [GOLDEN_ID]


GOLDEN_ID = -2637964757502121612
