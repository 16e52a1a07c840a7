"""Metrics: values as scikit-learn has them, intervals as a plain loop over the same resamples finds them."""

import json
import warnings

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, logit
from sklearn import metrics as reference

from embedstore.errors import ConfigError, LabelError, VectorError
from heads.evaluation.bootstrap import GroupSums, Statistic, bootstrap, measure, resample
from heads.evaluation.metrics import BINS, Metric, Report, evaluate
from tests.marks import examples

CLASSES = ("ash", "birch", "cedar", "date")


def scene(
    seed: int, *, rows: int = 300, classes: int = 2, groups: int = 20, multi_label: bool = False, decimals: int = 2
):
    """Probabilities with ties, truth and decisions; some skill."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, groups, rows)
    if multi_label:
        targets = rng.random((rows, classes)) < 0.3
        probabilities = np.round(np.clip(rng.normal(0.35, 0.2, (rows, classes)) + 0.2 * targets, 0, 1), decimals)
        return probabilities, targets, probabilities > 0.45, group
    targets = np.eye(classes, dtype=bool)[rng.integers(0, classes, rows)]
    logits = np.round(rng.normal(size=(rows, classes)) + targets, decimals - 1)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    decisions = np.eye(classes, dtype=bool)[(probabilities + rng.uniform(0, 0.2, classes)).argmax(axis=1)]
    return probabilities, targets, decisions, group


def expected(probabilities, targets, decisions, *, multi_label: bool, positive: int | None) -> dict[str, float]:
    """The metrics of a whole task by scikit-learn; classes that are absent are left out of averages."""
    k = targets.shape[1]
    truth, decided = (targets, decisions) if multi_label else (targets.argmax(1), decisions.argmax(1))
    labels = {} if multi_label else {"labels": range(k)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both = [c for c in range(k) if 0 < targets[:, c].sum() < len(targets)]
        some = [c for c in range(k) if targets[:, c].any()]
        found = {
            "accuracy": reference.accuracy_score(truth, decided),
            "f1_macro": reference.f1_score(truth, decided, average="macro", zero_division=np.nan, **labels),
            "auroc": np.mean([reference.roc_auc_score(targets[:, c], probabilities[:, c]) for c in both]),
            "auprc": np.mean([reference.average_precision_score(targets[:, c], probabilities[:, c]) for c in some]),
        }
        if multi_label:
            found["balanced_accuracy"] = np.mean(
                [reference.balanced_accuracy_score(targets[:, c], decisions[:, c]) for c in range(k)]
            )
            found["brier"] = np.mean([reference.brier_score_loss(targets[:, c], probabilities[:, c]) for c in range(k)])
        else:
            found["balanced_accuracy"] = reference.balanced_accuracy_score(truth, decided)
            found["brier"] = ((probabilities - targets) ** 2).sum(axis=1).mean()
    if positive is not None:
        y, p = targets[:, positive], probabilities[:, positive]
        found["f1"] = reference.f1_score(y, decisions[:, positive])
        found["auroc"], found["auprc"] = reference.roc_auc_score(y, p), reference.average_precision_score(y, p)
        found["brier"] = reference.brier_score_loss(y, p)
    return found


def assert_values(report: Report, values: dict[str, float], **tolerance) -> None:
    assert set(values) == set(report.metrics) - {"calibration_error"}
    for name, value in values.items():
        assert report.metrics[name].value == pytest.approx(value, abs=1e-9, **tolerance), name


@pytest.mark.slow
@settings(deadline=None, max_examples=examples(40))
@given(
    seed=st.integers(0, 10_000),
    classes=st.integers(2, 4),
    multi_label=st.booleans(),
    rows=st.integers(30, 200),
    decimals=st.integers(1, 6),
)
def test_values_are_those_of_scikit_learn(seed, classes, multi_label, rows, decimals):
    drawn = scene(seed, rows=rows, classes=classes, multi_label=multi_label, decimals=decimals)
    names = CLASSES[:classes]
    report = evaluate(*drawn, classes=names, multi_label=multi_label, resamples=0)
    positive = 1 if classes == 2 and not multi_label else None
    assert report.positive == (None if positive is None else "birch")
    assert_values(report, expected(*drawn[:3], multi_label=multi_label, positive=positive))
    probabilities, targets, decisions, _ = drawn
    for c, label in enumerate(names):
        mine, y, hard, p = report.per_class[label], targets[:, c], decisions[:, c], probabilities[:, c]
        exact = {
            "f1": reference.f1_score(y, hard, zero_division=np.nan),
            "precision": reference.precision_score(y, hard, zero_division=np.nan),
            "recall": reference.recall_score(y, hard),
            "specificity": reference.recall_score(~y, ~hard),
            "auroc": reference.roc_auc_score(y, p),
            "auprc": reference.average_precision_score(y, p),
        }
        for name, value in exact.items():
            assert mine[name].value == (None if np.isnan(value) else pytest.approx(value, abs=1e-9)), name
        assert report.support[label] == y.sum()
    if multi_label:
        np.testing.assert_array_equal(report.confusion, reference.multilabel_confusion_matrix(targets, decisions))
    else:
        matrix = reference.confusion_matrix(targets.argmax(1), decisions.argmax(1), labels=range(classes))
        np.testing.assert_array_equal(report.confusion, matrix)


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_class_that_no_row_is_of_is_left_out_and_said(multi_label):
    probabilities, targets, decisions, group = scene(1, classes=4, multi_label=multi_label)
    kept = ~targets[:, 2]
    drawn = probabilities[kept], targets[kept], decisions[kept]
    report = evaluate(*drawn, group[kept], classes=CLASSES, multi_label=multi_label, resamples=50)
    values = expected(*drawn, multi_label=multi_label, positive=None)
    if multi_label:  # of a class without a row only the specificity is known
        recalls = [reference.recall_score(drawn[1][:, c], drawn[2][:, c]) for c in (0, 1, 3)]
        specificities = [reference.recall_score(~drawn[1][:, c], ~drawn[2][:, c]) for c in range(4)]
        values["balanced_accuracy"] = (np.mean(recalls) + np.mean(specificities)) / 2
    assert_values(report, values)
    absent = report.per_class["cedar"]
    assert absent["auroc"] == absent["auprc"] == absent["recall"] == Metric(value=None)
    assert absent["specificity"].low is not None
    assert report.support["cedar"] == 0
    assert "cedar" not in report.roc
    assert any("no tested row is of class 'cedar'" in note for note in report.notes)


def test_calibration_error_is_that_of_its_definition():
    for seed, classes, multi_label in ((0, 2, False), (1, 4, False), (2, 3, True)):
        probabilities, targets, decisions, group = scene(seed, classes=classes, multi_label=multi_label)
        if multi_label:
            pairs = [(probabilities[:, c], targets[:, c]) for c in range(classes)]
        elif classes == 2:
            pairs = [(probabilities[:, 0], targets[:, 0])]
        else:
            pairs = [(probabilities.max(1), probabilities.argmax(1) == targets.argmax(1))]
        errors = []
        for confidence, hit in pairs:
            error = 0.0
            for b in range(BINS):
                mine = (confidence >= b / BINS) & ((confidence < (b + 1) / BINS) | (b == BINS - 1))
                if mine.any():
                    error += mine.mean() * abs(confidence[mine].mean() - hit[mine].mean())
            errors.append(error)
        positive = "ash" if classes == 2 else None
        report = evaluate(probabilities, targets, decisions, group, classes=CLASSES[:classes],
                          multi_label=multi_label, positive=positive, resamples=0)  # fmt: skip
        assert report.metrics["calibration_error"].value == pytest.approx(np.mean(errors), abs=1e-9)


# -- intervals ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "multi_label"), [(2, False), (4, False), (3, True)])
def test_intervals_are_those_of_a_plain_loop_over_the_same_resamples(classes, multi_label):
    drawn = scene(5, rows=2000, classes=classes, groups=120, multi_label=multi_label)
    probabilities, targets, decisions, group = drawn
    report = evaluate(*drawn, classes=CLASSES[:classes], multi_label=multi_label, resamples=60, seed=3)
    positive = 1 if classes == 2 and not multi_label else None
    looped: dict[str, list[float]] = {}
    of_last: list[float] = []
    for counts in np.concatenate(list(resample(120, resamples=60, seed=3))).astype(int):
        assert counts.sum() == 120
        rows = np.concatenate([np.repeat(np.flatnonzero(group == g), counts[g]) for g in range(120)])
        found = expected(
            probabilities[rows], targets[rows], decisions[rows], multi_label=multi_label, positive=positive
        )
        for name, value in found.items():
            looped.setdefault(name, []).append(value)
        of_last.append(reference.recall_score(targets[rows, -1], decisions[rows, -1]))
    for name, values in looped.items():
        low, high = np.percentile(values, (2.5, 97.5))
        assert (report.metrics[name].low, report.metrics[name].high) == pytest.approx((low, high), abs=1e-9), name
    recall = report.per_class[CLASSES[classes - 1]]["recall"]
    assert (recall.low, recall.high) == pytest.approx(tuple(np.percentile(of_last, (2.5, 97.5))), abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("prevalence", [0.5, 0.01])
def test_grades_of_many_scores_move_intervals_by_less_than_a_thousandth(prevalence):
    rng = np.random.default_rng(0)
    rows = 60_000
    target = rng.random(rows) < prevalence
    score = 1 / (1 + np.exp(-rng.normal(2.5 * target, 1)))
    group = rng.integers(0, 120, rows)
    probabilities, targets = np.stack([1 - score, score], axis=1), np.stack([~target, target], axis=1)
    report = evaluate(probabilities, targets, probabilities > 0.5, group, classes=CLASSES[:2], resamples=40)
    assert report.metrics["auroc"].value == pytest.approx(reference.roc_auc_score(target, score), abs=1e-12)
    assert report.metrics["auprc"].value == pytest.approx(reference.average_precision_score(target, score), abs=1e-12)
    looped = []
    for counts in np.concatenate(list(resample(120, resamples=40, seed=0))):
        weight = counts[group]
        looped.append([f(target, score, sample_weight=weight)
                       for f in (reference.roc_auc_score, reference.average_precision_score)])  # fmt: skip
    for name, values in zip(("auroc", "auprc"), np.transpose(looped), strict=True):
        low, high = np.percentile(values, (2.5, 97.5))
        assert (report.metrics[name].low, report.metrics[name].high) == pytest.approx((low, high), abs=1e-3), name


def test_rows_of_a_patient_stay_together():
    """All that varies is between patients: their resamples spread more than those of rows."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(20), 50)
    right = np.repeat(rng.random(20) < 0.7, 50)
    targets = np.eye(2, dtype=bool)[rng.integers(0, 2, 1000)]
    decisions = np.where(right[:, None], targets, ~targets)
    by_patient, by_row = (
        evaluate(decisions.astype(float), targets, decisions, groups, classes=CLASSES[:2], seed=1).metrics["accuracy"]
        for groups in (patient, np.arange(1000))
    )
    spread = np.sqrt(right.mean() * (1 - right.mean()))
    assert by_patient.high - by_patient.low == pytest.approx(2 * 2.09 * spread / np.sqrt(20), rel=0.15)
    assert by_row.high - by_row.low == pytest.approx(2 * 1.96 * spread / np.sqrt(1000), rel=0.15)


