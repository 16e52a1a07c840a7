"""Heads from a store: fitted, saved, fitted again, predicted with; every refusal leaves the store as it was."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from embedstore.config import as_record
from embedstore.errors import (
    ConfigError,
    HeadExistsError,
    HeadMismatchError,
    HeadNotFoundError,
    LabelError,
    PredictionsNotFoundError,
    SlideNotInStoreError,
    SplitError,
    TaskNotFoundError,
    VectorError,
)
from embedstore.export import export_scope, slide_scores
from embedstore.search.filters import filter_columns, select_tiles
from embedstore.store import Collection, Label, Store
from embedstore.store.compaction import compact
from embedstore.store.removal import remove_slides
from heads.cohorts.seen import Seen
from heads.config import AugmentConfig, FitConfig, SplitConfig
from heads.fit import fit_again, fit_heads
from heads.head import Head
from heads.head_split import slide_split
from heads.predict import predict
from heads.stored_examples import StoredExamples
from tests.collection_records import collection_record
from tests.heads.scene import COLLECTION, DIM, make_store

pytestmark = pytest.mark.slow
SPLIT = SplitConfig(folds=3)
QUICK = {"split": SPLIT, "bootstrap": 50, "steps": 100}


def fit(store: Store, task: str = "tissue", **options):
    config = FitConfig(**(QUICK | options))
    return fit_heads(store, store.collection(COLLECTION), [task], config, replace_heads=True, names=["a-head"])[0]


def value(head, metric: str) -> float:
    return head.record["report"]["metrics"][metric]["value"]


@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_tile_heads_find_the_signal(fitted_store: Store, model: str):
    head = fit(fitted_store, model=model, steps=300)
    assert value(head, "auroc") > 0.9
    low, high = (head.record["report"]["metrics"]["auroc"][end] for end in ("low", "high"))
    assert low <= value(head, "auroc") <= high
    assert head.record["groups"] == 6


@pytest.mark.parametrize(
    ("model", "level"), [("mean", "slide"), ("max", "slide"), ("abmil", "slide"), ("abmil", "patient")]
)
def test_bag_heads_find_the_signal(tmp_path: Path, model: str, level: str):
    store = make_store(tmp_path, slides=36, tiles=60, signal=3.0)
    head = fit(store, "grade", model=model, level=level, split=SplitConfig(folds=4), steps=150, evaluate_every=10)
    assert value(head, "auroc") > (0.8 if model != "max" else 0.4)  # both kinds hold both classes: a maximum sees less
    assert fit_again(store, "a-head")[1].digest == head.digest
    done = predict(store, "a-head")
    assert (done.rows, done.slides) == (36, 36)
    if model == "abmil":
        attention = store.predictions("a-head", "attention").table()
        assert attention.num_rows == 36 * 60
        of_slide = attention.group_by("slide_id").aggregate([("attention", "sum")]).to_pandas()
        bag = of_slide["slide_id"].map(lambda slide: slide if level == "slide" else int(slide[1:3]) // 2)
        np.testing.assert_allclose(of_slide["attention_sum"].groupby(bag).sum(), 1, rtol=1e-4)  # a bag is a patient


def test_a_head_for_patients_whom_labels_name_looks_at_their_slides_together(tmp_path: Path):
    store = make_store(tmp_path, slides=24, tiles=6, patients=False)
    slides = sorted(store.collection().slides())
    store.labels.record(
        Label(task="named", label="xy"[i // 2 % 2], kind="slide", slide_id=s, patient=f"Q{i // 2}", author="me")
        for i, s in enumerate(slides)
    )
    head = fit(store, "named", model="mean", level="patient", c=(10.0,))
    assert (head.record["examples"], head.record["tiles"]) == (12, 144)
    assert fit_again(store, "a-head")[1].digest == head.digest
    predict(store, "a-head")
    rows = store.predictions("a-head").table().sort_by("slide_id").to_pylist()
    assert [row["patient"] for row in rows] == [f"Q{i // 2}" for i in range(24)]
    assert [row["p_x"] for row in rows[::2]] == [row["p_x"] for row in rows[1::2]]
    assert len({row["p_x"] for row in rows}) == 12
    assert set(slide_split(store, store.heads.get("a-head")).parts) == set(slides)
    seen = Seen.of(store, store.heads.get("a-head"))
    assert (seen.lost, seen.slides) == (0, frozenset(slides))


def test_bags_of_a_rare_class_are_drawn_as_often_where_that_is_asked_for(tmp_path: Path, monkeypatch):
    from heads.training import abmil

    store = make_store(tmp_path, slides=24, tiles=4)
    rare = {f"s{i:02}.svs" for i in range(0, 24, 8)}
    store.labels.record(
        Label(task="few", label="rare" if s in rare else "common", kind="slide", slide_id=s, author="me")
        for s in store.collection().slides()
    )
    drawn, batches = [], abmil.bag_batches

    def watched(vectors, bags, chosen, **options):
        drawn.extend(chosen.tolist() if options.get("rng") is not None else [])
        return batches(vectors, bags, chosen, **options)

    monkeypatch.setattr(abmil, "bag_batches", watched)
    head = fit(store, "few", model="abmil", level="slide", balanced_sampling=True, steps=200, evaluate_every=100)
    examples = StoredExamples.from_bytes(head.examples)
    of_rare = examples.targets[0][drawn, head.record["classes"].index("rare")]
    assert of_rare.mean() == pytest.approx(0.5, abs=0.1)
    assert fit_again(store, "a-head")[1].digest == head.digest


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model": "mlp", "seeds": 2},
        {"optimizer": "adamw", "augment": (AugmentConfig(noise=0.2, mixup=0.3, interpolate=0.3),)},
        {"multi_label": True, "balanced_sampling": True, "focal": 2.0},
    ],
)
def test_fitting_again_from_the_record_gives_the_same_parameters(fitted_store: Store, options: dict):
    stored = fit(fitted_store, **options)
    fitted_store.labels.record([Label(task="tissue", label="normal", kind="slide", slide_id="s00.svs", author="late")])
    again = fit_again(fitted_store, "a-head")[1]  # labels that came later change nothing
    assert again.digest == stored.digest == fitted_store.heads.get("a-head").digest
    assert Head.from_stored(fitted_store.heads.get("a-head")).digest == stored.digest


def test_a_head_fitted_on_tiles_that_went_says_so(tmp_path: Path):
    store = make_store(tmp_path)
    fit(store)
    remove_slides(store, ["s03.svs"])
    with pytest.raises(HeadMismatchError, match=r"480 tiles .* 40 are no longer there"):
        fit_again(store, "a-head")


def test_nothing_of_a_removed_patient_stays_in_a_head(tmp_path: Path):
    store = make_store(tmp_path)
    fit(store)
    predict(store, "a-head")
    remove_slides(store, ["s04.svs", "s05.svs"])
    compact(store, keep_s=0)
    traces = [p for p in Path(store.uri).rglob("*") if p.is_file() and b"s04.svs" in p.read_bytes()]
    assert [str(p.relative_to(store.uri)) for p in traces] == []


def test_several_tasks_share_one_pass_and_keep_their_own_heads(fitted_store: Store):
    config = FitConfig(**QUICK)
    pair = fit_heads(
        fitted_store, fitted_store.collection(), ["tissue", "grade"], config, names=["t", "g"], replace_heads=True
    )
    assert [head.record["classes"] for head in pair] == [["normal", "tumour"], ["high", "low"]]
    alone = fit_heads(fitted_store, fitted_store.collection(), ["tissue"], config, names=["t2"], replace_heads=True)[0]
    assert value(pair[0], "auroc") == pytest.approx(value(alone, "auroc"), abs=0.01)
    assert fit_again(fitted_store, "g")[1].digest == pair[1].digest


def test_a_head_tells_how_many_examples_of_its_own_task_it_was_fitted_on(tmp_path: Path):
    store = make_store(tmp_path)
    few = [
        replace(label, task="few", label="ab"[i // 3 % 2])
        for i, label in enumerate(Label.from_table(store.labels.table(task="tissue"))[::20])
        if label.slide_id != "s00.svs"
    ]
    store.labels.record(few)
    heads = fit_heads(store, store.collection(), ["tissue", "few"], FitConfig(**QUICK), names=["t", "f"])
    for head, expected, patients in zip(heads, (480, len(few)), (6, 6), strict=True):
        record = head.record
        assert (record["examples"], record["tiles"], record["groups"]) == (expected, expected, patients)
        for fold in record["split"]["counts"]:
            parts = [fold[part] for part in ("train", "valid", "test")]
            assert sum(part["rows"] for part in parts) == expected
            assert all(part["rows"] == sum(part["classes"].values()) for part in parts)
        assert record["report"]["rows"] == sum(fold["test"]["rows"] for fold in record["split"]["counts"])


def test_a_configuration_comes_back_from_its_record():
    config = FitConfig(
        model="mlp",
        classes=("a", "b"),
        learning_rates=(1e-3, 1e-2),
        augment=(AugmentConfig(), AugmentConfig(mixup=0.2)),
    )
    assert FitConfig.from_record(json.loads(json.dumps(as_record(config)))) == config


def test_no_patient_known_is_said_aloud(tmp_path: Path):
    store = make_store(tmp_path, patients=False)
    notes = fit(store).record["notes"]
    assert any("NO PATIENT IS KNOWN for 480 of 480" in note and "each slide counts" in note for note in notes)


def test_split_by_site_leaves_a_site_out(fitted_store: Store):
    head = fit(fitted_store, split=SplitConfig(kind="column", column="site"))
    assert head.record["split"]["names"] == ["site=A", "site=B", "site=C"]
    assert [fold["test"]["groups"] for fold in head.record["split"]["counts"]] == [2, 2, 2]


def test_where_takes_some_slides(fitted_store: Store):
    config = FitConfig(**QUICK)
    head = fit_heads(
        fitted_store, fitted_store.collection(), ["tissue"], config, names=["ab"], where="\"site\" <> 'C'",
        replace_heads=True,
    )[0]  # fmt: skip
    assert head.record["examples"] == 8 * 40
    with pytest.raises(SlideNotInStoreError, match="no slide"):
        fit_heads(fitted_store, fitted_store.collection(), ["tissue"], config, names=["x"], where="site = 'Q'")


# -- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "message", "task", "options"),
    [
        (TaskNotFoundError, r"'nothing'.*grade, tissue", "nothing", {}),
        (LabelError, r"mitosis.*normal", "tissue", {"classes": ("normal", "mitosis")}),
        (LabelError, r"positive class 'x'", "tissue", {"positive": "x"}),
        (SplitError, r"6 patients", "tissue", {"split": SplitConfig(folds=7)}),
        (SplitError, r"no column 'scanner'.*site", "tissue", {"split": SplitConfig(kind="column", column="scanner")}),
        (LabelError, r"whole slide or patient", "tissue", {"model": "abmil", "level": "slide"}),
    ],
)
def test_refusals_say_what_was_found_and_leave_the_store(tmp_path: Path, error, message, task, options):
    store = make_store(tmp_path)
    with pytest.raises(error, match=message):
        fit(store, task, **options)
    assert store.heads.names() == []


def test_a_taken_name_is_refused_before_any_work(tmp_path: Path):
    store = make_store(tmp_path)
    fit(store)
    digest = store.heads.get("a-head").digest
    with pytest.raises(HeadExistsError, match="--replace"):
        fit_heads(store, store.collection(), ["tissue"], FitConfig(**QUICK), names=["a-head"])
    assert store.heads.get("a-head").digest == digest
    with pytest.raises(ConfigError, match="2 names for 1 tasks"):
        fit_heads(store, store.collection(), ["tissue"], FitConfig(**QUICK), names=["a", "b"])


def test_a_vector_that_is_not_finite_is_named(tmp_path: Path):
    store = make_store(tmp_path, broken=("s02.svs", 7))
    with pytest.raises(VectorError, match=r"'s02.svs' at 3584, 0 holds NaN"):
        fit(store)
    assert store.heads.names() == []


# -- predictions ----------------------------------------------------------------------------


def test_predictions_are_the_heads_probabilities(fitted_store: Store):
    stored = fit(fitted_store)
    done = predict(fitted_store, "a-head")
    assert done.rows == 480
    found = fitted_store.predictions("a-head").table().to_pandas().set_index("tile_id")
    tiles = fitted_store.collection().tiles().to_pandas().set_index("tile_id")
    head = Head.from_stored(stored)
    probabilities = head.probabilities(np.stack(tiles["vector"].to_list()))
    np.testing.assert_allclose(found.loc[tiles.index, "p_tumour"], probabilities[:, 1], rtol=1e-5)
    threshold = stored.record["thresholds"]["tumour"]
    assert ((found["p_tumour"] >= threshold) == (found["label"] == "tumour")).all()


def test_predictions_of_a_head_that_was_replaced_are_not_those_of_the_new_one(tmp_path: Path):
    store = make_store(tmp_path)
    collection, where = store.collection(), '"a-head".p_tumour >= 0'
    fit(store)
    predict(store, "a-head")
    fit(store)
    assert store.predictions("a-head").is_there(), "the same head again"
    assert len(select_tiles(store, collection, where).tile_ids) == 480
    fit(store, c=(1e-5,))
    assert not store.predictions("a-head").is_there() and store.prediction_names() == []
    assert not any("a-head" in name for name in filter_columns(store, collection))
    for read in (
        store.predictions("a-head").facts,
        store.predictions("a-head").table,
        lambda: export_scope(store, head="a-head"),
        lambda: select_tiles(store, collection, where),
    ):
        with pytest.raises(PredictionsNotFoundError, match="of an earlier head of that name, which was replaced since"):
            read()
    predict(store, "a-head", slides=["s00.svs"])
    assert store.predictions("a-head").slides() == {"s00.svs": 40}, "none of the earlier ones are left"
    assert len(select_tiles(store, collection, where).tile_ids) == 40


def test_predicting_some_slides_leaves_the_others(fitted_store: Store):
    fit(fitted_store)
    predict(fitted_store, "a-head")
    assert predict(fitted_store, "a-head", slides=["s01.svs"]).rows == 40
    assert predict(fitted_store, "a-head", where="\"site\" <> 'A' AND site <> 'C'").slides == 4
    assert len(fitted_store.predictions("a-head")) == 480
    with pytest.raises(SlideNotInStoreError, match=r"no slide 'nope'"):
        predict(fitted_store, "a-head", slides=["nope"])
    with pytest.raises(HeadNotFoundError, match="no head 'nobody'"):
        predict(fitted_store, "nobody")


def test_a_head_refuses_vectors_of_another_extractor(tmp_path: Path):
    store = make_store(tmp_path)
    fit(store)
    Collection.create(store.uri, "other", collection_record(DIM, digest="sha256:2"))
    with pytest.raises(HeadMismatchError, match=r"sha256:1.*sha256:2"):
        predict(store, "a-head", collection="other")


def test_classes_that_cannot_be_joined_are_refused_for_multi_label_heads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = make_store(tmp_path, classes=("necrosis", "necrosis; tumour", "tumour"))
    told = r"'tissue': .* class 'necrosis; tumour' contains '; '.*label import --class-map OLD=NEW`.*--classes"
    with pytest.raises(LabelError, match=told):
        fit(store, multi_label=True)
    assert store.heads.names() == []
    assert predict(store, fit(store).name).rows == 480, "of three classes that exclude each other"
    assert len(slide_scores(export_scope(store, head="a-head"))) == 12
    assert fit(store, multi_label=True, classes=("necrosis", "tumour")).record["classes"] == ["necrosis", "tumour"]
    with monkeypatch.context() as patch:  # as an older version did
        patch.setattr("embedstore.labels.task_labels.require_joinable", lambda task, classes: None)
        fit(store, multi_label=True)
    with pytest.raises(LabelError, match=told):
        predict(store, "a-head")
    assert not store.predictions("a-head").is_there()


def test_thresholds_and_temperatures_come_from_validation_alone(fitted_store: Store):
    """Truth of the test parts may be anything without a change of what was decided there."""
    from heads.evaluate import evaluate_head
    from heads.examples import gather_examples
    from heads.splitting.splits import TEST
    from heads.training.training import train
    from heads.training.training_data import _vectors

    config = FitConfig(**(QUICK | {"split": SplitConfig(kind="holdout")}))
    collection = fitted_store.collection()
    examples = gather_examples(fitted_store, collection, ["tissue"], config)
    trained = train(config, examples, _vectors(collection, examples, config, Path("unused")))
    test = examples.split.parts[0] == TEST
    lied = examples.targets[0].copy()
    lied[test] = ~lied[test]
    honest, other = (evaluate_head(config, e, trained, 0) for e in (examples, replace(examples, targets=(lied,))))
    assert (honest.thresholds == other.thresholds).all()
    assert (honest.ensemble.temperature == other.ensemble.temperature).all()
    assert honest.report.metrics["accuracy"].value == pytest.approx(1 - other.report.metrics["accuracy"].value)


def test_what_is_decided_in_a_fold_does_not_follow_from_the_truth_of_its_test_part(tmp_path: Path, monkeypatch):
    import heads.evaluate as module
    from heads.examples import gather_examples
    from heads.splitting.splits import TEST
    from heads.training.training import train
    from heads.training.training_data import _vectors

    store, config = make_store(tmp_path, classes=("a", "b", "c"), signal=0.3), FitConfig(**QUICK)
    collection = store.collection()
    examples = gather_examples(store, collection, ["tissue"], config)
    trained = train(config, examples, _vectors(collection, examples, config, Path("unused")))
    test = examples.split.parts[0] == TEST
    lied = examples.targets[0].copy()
    lied[test] = [False, False, True]
    taken = []
    monkeypatch.setattr(module, "evaluate", lambda p, targets, decisions, *rest, **named: taken.append(decisions))
    for each in (examples, replace(examples, targets=(lied,))):
        module.evaluate_head(config, each, trained, 0)
    of_fold = slice(0, int(test.sum()))
    assert (taken[0][of_fold] == taken[1][of_fold]).all()
    assert (taken[0] != taken[1]).any()
