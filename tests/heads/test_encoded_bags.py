"""Heads on one vector a slide, of an encoding."""

from pathlib import Path

import numpy as np
import pytest

from embedstore.api.settings import fit_config
from embedstore.encoders import MeanEncoder, encode_slides
from embedstore.errors import ConfigError, EncodingNotFoundError, HeadMismatchError
from embedstore.store import Collection, Store
from heads.config import FitConfig, default_head_name
from heads.encoded_bags import encoded_bags
from heads.fit import fit_again, fit_heads
from heads.head import Head
from heads.predict import predict
from heads.record import HeadRecord
from tests.heads.scene import COLLECTION, make_store

CONFIG = {"encoder": "mean", "bootstrap": 0, "split": {"folds": 3}}


def encode(store: Store) -> Collection:
    collection = store.collection(COLLECTION)
    encode_slides(store, collection, MeanEncoder(), name="mean")
    return collection


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = make_store(tmp_path_factory.mktemp("encoded"), tiles=12)
    fit_heads(store, encode(store), ["grade"], fit_config(None, CONFIG))
    return store


@pytest.mark.slow
def test_a_head_on_the_mean_is_the_head_that_pools_by_the_mean(store: Store):
    fit_heads(
        store, store.collection(COLLECTION), ["grade"], fit_config(None, {**CONFIG, "model": "mean", "encoder": None})
    )
    encoded, pooled = (Head.from_stored(store.heads.get(name)) for name in ("grade-mean-linear", "grade-mean"))
    assert (encoded.level, encoded.model) == ("slide", "linear") and encoded.digest != pooled.digest
    for name in ("grade-mean-linear", "grade-mean"):
        predict(store, name)
    one, other = (
        store.predictions(name).table(columns=["slide_id", "label", "p_high"]).sort_by("slide_id")
        for name in ("grade-mean-linear", "grade-mean")
    )
    assert one["label"] == other["label"]
    np.testing.assert_allclose(one["p_high"].to_numpy(), other["p_high"].to_numpy(), atol=1e-3)


@pytest.mark.slow
def test_the_record_names_the_encoder_and_the_fit_is_repeated_from_it(store: Store):
    record = HeadRecord.from_record(store.heads.get("grade-mean-linear").record)
    assert record.encoder is not None and record.encoder.digest == MeanEncoder.digest
    assert record.config.encoder == "mean" and record.tiles == 12 * 12
    stored, again = fit_again(store, "grade-mean-linear")
    assert again.digest == stored.digest


@pytest.mark.slow
def test_a_patient_is_the_mean_of_its_slides(store: Store):
    collection = store.collection(COLLECTION)
    ref, vectors = encoded_bags(store, collection, "mean", [["s00.svs"], ["s01.svs"], ["s00.svs", "s01.svs"]])
    assert ref.dim == vectors.shape[1]
    np.testing.assert_allclose(vectors[2], vectors[:2].mean(axis=0), rtol=1e-6)
    fit_heads(store, collection, ["grade"], fit_config(None, {**CONFIG, "level": "patient"}), names=["of-patients"])
    assert predict(store, "of-patients").rows == 12
    labels = store.predictions("of-patients").table().sort_by("slide_id")["p_high"].to_numpy()
    np.testing.assert_array_equal(labels[::2], labels[1::2])


@pytest.mark.slow
def test_another_encoder_or_slides_without_a_vector_are_refused(tmp_path: Path):
    store = make_store(tmp_path, tiles=6)
    with pytest.raises(EncodingNotFoundError, match="no encoding 'mean'"):
        fit_heads(store, store.collection(COLLECTION), ["grade"], fit_config(None, CONFIG))
    collection = encode(store)
    fit_heads(store, collection, ["grade"], fit_config(None, CONFIG))
    held = store.encoding(COLLECTION, "mean")
    with held.lease():
        held.forget(["s03.svs"])
    for attempt in (
        lambda: predict(store, "grade-mean-linear"),
        lambda: fit_again(store, "grade-mean-linear"),
    ):
        with pytest.raises(EncodingNotFoundError, match=r"1 of 12 slides are not encoded.*'s03.svs'.*encode-slides"):
            attempt()
    assert predict(store, "grade-mean-linear", slides=["s00.svs"]).rows == 1
    other = MeanEncoder()
    other.digest = "sha256:other"
    encode_slides(store, collection, other, name="mean", rebuild=True)
    for attempt in (
        lambda: predict(store, "grade-mean-linear"),
        lambda: fit_again(store, "grade-mean-linear"),
    ):
        with pytest.raises(HeadMismatchError, match=r"sha256:other"):
            attempt()


def test_the_settings_say_what_goes_with_an_encoder():
    config = fit_config(None, {"encoder": "mean"})
    assert (config.level, config.model, config.fits_tiles) == ("slide", "linear", False)
    assert default_head_name("grade", config) == "grade-mean-linear"
    assert FitConfig.from_record({**vars(FitConfig()), "split": {}, "join": {}}).encoder is None
    for wrong in ({"model": "mean"}, {"level": "tile"}, {"augment": {"views": 0.5}}):
        with pytest.raises(ConfigError, match=r"encoder|views"):
            fit_config(None, {"encoder": "mean", **wrong})