def test_the_same_seed_gives_the_same_intervals_however_rows_stand():
    drawn = scene(7, rows=600, groups=120)
    order = np.random.default_rng(0).permutation(len(drawn[0]))
    first, again, other = (evaluate(*drawn, classes=CLASSES[:2], seed=seed).as_record() for seed in (4, 4, 5))
    mixed = evaluate(*(array[order] for array in drawn), classes=CLASSES[:2], seed=4)
    assert first == again
    numbers = evaluate(
        drawn[0].astype(np.float64), *(array.astype(int) for array in drawn[1:]), classes=CLASSES[:2], seed=4
    )
    assert numbers.as_record() == first
    assert first["metrics"] != other["metrics"]
    assert mixed.metrics["auroc"] == evaluate(*drawn, classes=CLASSES[:2], seed=4).metrics["auroc"]


def test_large_groups_and_large_cells_are_summed_the_same(monkeypatch):
    """The sparse way and small chunks give what the dense way in one go gives."""
    drawn = scene(8, rows=500, classes=3, groups=100)
    usual = evaluate(*drawn, classes=CLASSES[:3], resamples=30)
    for name, value in (("_DENSE_CELLS", 0), ("_DRAWS", 700), ("_SUM_CELLS", 900)):
        monkeypatch.setattr(f"heads.evaluation.bootstrap.{name}", value)
    chunked = evaluate(*drawn, classes=CLASSES[:3], resamples=30)
    for name, metric in usual.metrics.items():
        other = chunked.metrics[name]
        assert (metric.low, metric.high) == pytest.approx((other.low, other.high), abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("rows_of_a_group", [1, 3])
def test_many_groups_are_drawn_in_parts_with_the_same_spread(monkeypatch, rows_of_a_group: int):
    rows = 3000 * rows_of_a_group
    drawn = (*scene(9, rows=rows)[:3], np.arange(rows) // rows_of_a_group)
    each = evaluate(*drawn, classes=CLASSES[:2], resamples=4000)
    monkeypatch.setattr("heads.evaluation.bootstrap._MOST_DRAWN", 2999)
    parts = evaluate(*drawn, classes=CLASSES[:2], resamples=4000)
    for name in ("accuracy", "f1", "f1_macro", "balanced_accuracy", "auroc", "auprc", "brier"):
        one, other = each.metrics[name], parts.metrics[name]
        assert one.value == other.value
        assert (one.low, one.high) != (other.low, other.high), "other draws"
        spread = one.high - one.low
        assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=0.08 * spread), name


def test_intervals_of_many_groups_are_as_wide_as_theory_has_it():
    groups, right = 60_000, 0.8
    cell = (np.random.default_rng(0).random(groups) < right).astype(np.intp)
    sums = GroupSums(np.arange(groups), cell, groups=groups, cells=2)
    statistic = Statistic(sums=[sums], metrics=lambda sums: {"accuracy": sums[..., 1] / sums.sum(axis=-1)})
    widths = []
    for seed in range(20):
        found = measure([statistic], groups, resamples=1000, seed=seed)["accuracy"]
        widths.append(found.high - found.low)
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.sqrt(right * (1 - right) / groups), rel=0.03)
    one, two = (bootstrap([statistic] * n, groups, resamples=50, seed=1)["accuracy"] for n in (1, 2))
    assert (one == two).all(), "the same seed draws the same groups, whatever is measured on them"


