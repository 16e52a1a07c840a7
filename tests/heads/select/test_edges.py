"""What must not mislead: classes that are not tested, patients that are not, extractors that say nothing."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from embedstore.errors import LabelError, SplitError
from heads.select import SelectConfig, sample_rows
from heads.select.candidate_scores import CandidateScores, auroc, score_candidates
from heads.select.probes import ProbeResult, run_probes
from heads.select.robustness import consistency, site_index
from heads.splitting.splits import TEST, VALID, Split
from tests.heads.select.task_samples import examples_of, sample, vectors_of

pytestmark = pytest.mark.slow


def outcome_of(examples, *, tested, seed: int = 0) -> ProbeResult:
    correct = np.random.default_rng(seed).random(len(examples)) < 0.7
    truth = np.where(tested, examples.targets[0].argmax(axis=1), -1)
    return ProbeResult(probe="knn", truth=truth, correct=np.where(tested, correct, 0.0))


def test_resamples_without_a_class_say_nothing_of_who_is_first():
    samples = {("a", "knn"): np.array([0.9, np.nan, 0.8, np.nan]), ("b", "knn"): np.array([0.5, np.nan, 0.8, np.nan])}
    scores = CandidateScores(values={("a", "knn"): 0.9, ("b", "knn"): 0.5}, samples=samples, without={}, patients=9)
    assert scores.first_shares(["a", "b"], "knn") == {"a": 0.75, "b": 0.25}
    empty = {key: np.full(3, np.nan) for key in samples}
    assert replace(scores, samples=empty).first_shares(["a", "b"], "knn") == {}


def test_a_class_that_is_not_tested_does_not_undo_the_score():
    examples = sample(300, classes=3)
    truth = examples.targets[0].argmax(axis=1)
    outcome = outcome_of(examples, tested=truth != 2)
    found = score_candidates({"a": {"knn": outcome}}, examples, resamples=50, seed=0).metric("a", "knn")
    assert found.value == pytest.approx(np.mean([outcome.correct[truth == c].mean() for c in (0, 1)]))
    assert found.low is not None and found.low < found.value


def test_only_patients_that_are_tested_are_resampled():
    examples = sample(300)
    tested = examples.group < 6
    rows = np.flatnonzero(tested)
    outcome = outcome_of(examples, tested=tested)
    part = ProbeResult(probe="knn", truth=outcome.truth[rows], correct=outcome.correct[rows])
    whole, alone = (
        score_candidates({"a": {"knn": each}}, of, resamples=200, seed=0).metric("a", "knn")
        for each, of in ((outcome, examples), (part, examples.take(rows)))
    )
    assert whole == alone


def test_the_area_is_right_where_probabilities_are_near_one():
    examples = sample(300)
    truth = examples.targets[0][:, 1]
    logits = np.random.default_rng(0).normal(size=300) * 3 + 22 + 3 * truth
    outcome = replace(
        outcome_of(examples, tested=np.ones(300, bool)), probability=np.stack([expit(-logits), expit(logits)], axis=1)
    )
    assert auroc(outcome, examples, resamples=0, seed=0).value == pytest.approx(roc_auc_score(truth, logits), abs=1e-6)


def test_an_extractor_that_says_the_same_of_all_tiles_is_not_robust():
    vectors = np.tile(np.random.default_rng(0).normal(size=64), (100, 1)).astype(np.float16)
    rows, group = np.arange(0, 100, 5), np.arange(100) % 10
    found = consistency(vectors, {"stain": vectors[rows]}, rows, group, resamples=20, seed=0)
    assert found["stain"].value is None and found["stain_found"].value == 0


def test_tiles_of_several_classes_are_refused():
    examples = sample(100)
    several = examples.targets[0].copy()
    several[:7] = True
    with pytest.raises(LabelError, match="7 of 100 tiles are of several classes"):
        sample_rows(replace(examples, targets=(several,)), 50, seed=0)


@pytest.mark.parametrize(("part", "name"), [(TEST, "test"), (VALID, "valid")])
def test_a_part_without_a_tile_is_named(part: int, name: str):
    examples = sample(120)
    parts = examples.split.parts.copy()
    parts[1][parts[1] == part] = -1
    lacking = replace(examples, split=Split(parts=parts, names=examples.split.names))
    with pytest.raises(SplitError, match=f"the {name} part of fold 2/3"):
        run_probes(vectors_of(examples, signal=1), lacking, SelectConfig(shots=()))


def test_a_class_that_no_tile_is_of_costs_no_probe():
    examples = examples_of(np.arange(120) % 2 * 2, np.arange(120) // 2 % 12, names=("a", "nowhere", "b"))
    taken = examples.take(sample_rows(examples, 100, seed=0))
    assert taken.classes == (("a", "b"),) and taken.targets[0].sum(axis=0).tolist() == [50, 50]
    config = SelectConfig(shots=(5,), draws=2, c=(0.1,), bootstrap=0)
    found = run_probes(vectors_of(taken, signal=4), taken, config)
    assert found["5-shot"].correct.mean() > 0.9 and found["linear"].probability.shape == (100, 2)


def test_tiles_of_no_part_are_not_sampled():
    examples = sample(300)
    parts = examples.split.parts.copy()
    parts[:, examples.group < 15] = -1
    given = replace(examples, split=Split(parts=parts, names=examples.split.names))
    rows = sample_rows(given, 60, seed=0)
    assert len(rows) >= 60 and (examples.group[rows] >= 15).all()


def test_the_site_index_looks_at_tiles_that_could_count_either_way():
    rng = np.random.default_rng(0)
    classes = np.array([0, 1, 0, 1, 2, 3]).repeat(20)  # class 2 is at site 1 alone, class 3 is all that site 2 has
    site = np.array([0, 0, 1, 1, 1, 2]).repeat(20)
    x, group = rng.normal(size=(120, 8)).astype(np.float16), np.arange(120)
    asked = {"neighbours": 9, "resamples": 50, "seed": 0}
    found, note = site_index(x, classes, site, group, **asked)
    alone, _ = site_index(x[:80], classes[:80], site[:80], group[:80], **asked)
    assert found == alone and "40 tiles are left out" in note
    differ = np.array([0, 1, 2, 3]).repeat(20)  # two classes a site, none of them at both: 0 whatever the vectors
    none, note = site_index(x[:80], differ, differ // 2, group[:80], **asked)
    assert none is None and "each class tiles of one site" in note
