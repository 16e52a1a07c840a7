"""Probes against scikit-learn and brute force; samples that keep what they must."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.preprocessing import StandardScaler

from embedstore.errors import ConfigError, LabelError
from heads.select import SelectConfig, sample_rows
from heads.select.probes import draw_shots, nearest_of, run_probes
from heads.splitting.splits import TEST, TRAIN
from tests.heads.select.task_samples import examples_of, sample, vectors_of
from tests.marks import examples

pytestmark = pytest.mark.slow

CONFIG = SelectConfig(neighbours=7, shots=(1, 5), draws=6, c=(1e-2,), bootstrap=0)


def folds(examples):
    return [(np.flatnonzero(parts == TRAIN), np.flatnonzero(parts == TEST)) for parts in examples.split.parts]


@pytest.mark.parametrize("classes", [2, 3])
def test_knn_and_nearest_mean_are_those_of_scikit_learn(classes: int):
    examples = sample(classes=classes)
    x = vectors_of(examples, signal=1.5)
    truth = examples.targets[0].argmax(axis=1)
    found = run_probes(x, examples, CONFIG)
    x = x.astype(np.float64)
    for rows, tested in folds(examples):
        share = np.bincount(truth[rows], minlength=classes)
        neighbours = KNeighborsClassifier(7, metric="cosine").fit(x[rows], truth[rows])
        votes = neighbours.predict_proba(x[tested]) / share
        top = np.sort(votes, axis=1)
        clear = top[:, -1] - top[:, -2] > 1e-9
        right = votes.argmax(axis=1) == truth[tested]
        assert clear.mean() > 0.9
        assert (found["knn"].correct[tested][clear] == right[clear]).all()

        centred = x - x[rows].mean(axis=0)
        unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
        said = NearestCentroid().fit(unit[rows], truth[rows]).predict(unit[tested])
        assert (found["nearest_mean"].correct[tested] == (said == truth[tested])).mean() > 0.99


@pytest.mark.parametrize("classes", [2, 3])
def test_the_linear_probe_is_logistic_regression_with_balanced_classes(classes: int):
    examples = sample(classes=classes)
    x = vectors_of(examples, signal=1.5)
    truth = examples.targets[0].argmax(axis=1)
    found = run_probes(x, examples, CONFIG)["linear"]
    assert found.probability is not None
    for rows, tested in folds(examples):
        scaler = StandardScaler().fit(x[rows].astype(np.float64))
        model = LogisticRegression(C=1e-2, class_weight="balanced", max_iter=5000, tol=1e-8)
        model.fit(scaler.transform(x[rows]), truth[rows])
        np.testing.assert_allclose(
            found.probability[tested], model.predict_proba(scaler.transform(x[tested])), atol=0.01
        )


def test_few_shots_are_the_share_of_draws_that_are_right():
    examples = sample()
    x = vectors_of(examples, signal=2).astype(np.float64)
    truth = examples.targets[0].argmax(axis=1)
    drawn = draw_shots(examples, 5, 6, seed=0)
    found = run_probes(x.astype(np.float16), examples, CONFIG)["5-shot"]
    x = x.astype(np.float16).astype(np.float64)
    for fold, (rows, tested) in enumerate(folds(examples)):
        centred = x - x[rows].mean(axis=0)
        unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
        for i in tested[:10]:
            right = 0
            for draw in drawn[fold]:
                assert set(draw.ravel()) <= set(rows) and len(set(draw.ravel())) == 10
                assert all((truth[draw[c]] == c).all() and len(set(examples.group[draw[c]])) == 5 for c in (0, 1))
                means = [unit[draw[c]].mean(axis=0) for c in (0, 1)]
                right += int(np.argmin([np.linalg.norm(unit[i] - mean) for mean in means]) == truth[i])
            assert found.correct[i] == pytest.approx(right / 6)


def test_a_draw_larger_than_a_class_is_left_out():
    group = np.arange(60) % 12
    rare = np.where(np.arange(60) < 12, 1, 0)
    found = run_probes(
        vectors_of(e := examples_of(rare, group), signal=1), e, SelectConfig(shots=(1, 25), draws=2, c=(0.1,))
    )
    assert "1-shot" in found and "25-shot" not in found


def test_a_mean_of_a_class_that_is_not_there_is_never_nearest():
    means = np.array([[[0.0, 0.0], [np.inf, np.inf]]], np.float32)
    assert nearest_of(np.array([[5.0, 5.0]], np.float32), means).tolist() == [[0]]


@settings(max_examples=examples(30), deadline=None)
@given(st.integers(0, 1000), st.integers(20, 150), st.integers(2, 4))
def test_a_sample_keeps_classes_in_every_part_and_is_even(seed: int, most: int, classes: int):
    rng = np.random.default_rng(seed)
    truth = rng.choice(classes, 300, p=np.array([0.7, *[0.3 / (classes - 1)] * (classes - 1)]))
    examples = examples_of(truth, np.arange(300) % 15, names=tuple("abcd"[:classes]))
    rows = sample_rows(examples, most, seed=seed)
    taken = examples.take(rows)
    assert len(rows) == len(set(rows.tolist())) <= most + 3 * 3 * classes
    for whole, part in zip(examples.split.parts, taken.split.parts, strict=True):
        for value in np.unique(whole[whole >= 0]):
            assert set(truth[whole == value]) == set(truth[rows][part == value])
    counts = np.bincount(truth[rows], minlength=classes)
    there = np.bincount(truth, minlength=classes)
    assert (counts >= np.minimum(there, most // classes)).all()
    assert (sample_rows(examples, most, seed=seed) == rows).all()


def test_no_patient_dominates_a_sample():
    group = np.concatenate([np.zeros(200, int), np.arange(1, 11).repeat(10)])
    examples = examples_of(np.arange(300) % 2, group)
    rows = sample_rows(examples, 66, seed=0)
    assert np.bincount(group[rows]).max() <= 10


def test_one_class_is_refused():
    examples = examples_of(np.zeros(30, int), np.arange(30) % 6, names=("a", "b"))
    with pytest.raises(LabelError, match="tiles of a alone"):
        sample_rows(examples, 20, seed=0)


@pytest.mark.parametrize("options", [{"tiles": 1}, {"shots": (0,)}, {"c": ()}, {"rank_by": "7-shot"}, {"draws": 0}])
def test_a_configuration_that_cannot_be_is_refused(options: dict):
    with pytest.raises(ConfigError):
        SelectConfig(**options)
