"""Scores, ranks and doubts against scikit-learn and planted truths."""

import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from heads.evaluation.bootstrap import resample
from heads.select import SelectConfig
from heads.select.candidate_scores import auroc, rank_agreement, score_candidates
from heads.select.probes import run_probes
from heads.select.robustness import consistency, site_index
from tests.heads.select.task_samples import sample, vectors_of

pytestmark = pytest.mark.slow

CONFIG = SelectConfig(neighbours=5, shots=(1,), draws=3, c=(1e-2,), bootstrap=300)


@pytest.fixture(scope="module")
def compared():
    examples = sample(400, patients=30)
    signals = {"strong": 2.5, "twin": 2.5, "weak": 0.8, "none": 0.0}
    outcomes = {
        name: run_probes(vectors_of(examples, signal=signal, seed=seed), examples, CONFIG)
        for seed, (name, signal) in enumerate(signals.items())
    }
    return examples, outcomes, score_candidates(outcomes, examples, resamples=300, seed=0)


def test_scores_are_balanced_accuracy_resampled_by_patient(compared):
    examples, outcomes, scores = compared
    truth = examples.targets[0].argmax(axis=1)
    right = outcomes["weak"]["knn"].correct
    said = np.where(right == 1, truth, 1 - truth)
    assert scores.values["weak", "knn"] == pytest.approx(balanced_accuracy_score(truth, said))
    counts = np.concatenate(list(resample(30, resamples=300, seed=0)))
    by_hand = [balanced_accuracy_score(truth, said, sample_weight=row[examples.group]) for row in counts[:20]]
    np.testing.assert_allclose(scores.samples["weak", "knn"][:20], by_hand)


def test_the_area_is_that_of_scikit_learn(compared):
    examples, outcomes, _ = compared
    found = auroc(outcomes["weak"]["linear"], examples, resamples=50, seed=0)
    expected = roc_auc_score(examples.targets[0][:, 1], outcomes["weak"]["linear"].probability[:, 1])
    assert found.value == pytest.approx(expected, abs=1e-3)
    assert found.low < found.value < found.high


def test_a_better_candidate_wins_and_twins_are_not_told_apart(compared):
    _, _, scores = compared
    names = ["none", "weak", "twin", "strong"]
    ranked = scores.ranked(names, "linear")
    assert set(ranked[:2]) == {"strong", "twin"} and ranked[2:] == ["weak", "none"]
    assert scores.difference("strong", "weak", "linear").low > 0
    twins = scores.difference("strong", "twin", "linear")
    assert twins.low < 0 < twins.high
    shares = scores.first_shares(names, "linear")
    assert sum(shares.values()) == pytest.approx(1) and shares["none"] == 0
    assert min(shares["strong"], shares["twin"]) > 0


def test_agreement_is_kendalls_tau_resampled_by_patients_of_both(compared):
    examples, outcomes, scores = compared
    names = ["none", "weak", "twin", "strong"]
    swapped = {"none": "strong", "weak": "twin", "twin": "none", "strong": "weak"}
    other = score_candidates({name: outcomes[swapped[name]] for name in names}, examples, resamples=300, seed=1)
    found = rank_agreement(scores, other, names, "linear")
    both = [[each.values[name, "linear"] for name in names] for each in (scores, other)]
    by_hand = kendalltau(*both)
    assert (found.tau, found.p) == pytest.approx((by_hand.statistic, by_hand.pvalue)) and found.tau < 0
    drawn = [[each.samples[name, "linear"] for name in names] for each in (scores, other)]
    by_hand = [kendalltau(*pair).statistic for pair in zip(*np.transpose(drawn, (0, 2, 1)), strict=True)]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(by_hand, (2.5, 97.5))))
    assert rank_agreement(scores, other, names[:1], "linear").tau is None


def brute_site_index(x, classes, site, group, k):
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    so = os = 0
    for i in range(len(x)):
        others = [j for j in range(len(x)) if group[j] != group[i]]
        near = sorted(others, key=lambda j: -float(unit[i] @ unit[j]))[:k]
        so += sum(classes[j] == classes[i] and site[j] != site[i] for j in near)
        os += sum(classes[j] != classes[i] and site[j] == site[i] for j in near)
    return so / (so + os)


@pytest.mark.parametrize("by_site", [False, True])
def test_the_site_index_by_brute_force_is_low_where_vectors_follow_sites(by_site: bool):
    rng = np.random.default_rng(1)
    classes, group = rng.integers(2, size=120), np.arange(120) % 24
    site = group % 3
    follow = np.eye(3)[site] if by_site else np.eye(3)[classes]
    x = (np.concatenate([3 * follow, np.ones((120, 1))], axis=1) + rng.normal(size=(120, 4))).astype(np.float16)
    found, note = site_index(x, classes, site, group, neighbours=6, resamples=200, seed=0)
    everyone = brute_site_index(x.astype(np.float64), classes, site, group, len(x) - 1)
    assert note == f"robustness index: neighbours at random would give {everyone:.2f}"
    assert found.value == pytest.approx(brute_site_index(x.astype(np.float64), classes, site, group, 6))
    assert (found.high < 0.5) if by_site else (found.low > 0.5)


def test_sites_that_cannot_be_told_from_classes_have_no_index():
    x, group = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float16), np.arange(20)
    classes = np.arange(20) % 2
    assert "1 site(s)" in site_index(x, classes, np.zeros(20, int), group, neighbours=3, resamples=0, seed=0)[1]
    found, note = site_index(x, classes, classes, group, neighbours=3, resamples=0, seed=0)
    assert found is None and "one class alone" in note


def test_consistency_is_one_unmoved_zero_at_random_and_blind_to_a_narrow_cone():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, 32))
    rows, group = np.arange(0, 200, 4), np.arange(200) % 40
    moved = x[rows] + 0.5 * rng.normal(size=(50, 32))
    other = x[(rows + 2) % 200]
    changes = {"same": x[rows], "moved": moved, "other": other}
    found = consistency(x, changes, rows, group, resamples=100, seed=0)
    assert found["same"].value == pytest.approx(1) and found["same_found"].value == 1
    assert abs(found["other"].value) < 0.1 and found["other_found"].value == 0
    assert 0.8 < found["moved"].value < 0.95 and found["moved"].low < found["moved"].value < found["moved"].high
    assert found["moved_found"].value == 1
    cone = {name: of + 5 for name, of in changes.items()}
    narrow = consistency(x + 5, cone, rows, group, resamples=0, seed=0)
    assert abs(narrow["other"].value) < 0.15  # the raw cosine is above 0.95
    assert narrow["same"].low is None
