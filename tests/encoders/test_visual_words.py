"""A bag of visual words: against a plain loop, and its codebook."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embedstore.encoder_config import VisualWordsConfig
from embedstore.encoders import encode as encode_module
from embedstore.encoders import encode_slides
from embedstore.encoders.visual_words import Codebook, VisualWordsEncoder
from embedstore.errors import ConfigError, EncoderMismatchError
from embedstore.search.tile_sample import directions
from embedstore.store import Collection, Store
from tests.collection_records import collection_record
from tests.encoders.scene import ingest, make_store, random_slides

CONFIG = VisualWordsConfig(words=3, components=4)
SIZES = {"a0.svs": 40, "a1.svs": 25, "b0.svs": 1}


def planted(sizes: dict[str, int], *, seed: int = 0) -> dict[str, NDArray[np.float16]]:
    """Tiles of three kinds, in shares that differ from slide to slide."""
    kinds, rng = np.eye(6)[:3] * 4, np.random.default_rng(seed)
    noise = random_slides(sizes, seed=seed)
    return {
        slide: (tiles + kinds[rng.integers(3, size=len(tiles))]).astype(np.float16) for slide, tiles in noise.items()
    }


def encode(store: Store, config: VisualWordsConfig | None = CONFIG, collection: str = "toy", **options):
    return encode_slides(store, store.collection(collection), VisualWordsEncoder(config), name="words", **options)


def vectors(store: Store, collection: str = "toy") -> dict[str, NDArray[np.float32]]:
    names, found = store.encoding(collection, "words").vectors(store.collection(collection).slides())
    return dict(zip(names, found, strict=True))


def by_loop(book: Codebook, tiles: NDArray[np.float16]) -> NDArray[np.float64]:
    """Tile by tile."""
    counts = np.zeros(len(book.words))
    for tile in tiles.astype(np.float64):
        x = (tile / np.linalg.norm(tile) - book.centre) @ book.axes
        counts[min(range(len(counts)), key=lambda k: float(((x - book.words[k]) ** 2).sum()))] += 1
    return np.sqrt(counts / counts.sum())


def test_equals_a_plain_loop_however_the_tiles_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    slides = planted(SIZES)
    store = make_store(tmp_path, slides)
    done = encode(store)
    assert not done.failed and done.record is not None and done.record.ref.dim == 3
    assert done.record.details["codebook_of"] == {"tiles": 66, "slides": 3, "collection": "toy"}
    book = Codebook.from_bytes(store.encoding("toy", "words").parameters())
    whole = vectors(store)
    for slide, tiles in slides.items():
        np.testing.assert_allclose(whole[slide], by_loop(book, tiles), atol=1e-6)
    monkeypatch.setattr(encode_module, "batch_rows", lambda dim: 7)
    again = encode(store, rebuild=True)
    assert again.record is not None and again.record.ref.digest == done.record.ref.digest
    for slide, vector in vectors(store).items():
        np.testing.assert_allclose(vector, whole[slide], atol=1e-6)


def test_the_codebook_finds_the_kinds_of_tiles_and_depends_on_the_seed_alone():
    tiles, _ = directions(planted({"a": 300})["a"])
    book = Codebook.fit(tiles, CONFIG)
    assert book.to_bytes() == Codebook.fit(tiles, CONFIG).to_bytes()
    assert book.to_bytes() == Codebook.from_bytes(book.to_bytes()).to_bytes()
    kind = np.argmax(tiles[:, :3], axis=1)  # that of the largest of the three
    nearest = book.nearest(tiles)
    assert np.mean([np.bincount(kind[nearest == k]).max() / (nearest == k).sum() for k in range(3)]) > 0.85


def test_later_slides_are_encoded_by_the_codebook_that_there_is(tmp_path: Path):
    store = make_store(tmp_path, planted(SIZES))
    digest = encode(store).record.ref.digest
    before = vectors(store)
    later = planted({"c0.svs": 30}, seed=9)
    ingest(store, later)
    done = encode(store, None)
    assert done.encoded == ("c0.svs",) and done.record.ref.digest == digest
    book = Codebook.from_bytes(store.encoding("toy", "words").parameters())
    np.testing.assert_allclose(vectors(store)["c0.svs"], by_loop(book, later["c0.svs"]), atol=1e-6)
    np.testing.assert_array_equal(vectors(store)["a0.svs"], before["a0.svs"])
    with pytest.raises(EncoderMismatchError, match=r"has 3 words; expected 5.*--rebuild"):
        encode(store, VisualWordsConfig(words=5))


def test_another_collection_of_the_extractor_takes_the_codebook(tmp_path: Path):
    store = make_store(tmp_path, planted(SIZES))
    digest = encode(store).record.ref.digest
    for name, extractor in (("more", "sha256:1"), ("other", "sha256:2")):
        Collection.create(store.uri, name, collection_record(6, digest=extractor))
        ingest(store, planted({"d0.svs": 40}, seed=3), collection=name)
    done = encode(store, None, "more", codebook_of=store.encoding("toy", "words"))
    assert done.record.ref.digest == digest and not done.failed
    assert done.record.details["codebook_of"]["collection"] == "toy"
    assert encode(store, None, "more", codebook_of=store.encoding("toy", "words")).already == 1
    encode(store, VisualWordsConfig(words=2), rebuild=True)
    with pytest.raises(EncoderMismatchError, match=r"it is not that of 'toy'.*--rebuild"):
        encode(store, None, "more", codebook_of=store.encoding("toy", "words"))
    with pytest.raises(EncoderMismatchError, match="expected the same extractor"):
        encode(store, None, "other", codebook_of=store.encoding("toy", "words"))


def test_too_few_tiles_for_a_codebook_and_slides_without_a_direction(tmp_path: Path):
    slides = planted(SIZES) | {"z0.svs": np.zeros((4, 6), np.float16)}
    store = make_store(tmp_path, slides)
    with pytest.raises(ConfigError, match=r"has 66 tile.* of 20 words needs 100"):
        encode(store, VisualWordsConfig(words=20))
    assert "all vectors of its tiles are zero" in encode(store).failed["z0.svs"]
