"""Queries by words: what they find, how several are put together, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embedstore.errors import CollectionMismatchError, ExtractorError, QueryError
from embedstore.extractor_ref import UNKNOWN_DIGEST
from embedstore.extractors import ExtractorConfig, load_extractor
from embedstore.search import SearchConfig, search, text_query
from embedstore.search.queries.text_query import own_text_tower
from embedstore.store import Collection, Store
from tests.search.queries.query_scene import image_collection, unit
from tests.two_towers import COLOURS, REF, SLIDES, TILE_PX, Colours, colour_store


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> tuple[Store, Collection]:
    return colour_store(tmp_path_factory.mktemp("colours"))


def found(scene: tuple[Store, Collection], *texts: str, **settings) -> list[str]:
    """The colours of the tiles that words find, the nearest first."""
    store, collection = scene
    query = text_query(collection, texts, trust_extractor=True)
    hits = search(store, collection, query, SearchConfig(**{"k": 9, **settings}))
    return [SLIDES[hit["slide_id"]][hit["x"] // 512] for hit in hits.to_pylist()]


def test_words_find_what_they_name(scene):
    assert found(scene, "red", k=3) == ["red", "red", "orange"]
    assert found(scene, "tiles that are black", k=1) == ["black"]
    assert found(scene, "red", where="slide_id <> 'a.svs'", k=2) == ["red", "orange"]
    assert found(scene, "blue", per_slide=1, k=2) == ["blue", "blue"]
    assert found(scene, "blue", diverse=0.5, k=2)[0] == "blue"


def test_several_texts_are_the_mean_of_their_directions(scene):
    _, collection = scene
    query = text_query(collection, ["red red red", "green"], trust_extractor=True)
    colours = np.array([COLOURS["red"], COLOURS["green"]]) / 127.5 - 1
    np.testing.assert_allclose(query.vector, unit(unit(colours).mean(axis=0)), atol=1e-6)
    assert query.title == 'the mean of 2 texts ("red red red", "green")'
    alone = text_query(collection, " red ", trust_extractor=True)
    assert (alone.title, alone.slides, len(alone.tile_ids), alone.picture) == ('text "red"', (), 0, None)


@pytest.mark.parametrize(
    ("texts", "said"),
    [([], "no text"), ("", "is empty"), (["red", "  "], "is empty"), ("x" * 2001, "2,001 characters; expected 2,000"),
     ([3], "a int is among"), ("\ud800", "half of a character"), ([str(i) for i in range(1001)], "1,001 texts")],
)  # fmt: skip
def test_texts_that_are_refused(scene, texts, said):
    with pytest.raises(QueryError, match=said):
        text_query(scene[1], texts, trust_extractor=True)


def test_the_tower_must_be_that_of_the_collection(scene):
    _, collection = scene
    with pytest.raises(ExtractorError, match=r"to search collection 'toy' by words, the function .*--trust-extractor"):
        text_query(collection, "red")
    record = collection.record()
    with pytest.raises(CollectionMismatchError, match=r"text tower sha256:words; what loads now has sha256:other"):
        own_text_tower(
            "toy", record, load_extractor(ExtractorConfig(ref=REF, arch_args={"text_digest": "sha256:other"}))
        )
    extractor = replace(record.extractor, ref=replace(record.extractor.ref, digest="sha256:others"))
    collection_of_others = Collection.create(scene[0].uri, "others", replace(record, extractor=extractor))
    with pytest.raises(CollectionMismatchError, match="with digest sha256:others; what loads"):
        text_query(collection_of_others, "red", trust_extractor=True)


def test_imported_vectors_of_unknown_weights_share_no_space_with_words(scene):
    record = scene[1].record()
    unknown = replace(record.extractor, ref=replace(record.extractor.ref, digest=f"{UNKNOWN_DIGEST}1"))
    collection = Collection.create(scene[0].uri, "imported", replace(record, extractor=unknown))
    with pytest.raises(CollectionMismatchError, match="weights made them is not known, so no words can be embedded"):
        text_query(collection, "red", trust_extractor=True)


def test_an_extractor_without_words_is_refused_before_it_is_loaded(tmp_path: Path, monkeypatch):
    config = ExtractorConfig(ref="colour-12", tile_px=TILE_PX)
    _, collection = image_collection(tmp_path, load_extractor(config, device="cpu"), config)
    monkeypatch.setattr("embedstore.extractors.load_extractor", lambda *a, **k: pytest.fail("it was loaded"))
    with pytest.raises(ExtractorError, match=r"its extractor 'colour-12' has no text tower.* ingest the slides"):
        text_query(collection, "red")


def test_a_function_without_words_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.delattr(Colours, "embed_text")
    _, collection = colour_store(tmp_path)
    with pytest.raises(ExtractorError, match="has no text tower"):
        text_query(collection, "red", trust_extractor=True)


@pytest.mark.parametrize(
    ("rows", "said"),
    [(np.zeros((1, 4)), r"gives \(1, 4\) values for 1 texts; expected \(1, 3\)"), (np.full((1, 3), np.nan), "NaN")],
)
def test_a_tower_that_gives_something_else(scene, monkeypatch, rows, said):
    monkeypatch.setattr(Colours, "embed_text", lambda self, texts: rows)
    with pytest.raises(ExtractorError, match=said):
        text_query(scene[1], "red", trust_extractor=True)


def test_a_tower_without_a_digest(monkeypatch):
    monkeypatch.setattr(Colours, "__init__", lambda self, text_digest="": None)
    with pytest.raises(ExtractorError, match="has embed_text and no text_digest"):
        load_extractor(REF)
