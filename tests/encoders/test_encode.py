"""Encoding slides: what is encoded, what is left, what is encoded anew, and what fails."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from embedstore.encoders import Bag, MeanEncoder, SlideEncoder, encode_slides
from embedstore.encoders import encode as encode_module
from embedstore.errors import EncoderMismatchError, EncodingNotFoundError, SlideNotInStoreError, StoreBusyError
from embedstore.store import Store
from embedstore.store import encoding as encoding_module
from embedstore.store.compaction import compact
from embedstore.store.removal import remove_slides
from tests.encoders.scene import EDGE, ingest, make_store, random_slides

SIZES = {"a0.svs": 7, "a1.svs": 30, "b0.svs": 1}


class Given(SlideEncoder):
    """What a function makes of all vectors of a slide."""

    name, source, digest = "given", "test:given", "sha256:given"

    def __init__(self, of: Callable[[NDArray[np.float16]], NDArray[np.floating]]):
        self.of = of

    def open_bag(self, tiles: int) -> Bag:
        return _GivenBag(self.of)


class _GivenBag(Bag):
    def __init__(self, of: Callable[[NDArray[np.float16]], NDArray[np.floating]]):
        self.of, self.parts = of, []

    def add(self, vectors, xy_l0, edge_l0):
        assert len(vectors) == len(xy_l0) and edge_l0 == EDGE
        self.parts.append(vectors.copy())

    def finish(self):
        return self.of(np.concatenate(self.parts))


def encode(store: Store, encoder: SlideEncoder | None = None, **options):
    return encode_slides(store, store.collection("toy"), encoder or MeanEncoder(), name="mean", **options)


def vectors(store: Store) -> dict[str, NDArray[np.float32]]:
    names, found = store.encoding("toy", "mean").vectors(store.collection("toy").slides())
    return dict(zip(names, found, strict=True))


def test_the_mean_is_that_of_the_stored_vectors_however_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    slides = random_slides(SIZES)
    store = make_store(tmp_path, slides)
    done = encode(store)
    assert sorted(done.encoded) == sorted(SIZES) and done.already == 0 and not done.failed
    assert done.record is not None and done.record.ref.dim == 6 and done.record.extractor.digest == "sha256:1"
    whole = vectors(store)
    for slide, tiles in slides.items():
        np.testing.assert_allclose(whole[slide], tiles.astype(np.float64).mean(axis=0), rtol=1e-6, atol=1e-7)
    monkeypatch.setattr(encode_module, "batch_rows", lambda dim: 4)  # a slide lies in several batches
    monkeypatch.setattr(encode_module, "COMMIT_SLIDES", 1)
    encode(store, rebuild=True)
    for slide, vector in vectors(store).items():
        np.testing.assert_allclose(vector, whole[slide], rtol=1e-6, atol=1e-7)


def test_only_new_slides_and_those_whose_tiles_changed_are_encoded(tmp_path: Path):
    store = make_store(tmp_path, random_slides(SIZES))
    encode(store)
    assert encode(store).encoded == () and encode(store).already == 3
    ingest(store, random_slides({"c0.svs": 5}))
    assert encode(store).encoded == ("c0.svs",)
    again = random_slides({"a1.svs": 30}, seed=1)  # the same tiles with other vectors, as of a file that was replaced
    ingest(store, again)
    facts = store.encoding("toy", "mean").facts(encoding_module.slide_states(store.ledger, store.collection("toy")))
    assert (facts.slides, facts.lacking) == (3, 1)
    assert encode(store).encoded == ("a1.svs",)
    np.testing.assert_allclose(vectors(store)["a1.svs"], again["a1.svs"].astype(np.float64).mean(axis=0), rtol=1e-5)
    assert len(store.encoding("toy", "mean").slides()) == 4


def test_a_run_that_is_interrupted_keeps_what_was_finished(tmp_path: Path):
    store = make_store(tmp_path, random_slides(SIZES))

    def interrupted(tiles: NDArray[np.float16]) -> NDArray[np.float32]:
        if len(tiles) == 1:
            raise KeyboardInterrupt
        return tiles.mean(axis=0, dtype=np.float32)

    with pytest.raises(KeyboardInterrupt):
        encode(store, Given(interrupted))
    assert vectors(store).keys() == {"a0.svs", "a1.svs"}
    assert encode(store, Given(lambda tiles: tiles[0])).encoded == ("b0.svs",)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("of", "reason"),
    [
        (lambda tiles: tiles.mean(axis=0) * np.nan, "gave NaN or infinity"),
        (lambda tiles: tiles[:, 0], "gave 30 values; expected"),
        (lambda tiles: tiles[:2], r"shape \(2, 6\)"),
        (lambda tiles: np.array(["a"]), "of type <U1"),
        (lambda tiles: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_slide_that_fails_has_a_reason_and_the_others_are_encoded(tmp_path: Path, of, reason: str):
    store = make_store(tmp_path, random_slides(SIZES))
    done = encode(store, Given(lambda tiles: of(tiles) if len(tiles) == 30 else tiles[0]))
    assert sorted(done.encoded) == ["a0.svs", "b0.svs"]
    assert done.failed.keys() == {"a1.svs"}
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(done.failed["a1.svs"])


def test_a_slide_with_a_vector_that_is_not_finite_fails(tmp_path: Path):
    slides = random_slides(SIZES)
    slides["a0.svs"][3, 2] = np.inf
    done = encode(make_store(tmp_path, slides))
    assert "1 of its tile vectors hold NaN or infinity" in done.failed["a0.svs"]


def test_where_nothing_can_be_encoded_no_table_is_made(tmp_path: Path):
    store = make_store(tmp_path, random_slides(SIZES))
    done = encode(store, Given(lambda tiles: tiles))
    assert done.record is None and len(done.failed) == 3
    assert store.encodings() == []
    with pytest.raises(EncodingNotFoundError, match="encode-slides"):
        vectors(store)


def test_another_encoder_does_not_add_to_an_encoding(tmp_path: Path):
    store = make_store(tmp_path, random_slides(SIZES))
    encode(store)
    with pytest.raises(EncoderMismatchError, match=r"test:given.*--rebuild"):
        encode(store, Given(lambda tiles: tiles[0]))
    same = Given(lambda tiles: tiles[0])
    same.source = MeanEncoder.source
    with pytest.raises(EncoderMismatchError, match=r"sha256:given"):
        encode(store, same)
    with pytest.raises(SlideNotInStoreError, match="no slide 'z'"):
        encode(store, slides=["z"])
    encode(store, Given(lambda tiles: tiles[0][:2]), rebuild=True)
    assert {len(vector) for vector in vectors(store).values()} == {2}


def test_an_encoding_that_was_made_anew_meanwhile_is_left_alone(tmp_path: Path):
    store = make_store(tmp_path, random_slides(SIZES))
    encode(store, slides=["a0.svs"])

    def overtaken(tiles: NDArray[np.float16]) -> NDArray[np.float16]:
        if len(tiles) == 30:
            encode(store, Given(lambda tiles: tiles[0][:3]), rebuild=True)
        return tiles[0]

    meanwhile = Given(overtaken)
    meanwhile.source, meanwhile.digest = MeanEncoder.source, MeanEncoder.digest
    with pytest.raises(StoreBusyError, match="made anew meanwhile"):
        encode(store, meanwhile)
    assert {len(vector) for vector in vectors(store).values()} == {3}


def test_a_removed_slide_leaves_no_vector_and_after_compaction_no_trace(tmp_path: Path):
    store = make_store(tmp_path, random_slides(SIZES))
    encode(store)
    remove_slides(store, ["a1.svs"])
    assert vectors(store).keys() == store.encoding("toy", "mean").slides().keys() == {"a0.svs", "b0.svs"}
    compact(store, keep_s=0)
    files = [path for path in Path(store.uri, "encoded-toy.mean.lance").rglob("*") if path.is_file()]
    assert files and not any(b"a1.svs" in path.read_bytes() for path in files)
    assert encode(store).already == 2


def test_a_slide_that_is_removed_while_it_is_encoded_is_not_written(tmp_path: Path):
    store = make_store(tmp_path, random_slides(SIZES))

    def removed(tiles: NDArray[np.float16]) -> NDArray[np.float16]:
        if len(tiles) == 30:
            remove_slides(store, ["a0.svs"])
        return tiles[0]

    assert sorted(encode(store, Given(removed)).encoded) == ["a1.svs", "b0.svs"]
    assert vectors(store).keys() == {"a1.svs", "b0.svs"}