@pytest.mark.parametrize(("classes", "multi_label"), [(2, False), (3, True)])
def test_intervals_of_few_groups_are_students_from_a_plain_loop_without_each(classes, multi_label):
    probabilities, targets, decisions, group = drawn = scene(6, classes=classes, groups=8, multi_label=multi_label)
    report = evaluate(*drawn, classes=CLASSES[:classes], multi_label=multi_label)
    positive = 1 if classes == 2 and not multi_label else None
    kept = [group != g for g in range(8)]
    looped = [
        expected(probabilities[k], targets[k], decisions[k], multi_label=multi_label, positive=positive) for k in kept
    ]
    for name in ("accuracy", "balanced_accuracy", "f1_macro", "auroc", "auprc", "brier"):
        value, values = report.metrics[name].value, np.array([each[name] for each in looped])
        reach = stats.t.ppf(0.975, 7) * np.sqrt(7 / 8 * ((values - values.mean()) ** 2).sum())
        ends = expit(logit(value) + np.array([-reach, reach]) / (value * (1 - value)))
        assert (report.metrics[name].low, report.metrics[name].high) == pytest.approx(tuple(ends), abs=1e-9), name
    assert any("fewer than 100 patients or groups (8 here) are Student's t" in note for note in report.notes)


@pytest.mark.slow
def test_more_than_a_thousand_groups_are_left_out_in_parts():
    """A class of 40 of 1,500 groups: few, and its interval is as wide as with each left out alone."""
    group = np.repeat(np.arange(1500), 3)
    targets = np.eye(2, dtype=bool)[(group < 40).astype(int)]
    scores = np.random.default_rng(0).normal(1.5 * targets[:, 1], 1)
    probabilities = np.stack([1 - expit(scores), expit(scores)], axis=1)
    drawn = probabilities, targets, np.eye(2, dtype=bool)[(scores > 0.7).astype(int)], group
    auroc = evaluate(*drawn, classes=CLASSES[:2]).metrics["auroc"]
    by_hand = [reference.roc_auc_score(targets[group != g, 1], scores[group != g]) for g in range(40)]
    spread = np.std(by_hand) * np.sqrt(40)
    assert auroc.high - auroc.low == pytest.approx(2 * 2.02 * spread, rel=0.1)


