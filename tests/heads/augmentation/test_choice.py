"""The choice between none and other policies: kept where it helps, left where it hurts or where nobody can tell."""

import numpy as np
import pytest

from heads.augmentation.choice import choose_policy, squared_errors

NONE, VIEWS, BOTH = "none", "views=0.8", "views=0.8,learned=0.4"
PATIENTS, TILES = 40, 10


def errors(gain: float, *, of_patients: float = 0.0, of_tiles: float = 0.1, patients: int = PATIENTS, seed: int = 0):
    """Errors of tiles under none, and under a policy that gains so much, more or less by patient and by tile."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(patients), TILES)
    none = rng.gamma(2.0, 0.3, patients * TILES)
    by_patient = rng.normal(size=patients)[group] * of_patients
    return none, none - gain - by_patient - rng.normal(size=len(none)) * of_tiles, group


def chosen(gain: float, margin: float = 1.0, **made) -> str:
    none, views, group = errors(gain, **made)
    return choose_policy({NONE: none, VIEWS: views}, group, margin).chosen


@pytest.mark.parametrize(("gain", "kept"), [(0.05, VIEWS), (-0.05, NONE), (0.0, NONE)])
def test_what_helps_is_kept_and_what_hurts_or_does_nothing_is_not(gain: float, kept: str):
    assert chosen(gain, seed=1) == kept


def test_noise_is_seldom_taken_for_a_gain_and_harm_hardly_ever():
    draws = range(400)
    noise = np.mean([chosen(0.0, of_patients=0.2, seed=seed) == VIEWS for seed in draws])
    assert 0.10 < noise < 0.22  # 16 % where the difference is exactly nothing, and then nothing is lost
    harm = np.mean([chosen(-0.05, of_patients=0.2, seed=seed) == VIEWS for seed in draws])
    assert harm < 0.02
    assert np.mean([chosen(0.1, of_patients=0.2, seed=seed) == VIEWS for seed in draws]) > 0.95


def test_tiles_of_a_patient_say_the_same_again():
    """A gain in two of many patients is no gain, however many tiles they have."""
    none, _, group = errors(0.0)
    lucky = none - np.where(group < 2, 1.0, 0.0)
    by_patient = choose_policy({NONE: none, VIEWS: lucky}, group, 1.64)
    by_tile = choose_policy({NONE: none, VIEWS: lucky}, np.arange(len(group)), 1.64)
    assert (by_patient.chosen, by_tile.chosen) == (NONE, VIEWS)
    assert (by_patient.groups, by_tile.groups) == (PATIENTS, PATIENTS * TILES)


def test_of_several_that_help_the_best_is_kept_and_all_are_told():
    none, views, group = errors(0.05)
    choice = choose_policy({NONE: none, VIEWS: views, BOTH: views - 0.05}, group, 1.0)
    assert choice.chosen == BOTH and [one.policy for one in choice.tried] == [NONE, VIEWS, BOTH]
    scores = {one.policy: one for one in choice.tried}
    assert scores[NONE].gain == scores[NONE].error == 0
    assert scores[BOTH].gain == pytest.approx(scores[VIEWS].gain + 0.05)
    assert scores[VIEWS].brier == pytest.approx(views.mean())
    assert all(text in str(choice) for text in (BOTH, "40 groups", f"a gain of {scores[VIEWS].gain:.4f} ±"))


def test_one_patient_or_no_example_tells_nothing():
    none, views, group = errors(0.05, patients=1)
    assert choose_policy({NONE: none, VIEWS: views}, group, 1.0).chosen == NONE
    empty = np.zeros(0)
    choice = choose_policy({NONE: empty, VIEWS: empty}, np.zeros(0, int), 1.0)
    assert choice.chosen == NONE and "no validation example" in str(choice)


def test_an_example_has_the_brier_score_of_its_classes():
    probabilities, targets = np.array([[0.8, 0.2], [1.0, 0.0]]), np.array([[True, False], [False, True]])
    for multi_label in (False, True):
        np.testing.assert_allclose(squared_errors(probabilities, targets, multi_label), [0.04, 1.0])
    three = np.array([[0.5, 0.5, 0.0]]), np.array([[True, False, False]])
    np.testing.assert_allclose(squared_errors(*three, False), 0.25)
    np.testing.assert_allclose(squared_errors(*three, True), 0.5 / 3)
