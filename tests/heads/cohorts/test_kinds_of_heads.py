"""Heads of every kind are evaluated on what `predict` says of the same examples."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from embedstore.encoders import MeanEncoder, encode_slides
from embedstore.store import Label, Store
from heads.cohorts.evaluate_cohorts import evaluate_cohorts
from heads.config import EvaluateConfig, FitConfig, SplitConfig
from heads.fit import fit_heads
from heads.predict import predict
from tests.heads.scene import COLLECTION, make_store

pytestmark = pytest.mark.slow

FOLDS = SplitConfig(folds=3)
KINDS = {
    "mlp": ("tissue", FitConfig(bootstrap=0, model="mlp", steps=50, split=FOLDS)),
    "max": ("grade", FitConfig(bootstrap=0, c=(0.1,), model="max", level="slide", split=FOLDS)),
    "attention": ("grade", FitConfig(bootstrap=0, model="abmil", level="slide", steps=50, split=FOLDS)),
    "patients": ("grade", FitConfig(bootstrap=0, c=(0.1,), model="mean", level="patient", split=FOLDS)),
    "encoded": ("grade", FitConfig(bootstrap=0, c=(0.1,), encoder="mean", level="slide", split=FOLDS)),
    "several": ("several", FitConfig(bootstrap=0, c=(0.1,), multi_label=True, split=FOLDS)),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three classes of tiles; in the task `several`, tumour tiles are also 'dense', and stroma is of none."""
    made = make_store(tmp_path_factory.mktemp("kinds"), slides=18, classes=("normal", "stroma", "tumour"))
    tiles = list(Label.from_table(made.labels.of_task("tissue")))
    more = {"tumour": ("tumour", "dense"), "normal": ("normal",)}
    several = [
        replace(label, task="several", label=name, created_at=None)
        for label in tiles
        for name in more.get(label.label, ())
    ]
    made.labels.record(several)
    encode_slides(made, made.collection(COLLECTION), MeanEncoder(), name="mean")
    for name, (task, config) in KINDS.items():
        fit_heads(made, made.collection(COLLECTION), [task], config, names=[name], where="site != 'C'")
    return made


@pytest.mark.parametrize("name", KINDS)
def test_probabilities_are_those_that_predict_stores(store: Store, name: str):
    found = evaluate_cohorts(store, [name], EvaluateConfig(bootstrap=0), where="site = 'C'", predictions=True)
    (one,), rows = found.evaluations, found.predictions
    assert rows is not None and one.report is not None
    predict(store, name, where="site = 'C'")
    stored = store.predictions(name).table().to_pylist()
    columns = [f"p_{label}" for label in one.report.classes]
    key = "id" if one.level == "tile" else "slide_id" if one.level == "slide" else "patient"
    theirs = {row["tile_id" if one.level == "tile" else key]: [row[column] for column in columns] for row in stored}
    ours = {row[key]: [row[column] for column in columns] for row in rows.to_pylist()}
    assert len(ours) == one.examples
    np.testing.assert_allclose([ours[each] for each in ours], [theirs[each] for each in ours], atol=2e-6)


def test_several_classes_and_several_labels_are_measured_as_scikit_learn_does(store: Store):
    found = evaluate_cohorts(
        store, ["mlp", "several"], EvaluateConfig(bootstrap=0), where="site = 'C'", predictions=True
    )
    assert found.predictions is not None
    for one in found.evaluations:
        assert one.report is not None
        rows = [row for row in found.predictions.to_pylist() if row["head"] == one.head]
        truth = np.array([[name in row["label"].split("; ") for name in one.report.classes] for row in rows])
        probability = np.array([[row[f"p_{name}"] for name in one.report.classes] for row in rows])
        expected = sk.roc_auc_score(truth, probability, average="macro")
        assert one.report.metrics["auroc"].value == pytest.approx(expected, abs=1e-6)
        assert one.report.support == dict(zip(one.report.classes, truth.sum(axis=0).tolist(), strict=True))


def test_a_patient_with_slides_of_two_cohorts_is_left_out_of_both(store: Store, tmp_path: Path):
    other = make_store(tmp_path, slides=6, draw=7, prefix="two-", classes=("normal", "stroma", "tumour"))
    row = other.ledger.slide("two-s00.svs")
    assert row is not None
    other.ledger.record([replace(row, metadata={**row.metadata, "site": "B"})], [])
    on = (other, COLLECTION)
    found = evaluate_cohorts(store, ["patients"], EvaluateConfig(bootstrap=0, by="site"), on=on).evaluations
    assert [(each.cohort, each.examples) for each in found] == [("A", 0), ("B", 1), ("C", 1)]
    assert any("1 patient(s) with slides of several values of 'site' are left out" in note for note in found[1].notes)
