"""What a copy of a store lacks is found."""

from pathlib import Path

import pytest

from embedstore.store import Store
from embedstore.store.missing_files import missing_files
from tests.heads.scene import make_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = make_store(tmp_path, slides=3, tiles=5)
    dataset = store.collection("toy").dataset()
    first = dataset.to_table(columns=["tile_id"], limit=1)["tile_id"][0]
    dataset.delete(f"tile_id = {first}")  # leaves a file of removed rows
    store.collection("toy").dataset().create_scalar_index("slide_id", "BTREE")
    return store


def test_a_whole_store_lacks_nothing(store: Store):
    assert missing_files(store.uri) == []
    assert missing_files("s3://bucket/store") == []  # it copies no files in part


@pytest.mark.parametrize(
    "pattern",
    ["tiles-toy.lance/data/*", "tiles-toy.lance/_deletions/*", "slides.lance/data/*", "tiles-toy.lance/_indices/*"],
)
def test_each_kind_of_file_is_missed(store: Store, pattern: str):
    for path in sorted(Path(store.uri).glob(pattern)):
        path.rename(store.uri + ".lost")
        missed = missing_files(store.uri)
        Path(store.uri + ".lost").rename(path)
        if missed:
            assert missed == [str(path.relative_to(store.uri))]
            break
    else:
        pytest.fail(f"no file of {pattern} is missed")
    assert missing_files(store.uri) == []
