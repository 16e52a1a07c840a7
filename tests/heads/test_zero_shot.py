"""Heads that are made of words: exact probabilities, ensembles of prompts, metrics, and what works as for any head."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from embedstore.api import Head as ApiHead
from embedstore.errors import ConfigError, ExtractorError, HeadExistsError, HeadMismatchError, LabelError
from embedstore.extractors import load_extractor
from embedstore.store import Collection, Label, Store
from heads.active import find_mistakes
from heads.cohorts.evaluate_cohorts import evaluate_cohorts
from heads.config import EvaluateConfig, MistakesConfig
from heads.fit import fit_again
from heads.head import Head
from heads.head_split import split_groups
from heads.predict import predict
from heads.prompts import ZeroShotConfig
from heads.record import HeadRecord
from heads.zero_shot import zero_shot
from tests.search.queries.query_scene import unit
from tests.two_towers import COLOURS, REF, SLIDES, colour_store

CLASSES = {"warm": ["red", "orange"], "cold": ["blue"], "leaf": "green"}
TILES = [(slide, x * 512, colour) for slide, colours in SLIDES.items() for x, colour in enumerate(colours)]


@pytest.fixture
def scene(tmp_path: Path) -> tuple[Store, Collection]:
    return colour_store(tmp_path)


def make(scene: tuple[Store, Collection], task: str = "colour", **settings):
    config = ZeroShotConfig(**{"classes": CLASSES, "bootstrap": 0, **settings})
    return zero_shot(*scene, task, config, tower=load_extractor(REF).text_tower, replace=True)


def direction(*colours: str) -> np.ndarray:
    return unit(unit(np.array([COLOURS[colour] for colour in colours]) / 127.5 - 1).mean(axis=0))


def label(store: Store, task: str, of: dict[str, str]) -> None:
    store.labels.record(
        [
            Label(task=task, label=of[colour], slide_id=slide, kind="point", x=x + 5, y=5, author="ann")
            for slide, x, colour in TILES
            if colour in of
        ]
    )


def test_probabilities_are_the_softmax_of_scaled_cosines(scene):
    stored = make(scene)
    predicted = predict(scene[0], stored.name)
    rows = scene[0].predictions("colour-zero-shot").table().to_pylist()
    at = {(row["slide_id"], row["x"]): row for row in rows}
    words = np.stack([direction("red", "orange"), direction("blue"), direction("green")])
    for slide, x, colour in TILES:
        expected = softmax(10.0 * words @ direction(colour))
        row = at[slide, x]
        assert [row["p_warm"], row["p_cold"], row["p_leaf"]] == pytest.approx(expected.tolist(), abs=1e-4)
        if colour not in ("white", "black"):  # two classes are as near
            assert row["label"] == list(CLASSES)[expected.argmax()]
    assert predicted.rows == len(TILES) and predicted.shares["warm"] > 0.3


def test_two_classes_are_the_softmax_of_both(scene):
    head = Head.from_stored(make(scene, classes={"cold": "blue", "warm": "red"}, logit_scale=3.0))
    assert (head.positive, head.thresholds.tolist(), head.level) == ("warm", [0.5, 0.5], "tile")
    tile = np.array(COLOURS["orange"], np.float16)[None] / 127.5 - 1
    words = np.stack([direction("blue"), direction("red")])
    np.testing.assert_allclose(head.probabilities(tile)[0], softmax(3.0 * words @ direction("orange")), atol=1e-3)
    assert head.decide(head.probabilities(tile)).tolist() == [[False, True]]


def test_prompts_stand_in_every_template(scene):
    config = ZeroShotConfig(classes=CLASSES, templates=("a {} tile", "{} blue"))
    assert config.texts("warm") == ("a red tile", "red blue", "a orange tile", "orange blue")
    record = HeadRecord.from_record(make(scene, templates=("a {} tile", "x {}")).record)
    assert record.words is not None and record.words.classes["warm"] == ("red", "orange")
    assert (record.words.text_digest, record.words.logit_scale) == ("sha256:words", 10.0)
    assert HeadRecord.from_record(record.as_record()).words == record.words


def test_it_is_measured_on_the_labels_of_its_task(scene):
    store, _ = scene
    label(store, "colour", {"red": "warm", "orange": "warm", "blue": "cold", "green": "leaf", "white": "paper"})
    head = ApiHead(store, make(scene))
    assert head.report.rows == 7 and head.metrics["accuracy"].value == 1.0
    assert head.report.support == {"warm": 3, "cold": 2, "leaf": 2}
    assert "labels of paper are left out: no class has that name" in head.record.notes
    assert head.record.examples == 7 and head.record.fold_counts[0].test.rows == 7
    wrong = make(scene, classes={"warm": "blue", "cold": "red", "leaf": "green"})
    found = find_mistakes(store, wrong, MistakesConfig()).table
    assert sorted(found["label"].to_pylist()) == ["cold"] * 2 + ["warm"] * 3
    assert set(found["part"].to_pylist()) == {"test"}


@pytest.mark.parametrize(("of", "said"), [({}, "has no labels"), ({"red": "scarlet"}, "fewer than two of the classes")])
def test_without_labels_it_has_no_metrics(scene, of, said):
    label(scene[0], "colour", of)
    head = ApiHead(scene[0], make(scene))
    assert not head.metrics and head.report.rows == 0 and said in head.record.notes[0]
    assert "no metric" in repr(head) and "0 test examples" in head._repr_html_()
    with pytest.raises(LabelError, match="measured on no labelled tile, so it has no curves"):
        head.plot()
    assert head.classes == ("warm", "cold", "leaf")


def test_it_is_evaluated_as_any_head_and_says_which_classes_it_does_not_know(scene):
    store, _ = scene
    label(store, "colour", {"red": "warm", "orange": "warm", "blue": "cold", "green": "leaf", "white": "paper"})
    label(store, "mood", {"red": "hot", "blue": "wet"})
    name, config = make(scene).name, EvaluateConfig(bootstrap=0)
    (one,) = evaluate_cohorts(store, [name], config).evaluations
    assert one.report is not None and one.report.metrics["accuracy"].value == 1.0 and one.examples == 7
    assert "labels of class paper do not count: the head knows warm, cold and leaf alone" in one.all_notes
    with pytest.raises(LabelError, match=r"'hot' and 'wet', which head .* does not know.*--class-map hot=CLASS"):
        evaluate_cohorts(store, [name], replace(config, task="mood"))
    with pytest.raises(LabelError, match="all of them are left out"):
        evaluate_cohorts(store, [name], replace(config, task="mood", leave_out=("hot", "wet")))
    renamed = replace(config, task="mood", class_map={"hot": "warm", "wet": "cold"})
    (mood,) = evaluate_cohorts(store, [name], renamed).evaluations
    assert mood.report is not None and mood.report.support == {"warm": 2, "cold": 2, "leaf": 0}


def test_it_is_made_and_not_fitted(scene):
    stored = make(scene)
    with pytest.raises(ConfigError, match="was made of words and not fitted; `embedstore zero-shot --replace`"):
        fit_again(scene[0], stored.name)
    with pytest.raises(HeadMismatchError, match="no split that could leak"):
        split_groups(scene[0], stored)
    with pytest.raises(HeadExistsError):
        zero_shot(*scene, "colour", ZeroShotConfig(classes=CLASSES), tower=load_extractor(REF).text_tower)
    assert make(scene).digest == stored.digest != make(scene, classes={**CLASSES, "leaf": "white"}).digest


def test_a_tower_without_a_scale_must_be_told(scene, monkeypatch):
    tower = load_extractor(REF).text_tower
    monkeypatch.setattr(tower, "logit_scale", None)
    with pytest.raises(ConfigError, match="pass --logit-scale"):
        zero_shot(*scene, "colour", ZeroShotConfig(classes=CLASSES), tower=tower)
    assert not scene[0].heads.names()


def test_a_function_must_be_trusted(scene):
    with pytest.raises(ExtractorError, match="--trust-extractor"):
        zero_shot(*scene, "colour", ZeroShotConfig(classes=CLASSES))