def test_no_interval_where_groups_are_too_few_or_nothing_varies():
    probabilities, targets, decisions, _ = scene(9)
    for groups in (1, 2):
        few = evaluate(probabilities, targets, decisions, np.arange(300) % groups, classes=CLASSES[:2])
        assert {metric.low for metric in few.metrics.values()} == {None}
        assert any("no interval for f1" in note and "fewer than 3 patients or groups" in note for note in few.notes)
    three = evaluate(probabilities, targets, decisions, np.arange(300) % 3, classes=CLASSES[:2]).metrics["auroc"]
    assert 0 < three.low < three.value < three.high < 1
    none = evaluate(*scene(9), classes=CLASSES[:2], resamples=0)
    assert none.notes == ()
    assert none.metrics["f1"].high is None
    perfect = evaluate(targets.astype(float), targets, targets, np.arange(300) % 5, classes=CLASSES[:2])
    assert (perfect.metrics["auroc"].value, perfect.metrics["auroc"].low) == (1, None)
    assert any("no interval for f1" in note and "0 and 1 say nothing of their spread" in note for note in perfect.notes)


def test_a_class_of_few_groups_has_no_interval_and_says_so():
    """Two classes of one patient each, and one of all others."""
    group = np.repeat(np.arange(20), 10)
    targets = np.eye(3, dtype=bool)[np.where(group < 2, group + 1, 0)]
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), 200)
    report = evaluate(probabilities, targets, np.roll(targets, 3, axis=0), group, classes=CLASSES[:3])
    assert report.metrics["auroc"].value is not None
    assert report.metrics["auroc"].low is None and report.per_class["birch"]["auroc"].low is None
    assert report.metrics["accuracy"].low is not None
    assert any(note.startswith("no interval for f1_macro, balanced_accuracy, auroc") for note in report.notes)


