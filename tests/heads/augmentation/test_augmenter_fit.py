"""Latent augmenters: learn what can be learnt, are refused where there is nothing to learn."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from embedstore.errors import (
    AugmenterExistsError,
    AugmenterMismatchError,
    AugmenterNotFoundError,
    AugmenterRefusedError,
    SplitError,
    VectorError,
    ViewsNotFoundError,
)
from embedstore.store import Collection, read_views
from embedstore.views import PARAMETERS
from heads.augmentation.augmenter import Augmenter, load_augmenter
from heads.augmentation.augmenter_fit import fit_augmenter
from heads.augmentation.augmenter_report import AugmenterReport
from heads.config import AugmenterConfig
from tests.collection_records import collection_record
from tests.heads.view_stores import DIM, VIEWS, make_viewed, noise_rule

QUICK = AugmenterConfig(chunks=4, width=32, steps=500, batch=128, evaluate_every=100, learning_rate=3e-3, bootstrap=200)
TINY = replace(QUICK, width=8, heads=2, steps=30, evaluate_every=30, bootstrap=20)


@pytest.mark.slow
def test_it_learns_what_views_do_and_says_how_well(tmp_path: Path):
    store = make_viewed(tmp_path)
    made = fit_augmenter(store, store.collection(), QUICK, name="a")
    report = AugmenterReport.from_record(made.record["report"])
    scores = report.scores["all"]
    assert made.record["beats_original"] and scores.gain.value > 0 and scores.explained.value > 0.5
    assert scores.transform_gain.value > 0.5 * scores.gain.value
    assert report.scores["stain"].views == scores.views  # every view has its stains changed
    assert report.groups == 2 and scores.gain.low is None  # of six patients: too few for an interval

    # the figures are those of the cosines of what `augment` gives, on the tiles of the test part
    augmenter = Augmenter.from_stored(store.augmenters.get("a"))
    tiles = store.collection().tiles()
    ids, own = tiles.column("tile_id").to_numpy(), np.stack(tiles.column("vector").to_pylist())
    stored = read_views(store.views("toy"), ids)
    flat = stored.parameters.reshape(-1, len(PARAMETERS))
    predicted = augmenter.augment(np.repeat(own, VIEWS.count, axis=0).astype(np.float16), flat)
    truth = stored.vectors.reshape(-1, DIM).astype(np.float64)

    def cosine(a, b):
        return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)

    gain = cosine(predicted, truth) - cosine(np.repeat(own, VIEWS.count, axis=0), truth)
    slides = np.repeat(np.array(tiles.column("slide_id").to_pylist()), VIEWS.count)
    by_patient = [gain[np.isin(slides, [f"s{2 * p:02}.svs", f"s{2 * p + 1:02}.svs"])].mean() for p in range(6)]
    assert min(by_patient) > 0
    assert any(abs((one + other) / 2 - scores.gain.value) < 1e-4 for one, other in combinations(by_patient, 2))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_augmenter(tmp_path: Path):
    store = make_viewed(tmp_path)
    one, same, other = (
        fit_augmenter(store, store.collection(), replace(TINY, seed=seed), name=name, force=True)
        for seed, name in ((0, "one"), (0, "same"), (1, "other"))
    )
    assert one.digest == same.digest != other.digest
    assert Augmenter.from_stored(store.augmenters.get("one")).digest == one.digest


@pytest.mark.slow
def test_noise_cannot_be_learnt_and_what_pretends_to_is_refused_unless_forced(tmp_path: Path):
    store = make_viewed(tmp_path, rule=noise_rule)
    bad = replace(QUICK, learning_rate=0.3, steps=40, evaluate_every=40)
    with pytest.raises(AugmenterRefusedError, match=r"no better than .* 2 unseen patients the cosine .* --force"):
        fit_augmenter(store, store.collection(), bad, name="a")
    assert store.augmenters.names() == []
    forced = fit_augmenter(store, store.collection(), bad, name="a", force=True)
    assert not forced.record["beats_original"] and any("FORCED" in note for note in forced.record["notes"])


@pytest.mark.slow
def test_what_is_missing_or_wrong_is_said_and_nothing_is_saved(tmp_path: Path):
    none = make_viewed(tmp_path / "none", views=False, slides=4, tiles=5)
    few = make_viewed(tmp_path / "few", slides=4, tiles=20)
    broken = make_viewed(tmp_path / "broken", slides=8, tiles=20, broken=True)
    for store, error, words in (
        (none, ViewsNotFoundError, "--views"),
        (few, SplitError, "2 patients"),
        (broken, VectorError, "NaN"),
    ):
        with pytest.raises(error, match=words):
            fit_augmenter(store, store.collection(), TINY)
        assert store.augmenters.names() == []


@pytest.mark.slow
def test_names_extractors_and_the_only_one(tmp_path: Path):
    store = make_viewed(tmp_path, slides=8, tiles=20)
    collection = store.collection()
    with pytest.raises(AugmenterNotFoundError, match="fit-augmenter"):
        load_augmenter(store, collection, None)
    fit_augmenter(store, collection, TINY, force=True)
    assert load_augmenter(store, collection, None).name == "toy-augmenter"
    with pytest.raises(AugmenterExistsError, match="an augmenter 'toy-augmenter' already"):
        fit_augmenter(store, collection, TINY, force=True)
    fit_augmenter(store, collection, TINY, name="second", force=True)
    with pytest.raises(AugmenterNotFoundError, match="2 augmenters for toy: second, toy-augmenter"):
        load_augmenter(store, collection, None)
    other = Collection.create(store.uri, "other", collection_record(DIM, name="new", digest="sha256:2"))
    with pytest.raises(AugmenterMismatchError, match="one of another extractor: it was trained on vectors of toy"):
        load_augmenter(store, other, "second")
