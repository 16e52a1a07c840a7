"""The split of a head, as an audit takes it."""

import numpy as np
import pytest

from embedstore.errors import HeadMismatchError
from embedstore.store import StoredHead
from embedstore.tile_id import tile_ids
from heads.head_split import split_groups
from heads.stored_examples import StoredExamples
from tests.heads.records import head_record
from tests.heads.scene import COLLECTION, make_store


def head(level: str, ids: np.ndarray, *parts: list[int]) -> StoredHead:
    """A head that keeps these examples, and nothing else."""
    n = len(ids)
    examples = StoredExamples(
        ids=ids, tiles=np.ones(n, np.int64), group=np.arange(n, dtype=np.int32), parts=np.array(parts, np.int8),
        targets=(np.zeros((n, 2), bool),), known=(np.ones(n, bool),),
    )  # fmt: skip
    return StoredHead(
        name="h", task="t", collection=COLLECTION, model="linear", level=level, digest="d", parameters=b"",
        examples=examples.to_bytes(), record=head_record(len(parts)).as_record(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("sides"), slides=4, tiles=6)


def test_tiles_are_in_the_part_of_their_example(store):
    tiles = store.collection(COLLECTION).tiles(columns=["tile_id", "slide_id", "name"])
    ids = tiles["tile_id"].to_numpy()
    chosen = np.array([20, 3, 8, 9])  # of s03, s00, s01, s01
    split = split_groups(store, head("tile", np.append(ids[chosen], 1), [0, 2, 0, 1, 0], [2, 0, 0, 0, 0]))
    expected = np.full((24, 2), -1)
    expected[chosen] = [[0, 2], [2, 0], [0, 0], [1, 0]]
    assert split.of_tiles(tiles).tolist() == expected.tolist()
    assert split.whole == {"s00.svs", "s03.svs"}  # of s01, one tile is trained on and one validated on
    assert split.fold_names == ("fold 1", "fold 2")


@pytest.mark.parametrize(
    ("level", "names", "expected"),
    [("slide", ["s02.svs", "s00.svs"], [0, -1, 2, -1]), ("patient", ["P01", "P00"], [0, 0, 2, 2])],
)
def test_all_tiles_of_a_slide_or_patient_are_in_its_part(store, level, names, expected):
    tiles = store.collection(COLLECTION).tiles(columns=["tile_id", "slide_id", "name"])
    split = split_groups(store, head(level, tile_ids(level, names), [2, 0]))
    assert split.of_tiles(tiles)[:, 0].tolist() == np.repeat(expected, 6).tolist()


def test_a_head_of_tiles_that_are_gone_is_refused(store):
    with pytest.raises(HeadMismatchError, match="none of the 2 tiles that head 'h' was fitted on"):
        split_groups(store, head("tile", np.array([1, 2]), [0, 2]))
