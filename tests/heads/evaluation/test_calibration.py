"""Temperature and threshold, against trying everything."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, log_loss

from embedstore.errors import VectorError
from heads.evaluation.calibration import choose_threshold, fit_temperature
from tests.marks import examples, slow


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def loss(logits, targets, temperature, weights=None, multi_label=False):
    """Cross-entropy by scikit-learn."""
    if multi_label:
        chances = 1 / (1 + np.exp(-logits / temperature))
        return sum(log_loss(targets[:, k], chances[:, k], sample_weight=weights) for k in range(targets.shape[1]))
    return log_loss(targets.argmax(1), softmax(logits / temperature), sample_weight=weights)


def scene(seed: int, *, sharpness: float, classes: int = 3, rows: int = 400, multi_label: bool = False):
    """Logits that are `sharpness` times as sure as they should be."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (rows, classes))
    if multi_label:
        targets = rng.random((rows, classes)) < 1 / (1 + np.exp(-logits))
    else:
        drawn = np.array([rng.choice(classes, p=chances) for chances in softmax(logits)])
        targets = np.eye(classes, dtype=bool)[drawn]
    return logits * sharpness, targets


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("sharpness", [slow(0.2), 1.0, slow(4.0)])
def test_temperature_is_the_best_of_a_fine_grid(sharpness, multi_label):
    logits, targets = scene(0, sharpness=sharpness, multi_label=multi_label)
    weights = np.random.default_rng(1).integers(0, 4, len(logits)).astype(float)
    for weight in (None, weights):
        found = fit_temperature(logits, targets, weight, multi_label=multi_label)
        grid = np.geomspace(sharpness / 1.4, sharpness * 1.4, 41)
        best = grid[np.argmin([loss(logits, targets, t, weight, multi_label) for t in grid])]
        assert found == pytest.approx(best, rel=0.017)  # a step of the grid
        assert found == pytest.approx(sharpness, rel=0.25)


def test_a_weight_counts_as_so_many_rows():
    logits, targets = scene(2, sharpness=3)
    weights = np.random.default_rng(1).integers(0, 4, len(logits))
    repeated = fit_temperature(np.repeat(logits, weights, axis=0), np.repeat(targets, weights, axis=0))
    assert fit_temperature(logits, targets, weights) == pytest.approx(repeated, rel=1e-4)


def test_temperature_stays_within_its_bounds():
    logits = np.array([[1.0, -1.0], [-1.0, 1.0], [0.0, 0.001]])
    assert fit_temperature(logits / 100, np.array([[1, 0], [0, 1], [1, 0]], bool)) == pytest.approx(1 / 20, rel=1e-3)
    assert fit_temperature(logits, np.array([[0, 1], [1, 0], [1, 0]], bool)) == pytest.approx(20, rel=1e-3)
    assert np.isfinite(fit_temperature(logits * 1e4, np.array([[0, 1], [0, 1], [1, 0]], bool)))


@pytest.mark.parametrize("multi_label", [False, True])
def test_rows_that_are_all_right_do_not_sharpen_without_end(multi_label):
    logits, _ = scene(4, sharpness=1, multi_label=multi_label)
    right = logits > 0 if multi_label else np.eye(3, dtype=bool)[logits.argmax(1)]
    assert fit_temperature(logits, right, multi_label=multi_label) == 1
    right[0] = ~right[0] if multi_label else np.roll(right[0], 1)
    assert fit_temperature(logits, right, multi_label=multi_label) < 0.9


def test_one_class_says_nothing_of_the_temperature():
    logits, _ = scene(3, sharpness=5)
    one = np.zeros((400, 3), bool)
    assert fit_temperature(logits, one, multi_label=True) == 1
    one[:, 1] = True
    assert fit_temperature(logits, one) == 1
    two = one.copy()
    two[0] = [True, False, False]
    assert fit_temperature(logits, two) != 1
    assert fit_temperature(logits, two, np.arange(400) > 0) == 1
    assert fit_temperature(logits[:0], one[:0]) == 1


@settings(deadline=None, max_examples=examples(100))
@given(rows=st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=2, max_size=30))
def test_threshold_is_the_best_of_all_and_nearest_to_a_half(rows):
    probability, target = np.array([p for p, _ in rows]) / 12, np.array([t for _, t in rows])
    found = choose_threshold(probability, target)
    if target.all() or not target.any():
        assert found == 0.5
        return
    edges = [0.0, *np.unique(probability)]
    tried = [(low + high) / 2 for low, high in pairwise(edges)]
    scores = [f1_score(target, probability >= t, zero_division=0) for t in tried]
    best = [t for t, score in zip(tried, scores, strict=True) if score >= max(scores) - 1e-12]
    assert f1_score(target, probability >= found, zero_division=0) == pytest.approx(max(scores))
    assert abs(found - 0.5) == pytest.approx(min(abs(t - 0.5) for t in best))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("least", [0.3, 0.5, 0.7, 1 - 2**-24])
def test_threshold_parts_neighbouring_floats(kind, least):
    """Also once it is of the probabilities' own type, as heads keep it."""
    low = kind(least)
    high = np.nextafter(low, kind(2))
    found = choose_threshold(np.array([low, high]), np.array([False, True]))
    assert low < kind(found) <= high


def test_nan_is_an_error():
    with pytest.raises(VectorError, match="1 of 2 rows"):
        fit_temperature(np.array([[np.nan, 0], [0, 1]]), np.eye(2, dtype=bool))
    with pytest.raises(VectorError, match="1 of 2 probabilities"):
        choose_threshold(np.array([np.inf, 0.0]), np.array([True, False]))
