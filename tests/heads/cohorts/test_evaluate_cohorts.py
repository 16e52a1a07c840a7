"""Heads on slides that they were not fitted on: metrics against scikit-learn, what is left out, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from embedstore.errors import ConfigError, HeadMismatchError, LabelError, TaskNotFoundError
from heads.cohorts import example_probabilities as example_probabilities_module
from heads.cohorts.evaluate_cohorts import evaluate_cohorts
from heads.cohorts.evaluation import CohortEvaluation
from heads.config import EvaluateConfig
from tests.heads.cohorts.conftest import Hospitals
from tests.heads.scene import COLLECTION, make_store

pytestmark = pytest.mark.slow


def evaluated(hospitals: Hospitals, *names: str, there: bool = False, where: str | None = None, **settings: object):
    on = (hospitals.there, COLLECTION) if there else None
    config = EvaluateConfig(**{"bootstrap": 100, **settings})  # type: ignore[arg-type]
    return evaluate_cohorts(hospitals.here, names, config, on=on, where=where, predictions=True)


def test_metrics_are_those_of_scikit_learn(hospitals: Hospitals):
    found = evaluated(hospitals, "tile", there=True)
    (one,), rows = found.evaluations, found.predictions
    assert rows is not None and one.report is not None
    truth, decided = (np.array(rows[name].to_pylist()) == "tumour" for name in ("label", "predicted"))
    probability = rows["p_tumour"].to_numpy()
    assert one.examples == len(truth) == 480
    expected = {
        "auroc": sk.roc_auc_score(truth, probability),
        "auprc": sk.average_precision_score(truth, probability),
        "f1": sk.f1_score(truth, decided),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, decided),
        "brier": sk.brier_score_loss(truth, probability),
    }
    assert {name: one.report.metrics[name].value for name in expected} == pytest.approx(expected, abs=1e-6)
    assert (decided == (probability >= np.float32(one.thresholds["tumour"]))).all()
    assert one.patients == 6 and one.seen.examples == 0


def test_the_test_part_of_a_head_gives_the_figures_of_its_card(hospitals: Hospitals):
    (one,) = evaluated(hospitals, "holdout", where="site != 'C'", bootstrap=0).evaluations
    assert one.report is not None
    assert one.report.rows == one.own.rows
    assert (one.report.confusion == one.own.confusion).all()
    assert all(
        each.difference is None or each.difference.value == pytest.approx(0, abs=1e-6) for each in one.comparison
    )
    assert any("own test parts" in note for note in one.notes)


def test_patients_that_a_head_was_fitted_on_are_left_out(hospitals: Hospitals):
    (one,) = evaluated(hospitals, "tile", bootstrap=0).evaluations
    labels = hospitals.here.labels.of_task("tissue")
    patients = hospitals.here.ledger.patients()
    fitted = {patient for slide, patient in patients.items() if slide is not None and patient is not None} - {
        patients[row["slide_id"]]
        for row in evaluated(hospitals, "tile", where="site = 'C'").predictions.to_pylist()  # type: ignore[union-attr]
    }
    assert (one.patients, one.seen.patients) == (3, len(fitted)) == (3, 6)
    assert one.examples + one.seen.examples == labels.num_rows
    with pytest.raises(LabelError, match=r"all of its 240 labelled tiles are of patients or slides that the head was"):
        evaluated(hospitals, "tile", where="site = 'A'")
    (kept,) = evaluated(hospitals, "tile", where="site = 'A'", keep_seen=True, bootstrap=0).evaluations
    assert kept.examples == kept.seen.examples == 240
    assert "FITTED ON" in kept.notes[0]


def test_slides_and_patients_of_the_same_names_in_another_store_are_left_out(hospitals: Hospitals, tmp_path: Path):
    again = make_store(tmp_path, slides=6, draw=3)  # named as the first six of the head's own store
    config = EvaluateConfig(bootstrap=0)
    (one,) = evaluate_cohorts(hospitals.here, ["mean"], config, on=(again, COLLECTION)).evaluations
    assert (one.examples, one.seen.examples) == (2, 4)


def test_cohorts_are_the_whole_in_parts_and_vectors_are_read_once(
    hospitals: Hospitals, monkeypatch: pytest.MonkeyPatch
):
    reads = []
    blocks = example_probabilities_module.finite_blocks
    monkeypatch.setattr(
        example_probabilities_module, "finite_blocks", lambda *args: reads.append(1) or blocks(*args)
    )  # fmt: skip
    found = evaluated(hospitals, "tile", "mean", there=True, by="site", bootstrap=0)
    assert reads == [1]
    assert [(each.head, each.cohort) for each in found.evaluations] == [
        (head, site) for head in ("tile", "mean") for site in "ABC"
    ]
    (whole,) = evaluated(hospitals, "tile", there=True, bootstrap=0).evaluations
    parts = [each.report for each in found.evaluations if each.head == "tile" and each.report]
    assert whole.report is not None
    assert (sum(part.confusion for part in parts) == whole.report.confusion).all()
    assert sum(part.groups for part in parts) == whole.report.groups


def test_a_shift_of_all_vectors_leaves_the_ranking_and_spoils_the_probabilities(hospitals: Hospitals, tmp_path: Path):
    moved = make_store(tmp_path, slides=24, draw=2, prefix="moved-", shift=0.5)
    (one,) = evaluate_cohorts(hospitals.here, ["tile"], EvaluateConfig(), on=(moved, COLLECTION)).evaluations
    by_name = {each.name: each for each in one.comparison}
    assert by_name["auroc"].meaning == "alike"
    assert by_name["brier"].meaning == "worse"
    assert by_name["calibration_error"].difference.value > 0.1  # type: ignore[union-attr,operator]
    assert one.verdict.startswith("ranks as well as on its own test parts")
    (tumour,) = one.calibration
    assert tumour.mean_probability > tumour.frequency + 0.1


def test_a_class_of_another_name_is_renamed_or_left_out_or_an_error(hospitals: Hospitals, tmp_path: Path):
    other = make_store(tmp_path, slides=4, draw=4, prefix="x-", classes=("normal", "necrosis", "tumor"))
    with pytest.raises(
        LabelError, match=r"'necrosis' and 'tumor', which head 'tile' does not know.*--class-map necrosis=CLASS"
    ):
        evaluate_cohorts(hospitals.here, ["tile"], EvaluateConfig(), on=(other, COLLECTION))
    config = EvaluateConfig(class_map={"tumor": "tumour"}, leave_out=("necrosis",), bootstrap=0)
    (one,) = evaluate_cohorts(hospitals.here, ["tile"], config, on=(other, COLLECTION)).evaluations
    assert one.report is not None
    assert one.class_map == {"tumor": "tumour"} and one.left_out == ("necrosis",)
    labels = other.labels.of_task("tissue")["label"].to_pylist()
    assert one.report.support == {"normal": labels.count("normal"), "tumour": labels.count("tumor")}
    with pytest.raises(ConfigError, match=r"no label of class 'tumr'.*did you mean tumor"):
        evaluate_cohorts(hospitals.here, ["tile"], EvaluateConfig(leave_out=("tumr",)), on=(other, COLLECTION))


def test_a_cohort_of_one_class_says_what_is_undefined(hospitals: Hospitals):
    (one,) = evaluated(hospitals, "tile", there=True, leave_out=("normal",)).evaluations
    assert one.report is not None and one.report.metrics["auroc"].value is None
    assert "every tested row is of class 'tumour': AUROC is undefined" in one.all_notes
    record = json.loads(json.dumps(one.as_record(), allow_nan=False))
    assert CohortEvaluation.from_record(record).as_record() == one.as_record()


def test_vectors_of_another_extractor_are_refused_unless_they_are_said_to_be_the_same(
    hospitals: Hospitals, tmp_path: Path
):
    other = make_store(tmp_path, slides=4, draw=5, prefix="y-", digest="sha256:other")
    with pytest.raises(HeadMismatchError, match=r"sha256:other.*--same-extractor"):
        evaluate_cohorts(hospitals.here, ["tile"], EvaluateConfig(), on=(other, COLLECTION))
    config = EvaluateConfig(same_extractor=True, bootstrap=0)
    (one,) = evaluate_cohorts(hospitals.here, ["tile"], config, on=(other, COLLECTION)).evaluations
    assert one.same_extractor is not None and one.same_extractor.digest == "sha256:other"
    assert any("sha256:other" in note for note in one.notes)


def test_of_several_heads_one_without_labels_gets_a_reason(hospitals: Hospitals, tmp_path: Path):
    other = make_store(tmp_path, slides=6, draw=6, prefix="z-")
    other.labels.remove("grade")
    config = EvaluateConfig(bootstrap=0)
    tile, mean = evaluate_cohorts(hospitals.here, ["tile", "mean"], config, on=(other, COLLECTION)).evaluations
    assert tile.report is not None and mean.report is None
    assert "no label of task 'grade'" in (mean.reason or "")
    with pytest.raises(TaskNotFoundError):
        evaluate_cohorts(hospitals.here, ["mean"], config, on=(other, COLLECTION))


def test_a_column_that_is_not_there_and_one_of_too_many_values(hospitals: Hospitals, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match=r"no column 'sites'.*did you mean site"):
        evaluated(hospitals, "tile", by="sites")
    monkeypatch.setattr("heads.cohorts.cohort_examples.MOST_COHORTS", 5)
    with pytest.raises(ConfigError, match=r"18 values of 'slide_id'"):
        evaluated(hospitals, "tile", by="slide_id")
