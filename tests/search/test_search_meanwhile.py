"""A search while a run commits: nothing of what it leaves out slips in between two of its reads."""

import pytest

from embedstore.search import SearchConfig, neighbours, search, tile_query
from embedstore.store import CollectionWriter, SlideRow, Store
from tests.search.planted import noise, plant
from tests.store.test_index import add


@pytest.mark.parametrize("read", ["select_tiles", "nearest_tiles"])
def test_a_slide_of_the_same_patient_that_is_committed_meanwhile(tmp_path, monkeypatch, read: str):
    """Its rows come after the list of slides was read, so that nobody knows yet whose they are."""
    store, collection = plant(tmp_path, {"a": noise(4, 0), "b": noise(4, 1)}, patients={"a": "P0", "b": "P1"})
    query = tile_query(store, collection, collection.tiles()["tile_id"][0].as_py())
    original, committed = getattr(neighbours, read), []

    def meanwhile(*args, **kwargs):
        if not committed:
            other = Store.open(store.uri)
            other.ledger.record([SlideRow(slide_id="c", path="/c", kind="wsi", metadata={"patient": "P0"})], [])
            add(other.collection(), {"c": noise(4, 0)})
            committed.append("c")
        return original(*args, **kwargs)

    monkeypatch.setattr(neighbours, read, meanwhile)
    first = search(store, collection, query, SearchConfig(k=20, exclude_same="patient"))
    assert {hit["slide_id"] for hit in first} == {"b"} and committed == ["c"]
    assert {hit["patient"] for hit in search(store, collection, query, SearchConfig(k=20))} == {"P0", "P1"}
    assert CollectionWriter(collection).present() == {"a", "b", "c"}
