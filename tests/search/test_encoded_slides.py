"""Slides like a slide, by one vector a slide."""

from pathlib import Path

import numpy as np
import pytest

from embedstore.encoders import MeanEncoder, encode_slides
from embedstore.errors import ConfigError, EncodingNotFoundError, QueryError, SlideNotInStoreError
from embedstore.search.encoded_slides import COLUMNS, similar_encoded_slides
from embedstore.store import Store
from embedstore.store.removal import remove_slides
from tests.encoders.scene import ingest, make_store


def tiles(*vector: float) -> np.ndarray:
    """Two tiles whose mean has this direction."""
    return np.array([vector, [2 * value for value in vector]], np.float16)


#: Patients are P-q0, P-q0, P-b0 …: the first two letters of a slide.
SLIDES = {
    "q0.svs": tiles(1, 0), "q0-again.svs": tiles(3, 0), "b0.svs": tiles(1, 1), "c0.svs": tiles(0, 1),
    "d0.svs": tiles(-1, 0), "z0.svs": tiles(0, 0),
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = make_store(tmp_path_factory.mktemp("encoded"), SLIDES)
    encode_slides(store, store.collection("toy"), MeanEncoder(), name="mean")
    return store


def similar(store: Store, slide: str = "q0.svs", **options) -> dict[str, float]:
    found = similar_encoded_slides(store, store.collection("toy"), slide, "mean", **options)
    assert found.schema == COLUMNS and found["rank"].to_pylist() == list(range(1, len(found) + 1))
    return dict(zip(found["slide_id"].to_pylist(), found["distance"].to_pylist(), strict=True))


def test_ranked_by_cosine_without_the_slide_itself_and_one_without_a_direction(store: Store):
    found = similar(store)
    assert list(found) == ["q0-again.svs", "b0.svs", "c0.svs", "d0.svs"]
    np.testing.assert_allclose(list(found.values()), [0, 1 - np.sqrt(0.5), 1, 2], atol=1e-6)
    assert list(similar(store, k=2)) == ["q0-again.svs", "b0.svs"]


def test_filters_and_other_slides_of_the_patient(store: Store):
    assert list(similar(store, exclude_same_patient=True, k=1)) == ["b0.svs"]
    assert list(similar(store, where="patient IN ('P-c0', 'P-q0')")) == ["q0-again.svs", "c0.svs"]
    assert similar(store, where="patient = 'nobody'") == {}
    with pytest.raises(ConfigError, match="cannot be filtered"):
        similar(store, where="no_such = 1")
    with pytest.raises(ConfigError, match="k is 0"):
        similar(store, k=0)


def test_a_slide_that_cannot_be_searched_with_says_why(store: Store):
    with pytest.raises(SlideNotInStoreError, match="no tile of slide 'y'"):
        similar(store, "y")
    with pytest.raises(QueryError, match="is zero"):
        similar(store, "z0.svs")
    with pytest.raises(EncodingNotFoundError, match=r"no encoding 'fisher'; it has mean; .*encode-slides"):
        similar_encoded_slides(store, store.collection("toy"), "q0.svs", "fisher")


def test_a_removed_slide_is_never_found_and_a_new_one_once_it_is_encoded(tmp_path: Path):
    store = make_store(tmp_path, SLIDES)
    encode_slides(store, store.collection("toy"), MeanEncoder(), name="mean")
    ingest(store, {"e0.svs": tiles(1, 0.1)})
    with pytest.raises(EncodingNotFoundError, match=r"'e0.svs' is not encoded.*encode-slides"):
        similar(store, "e0.svs")
    encode_slides(store, store.collection("toy"), MeanEncoder(), name="mean")
    assert list(similar(store, k=2)) == ["q0-again.svs", "e0.svs"]
    remove_slides(store, ["q0-again.svs"])
    assert list(similar(store, k=2)) == ["e0.svs", "b0.svs"]