@pytest.mark.parametrize("groups", [3, 8, 120])
def test_a_value_is_inside_its_interval(groups):
    for seed in range(5):
        report = evaluate(*scene(seed, groups=groups), classes=CLASSES[:2], resamples=50)
        for metric in report.metrics.values():
            assert metric.low is None or metric.low <= metric.value <= metric.high


def test_the_second_class_is_positive_in_whatever_order_classes_stand():
    assert evaluate(*scene(3), classes=["b", "a"], resamples=0).positive == "a"


# -- what a report holds --------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "multi_label"), [(2, False), (4, False), (3, True)])
def test_a_report_goes_through_json(classes, multi_label):
    report = evaluate(*scene(11, classes=classes, multi_label=multi_label), classes=CLASSES[:classes],
                      multi_label=multi_label, resamples=20)  # fmt: skip
    record = report.as_record()
    again = Report.from_record(json.loads(json.dumps(record, allow_nan=False)))
    assert again.as_record() == record
    assert again.confusion.dtype == np.int64
    assert again.metrics == report.metrics
    assert again.roc["ash"].x == report.roc["ash"].x


def test_no_skill_is_what_guessing_reaches():
    probabilities, targets, decisions, group = scene(12, classes=3)
    report = evaluate(probabilities, targets, decisions, group, classes=CLASSES[:3], resamples=0)
    share = targets.mean(axis=0)
    assert report.no_skill == pytest.approx(
        {"auroc": 0.5, "auprc": 1 / 3, "balanced_accuracy": 1 / 3, "accuracy": share.max()}, abs=1e-9
    )
    binary = evaluate(*scene(13), classes=CLASSES[:2], positive="ash", resamples=0)
    assert binary.no_skill["auprc"] == pytest.approx(scene(13)[1][:, 0].mean())


@pytest.mark.slow
def test_curves_of_many_points_keep_their_shape():
    rng = np.random.default_rng(0)
    target = rng.random(100_000) < 0.1
    score = 1 / (1 + np.exp(-rng.normal(1.5 * target, 1)))
    probabilities, targets = np.stack([1 - score, score], axis=1), np.stack([~target, target], axis=1)
    report = evaluate(probabilities, targets, probabilities > 0.5, np.arange(100_000), classes=CLASSES[:2], resamples=0)
    roc, pr = report.roc["birch"], report.precision_recall["birch"]
    assert max(len(roc.x), len(pr.x)) <= 200
    fpr, tpr, _ = reference.roc_curve(target, score)
    precision, recall, _ = reference.precision_recall_curve(target, score)
    seen = recall > 0.01  # the first few rows make precision jump
    for curve, x, y in ((roc, fpr, tpr), (pr, recall[seen], precision[seen])):
        line = shapely.LineString(list(zip(curve.x, curve.y, strict=True)))
        assert shapely.distance(line, shapely.points(x, y)).max() < 3e-3
    assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0, 0, 1, 1)
    assert (pr.x[0], pr.x[-1]) == (0, 1)


def test_small_curves_are_exact():
    target = np.array([1, 0, 1, 1, 0], bool)
    score = np.array([0.9, 0.8, 0.8, 0.4, 0.1])
    report = evaluate(np.stack([1 - score, score], axis=1), np.stack([~target, target], axis=1),
                      np.stack([score < 0.5, score >= 0.5], axis=1), np.arange(5), classes=CLASSES[:2])  # fmt: skip
    curve = report.precision_recall["birch"]
    assert (curve.x, curve.y) == ((0, 0.33333, 0.66667, 1), (1, 1, 0.66667, 0.75))
    assert report.roc["birch"].x == (0, 0, 0.5, 0.5, 1)


def test_a_metric_reads_as_value_and_interval():
    assert str(Metric(value=0.91234, low=0.88, high=0.9456)) == "0.912 [0.880, 0.946]"
    assert str(Metric(value=0.5)) == "0.500"
    assert str(Metric(value=None)) == "undefined"


# -- errors ---------------------------------------------------------------------------------


def test_what_cannot_be_evaluated():
    probabilities, targets, decisions, group = scene(14)
    broken = probabilities.copy()
    broken[3, 0] = np.nan
    with pytest.raises(VectorError, match="1 of 300 rows"):
        evaluate(broken, targets, decisions, group, classes=CLASSES[:2])
    with pytest.raises(LabelError, match="300 of 300 targets are not of one class"):
        evaluate(probabilities, targets | True, decisions, group, classes=CLASSES[:2])
    with pytest.raises(ConfigError, match="for 3 classes"):
        evaluate(probabilities, targets, decisions, group, classes=CLASSES[:3])
    with pytest.raises(ConfigError, match="positive class 'oak' is none of ash and birch"):
        evaluate(probabilities, targets, decisions, group, classes=CLASSES[:2], positive="oak")
    with pytest.raises(LabelError, match="no labelled row"):
        evaluate(probabilities[:0], targets[:0], decisions[:0], group[:0], classes=CLASSES[:2])
