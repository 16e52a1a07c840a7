"""Metrics of a head with intervals that are resampled by patient."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import ConfigError, LabelError, VectorError
from heads.evaluation.bootstrap import (
    LEAST_GROUPS,
    MANY_GROUPS,
    GroupSums,
    Statistic,
    bootstrap,
    count_groups,
    leave_groups_out,
    metric_of,
)
from heads.evaluation.ranking import Ranking, rank_metrics
from heads.evaluation.report import Metric, Reliability, Report
from heads.splitting.groups import listed

__all__ = ["Metric", "Report", "evaluate"]

BINS = 15  # of a reliability diagram, of equal width
_CALIBRATION = ("", "calibration_error")
DECISION = "decision"  # name of the reliability of the most probable class
Key = tuple[str, str]  # (class, metric); the class is '' for what is over all classes


def evaluate(
    probabilities: NDArray[Any],
    targets: NDArray[np.bool_],
    decisions: NDArray[np.bool_],
    groups: NDArray[Any],
    *,
    classes: Sequence[str],
    multi_label: bool = False,
    positive: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Report:
    """Compare probabilities and decisions with the truth.

    Over all classes: `accuracy` (multi-label: all classes of a row are right), `balanced_accuracy` (mean recall;
    multi-label: mean of sensitivity and specificity, over classes), `f1` (task of two: of the positive class),
    `f1_macro`, `auroc` and `auprc` (average precision; task of two: of the positive class; else macro, one against the
    rest), `calibration_error` (expected calibration error in 15 bins of equal width, Guo et al. 2017; task of two: of
    the positive class's probability; more classes: of the highest probability; multi-label: mean over classes), `brier`
    (task of two: of the positive class; more classes: summed over them; multi-label: mean over them).
    For each class: `f1`, `precision`, `recall`, `specificity`, `auroc`, `auprc`.

    A macro average is over the classes for which the metric is defined on all rows. Of a metric that rests on 100
    groups or more, the interval is the 2.5th to 97.5th percentile over resamples of the groups; those in which the
    metric is undefined, as a class is absent, are left out. Of one of fewer it is Student's t interval
    (`t_interval`), of one of fewer than 3 there is none. A metric about a class rests on the groups that have it or
    on those that lack it, whichever are fewer; accuracy and Brier score on all. The calibration error has no
    interval: it errs to the high side by more than it varies. Values are those of the scores themselves; for
    intervals of AUROC and AUPRC, scores are put into 4,096 grades.

    Args:
        probabilities: (n, K) float; rows sum to 1 unless multi-label.
        targets: (n, K) bool: the truth; one class a row unless multi-label.
        decisions: (n, K) bool: what was decided, with whatever thresholds; one class a row unless multi-label.
        groups: (n,) integers: whose rows stay together in a resample, usually patients.
        classes: Names of the K columns.
        multi_label: A row may be of several classes, or of none.
        positive: Of two classes, the one that is looked for; the second when None.
        resamples: Resamples of the groups; 0 for no intervals.
        seed: Of the resampling; the same seed gives the same intervals.
    Raises:
        ConfigError: arrays that do not go together, or a positive class that is none of the two.
        LabelError: no row, or rows of no or of two classes where they must be of one.
        VectorError: probabilities that are not finite.
    """
    probabilities = np.asarray(probabilities, np.float64)
    targets, decisions = np.asarray(targets, bool), np.asarray(decisions, bool)
    binary = not multi_label and len(classes) == 2
    if binary and positive is None:
        positive = classes[1]
    _check(probabilities, targets, decisions, groups, classes, multi_label, positive if binary else None)
    codes, group = np.unique(groups, return_inverse=True)
    positive_column = list(classes).index(positive) if binary and positive is not None else None
    rankings = [Ranking(probabilities[:, k], targets[:, k]) for k in range(len(classes))]
    reliabilities = dict(_reliability_columns(probabilities, targets, classes, multi_label, positive_column))
    statistics = [
        *_decision_statistics(targets, decisions, group, len(codes), classes, multi_label),
        *(_rank_statistic(*row, group, len(codes)) for row in zip(classes, rankings, targets.T, strict=True)),
        _brier_statistic(probabilities, targets, group, len(codes), multi_label, positive_column),
    ]
    whole = {key: value for statistic in statistics for key, value in statistic.whole().items()}
    defined = {key for key, value in whole.items() if np.isfinite(value)}
    macro = _over_classes(whole, defined, classes, multi_label, positive_column)
    whole |= {key: float(value) for key, value in macro.items()}
    support = _support(whole, targets, group, classes)
    samples: dict[Key, NDArray[np.float64]] = {}
    without: dict[Key, NDArray[np.float64]] = {}
    if resamples and max(support.values()) >= MANY_GROUPS:
        samples = bootstrap(statistics, len(codes), resamples=resamples, seed=seed)
    if resamples and min(support.values()) < MANY_GROUPS:
        without = leave_groups_out(statistics, len(codes), seed=seed)
    for values in filter(None, (samples, without)):
        values |= _over_classes(values, defined, classes, multi_label, positive_column)
    top = {("", "brier"): 1.0 if binary or multi_label else 2.0}
    metrics = {
        key: metric_of(value, samples.get(key), without.get(key), groups=support[key], top=top.get(key, 1.0))
        for key, value in whole.items()
    }
    metrics[_CALIBRATION] = Metric(value=_calibration_error(reliabilities))
    prevalence = targets.mean(axis=0)
    return Report(
        classes=tuple(classes),
        multi_label=multi_label,
        positive=positive if binary else None,
        rows=len(targets),
        groups=len(codes),
        metrics=dict(_ordered(metrics, "", _OVERALL)),
        per_class={label: dict(_ordered(metrics, label, _PER_CLASS)) for label in classes},
        support=dict(zip(classes, targets.sum(axis=0).tolist(), strict=True)),
        confusion=_confusion(targets, decisions, multi_label),
        no_skill=_no_skill(prevalence, multi_label, positive_column),
        roc={label: curve for label, r in zip(classes, rankings, strict=True) if (curve := r.roc())},
        precision_recall={
            label: curve for label, r in zip(classes, rankings, strict=True) if (curve := r.precision_recall())
        },
        reliability={name: _bins(*columns) for name, columns in reliabilities.items()},
        notes=tuple(_notes(metrics, targets, classes, support, resamples)),
    )


_OVERALL = ("f1", "f1_macro", "balanced_accuracy", "auroc", "auprc", "accuracy", "calibration_error", "brier")
_OF_ROWS = ("accuracy", "brier")  # whatever their classes
_PER_CLASS = ("f1", "precision", "recall", "specificity", "auroc", "auprc")


def _check(
    probabilities: NDArray[np.float64],
    targets: NDArray[np.bool_],
    decisions: NDArray[np.bool_],
    groups: NDArray[Any],
    classes: Sequence[str],
    multi_label: bool,
    positive: str | None,
) -> None:
    shapes = [np.shape(array) for array in (probabilities, targets, decisions, groups)]
    n, k = len(targets), len(classes)
    if shapes != [(n, k)] * 3 + [(n,)]:
        raise ConfigError(
            f"probabilities, targets, decisions and groups are {listed(shapes)} for {k} classes; expected three of "
            "(rows, classes) and one of (rows,)"
        )
    if not n:
        raise LabelError("no labelled row to evaluate on; give the split a test part")
    if positive is not None and positive not in classes:
        raise ConfigError(f"positive class {positive!r} is none of {listed(classes)}")
    if not np.isfinite(probabilities).all():
        bad = int((~np.isfinite(probabilities)).any(axis=1).sum())
        raise VectorError(
            f"{bad:,} of {n:,} rows have probabilities that are NaN or infinite; the head did not converge"
        )
    for name, array in (("targets", targets), ("decisions", decisions)):
        if not multi_label and (wrong := int((array.sum(axis=1) != 1).sum())):
            raise LabelError(f"{wrong:,} of {n:,} {name} are not of one class; expected one, or a multi-label task")


# -- what is summed -------------------------------------------------------------------------


def _decision_statistics(
    targets: NDArray[np.bool_],
    decisions: NDArray[np.bool_],
    group: NDArray[np.intp],
    groups: int,
    classes: Sequence[str],
    multi_label: bool,
) -> Iterator[Statistic]:
    right = (targets == decisions).all(axis=1)
    yield Statistic(
        sums=[GroupSums(group, right.astype(np.intp), groups=groups, cells=2)],
        metrics=lambda sums: {("", "accuracy"): sums[..., 1] / sums.sum(axis=-1)},
    )
    for k, label in enumerate(classes):
        cell = targets[:, k] * 2 + decisions[:, k]
        yield Statistic(
            sums=[GroupSums(group, cell, groups=groups, cells=4)],
            metrics=lambda sums, label=label: _decision_metrics(sums, label),
        )


def _decision_metrics(sums: NDArray[np.float64], label: str) -> dict[Key, NDArray[np.float64]]:
    tn, fp, fn, tp = np.moveaxis(sums, -1, 0)
    return {
        (label, "f1"): _ratio(2 * tp, 2 * tp + fp + fn),
        (label, "precision"): _ratio(tp, tp + fp),
        (label, "recall"): _ratio(tp, tp + fn),
        (label, "specificity"): _ratio(tn, tn + fp),
    }


def _rank_statistic(
    label: str, ranking: Ranking, target: NDArray[np.bool_], group: NDArray[np.intp], groups: int
) -> Statistic:
    def metrics(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> dict[Key, NDArray[np.float64]]:
        auroc, auprc = rank_metrics(positive, negative)
        return {(label, "auroc"): auroc, (label, "auprc"): auprc}

    sums = [GroupSums(group[m], ranking.grade[m], groups=groups, cells=ranking.grades) for m in (target, ~target)]
    auroc, auprc = ranking.metrics()
    return Statistic(sums=sums, metrics=metrics, exact={(label, "auroc"): auroc, (label, "auprc"): auprc})


def _reliability_columns(
    probabilities: NDArray[np.float64],
    targets: NDArray[np.bool_],
    classes: Sequence[str],
    multi_label: bool,
    positive: int | None,
) -> Iterator[tuple[str, tuple[NDArray[np.float64], NDArray[np.bool_]]]]:
    """Name, probabilities (n,), and whether each of these events occurred, (n,): of a reliability diagram each."""
    if multi_label:
        yield from ((label, (probabilities[:, k], targets[:, k])) for k, label in enumerate(classes))
    elif positive is not None:
        yield classes[positive], (probabilities[:, positive], targets[:, positive])
    else:
        likely = probabilities.argmax(axis=1)
        rows = np.arange(len(likely))
        yield DECISION, (probabilities[rows, likely], targets[rows, likely])


def _calibration_error(columns: Mapping[str, tuple[NDArray[np.float64], NDArray[np.bool_]]]) -> float:
    """Mean over the columns of |confidence − frequency| over bins, weighted by their rows."""
    gaps = [
        np.abs(np.bincount(_bin(confidence), confidence - occurred)).sum() / len(confidence)
        for confidence, occurred in columns.values()
    ]
    return float(np.mean(gaps))


def _brier_statistic(
    probabilities: NDArray[np.float64],
    targets: NDArray[np.bool_],
    group: NDArray[np.intp],
    groups: int,
    multi_label: bool,
    positive: int | None,
) -> Statistic:
    squares = (probabilities - targets) ** 2
    loss = squares.sum(axis=1)
    if positive is not None:
        loss = squares[:, positive]
    elif multi_label:
        loss = squares.mean(axis=1)
    cell = np.zeros(len(loss), np.intp)
    return Statistic(
        sums=[GroupSums(group, cell, loss, groups=groups, cells=1), GroupSums(group, cell, groups=groups, cells=1)],
        metrics=lambda loss, rows: {("", "brier"): loss[..., 0] / rows[..., 0]},
        exact={("", "brier"): float(loss.mean())},
    )


def _bin(confidence: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.clip((confidence * BINS).astype(np.intp), 0, BINS - 1)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    """part / whole, NaN where whole is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole == 0, np.nan, part / whole)


# -- over classes ---------------------------------------------------------------------------


def _over_classes(
    values: Mapping[Key, Any], defined: set[Key], classes: Sequence[str], multi_label: bool, positive: int | None
) -> dict[Key, Any]:
    """Metrics of the whole task from those of its classes, over all rows or for each resample alike."""

    def macro(name: str) -> Any:
        of_classes = [values[label, name] for label in classes if (label, name) in defined]
        return np.mean(of_classes, axis=0) if of_classes else np.nan * values[classes[0], name]

    balanced = macro("recall")
    if multi_label:
        balanced = (balanced + macro("specificity")) / 2
    overall = {("", "balanced_accuracy"): balanced, ("", "f1_macro"): macro("f1")}
    if positive is not None:
        return overall | {("", name): values[classes[positive], name] for name in ("f1", "auroc", "auprc")}
    return overall | {("", name): macro(name) for name in ("auroc", "auprc")}


def _ordered(metrics: Mapping[Key, Metric], label: str, names: Sequence[str]) -> Iterator[tuple[str, Metric]]:
    return ((name, metrics[label, name]) for name in names if (label, name) in metrics)


def _confusion(targets: NDArray[np.bool_], decisions: NDArray[np.bool_], multi_label: bool) -> NDArray[np.int64]:
    k = targets.shape[1]
    if not multi_label:
        cells = targets.argmax(axis=1) * k + decisions.argmax(axis=1)
        return np.bincount(cells, minlength=k * k).reshape(k, k).astype(np.int64)
    of_classes = [np.bincount(targets[:, i] * 2 + decisions[:, i], minlength=4).reshape(2, 2) for i in range(k)]
    return np.asarray(of_classes, np.int64)


def _no_skill(prevalence: NDArray[np.float64], multi_label: bool, positive: int | None) -> dict[str, float]:
    present = prevalence[prevalence > 0]
    auprc = prevalence[positive] if positive is not None else present.mean() if len(present) else 0.0
    scores = {"balanced_accuracy": 0.5 if multi_label else 1 / len(present), "auroc": 0.5, "auprc": float(auprc)}
    return scores if multi_label else {**scores, "accuracy": float(prevalence.max())}


def _bins(confidence: NDArray[np.float64], occurred: NDArray[np.bool_]) -> Reliability:
    bins = _bin(confidence)
    count = np.bincount(bins, minlength=BINS)
    full = np.flatnonzero(count)
    means = [np.bincount(bins, column, BINS)[full] / count[full] for column in (confidence, occurred)]
    return Reliability(
        count=tuple(count[full].tolist()),
        confidence=tuple(np.round(means[0], 5).tolist()),
        frequency=tuple(np.round(means[1], 5).tolist()),
    )


def _notes(
    metrics: Mapping[Key, Metric],
    targets: NDArray[np.bool_],
    classes: Sequence[str],
    support: Mapping[Key, int],
    resamples: int,
) -> Iterator[str]:
    for label, count in zip(classes, targets.sum(axis=0).tolist(), strict=True):
        if not count:
            yield f"no tested row is of class {label!r}: no recall, AUROC and AUPRC; averages over classes leave it out"
        elif count == len(targets) and len(classes) > 1:
            yield f"every tested row is of class {label!r}: AUROC is undefined"
    if not resamples:
        return
    keys = [("", name) for name in _OVERALL] + [(label, name) for label in classes for name in _PER_CLASS]
    known = [key for key in keys if key in metrics and metrics[key].value is not None and key != _CALIBRATION]
    few = sorted({support[key] for key in known if LEAST_GROUPS <= support[key] < MANY_GROUPS})
    if few:
        yield (
            f"intervals of metrics that rest on fewer than {MANY_GROUPS} patients or groups ({_counted(few)} here) are "
            "Student's t intervals: as wide as so few allow"
        )
    reasons = {
        f"fewer than {LEAST_GROUPS} patients or groups have rows of the class, or lack it": lambda key: (
            support[key] < LEAST_GROUPS
        ),
        "0 and 1 say nothing of their spread": lambda key: metrics[key].value in (0.0, 1.0),
        "undefined without some of the patients or groups, for want of a class": lambda key: True,
    }
    without = [key for key in known if metrics[key].low is None]
    for reason, holds in reasons.items():
        names = [f"{name} of {label!r}" if label else name for label, name in without if holds((label, name))]
        without = [key for key in without if not holds(key)]
        if names:
            yield f"no interval for {listed(names)}: {reason}"


def _counted(counts: Sequence[int]) -> str:
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _support(
    keys: Iterable[Key], targets: NDArray[np.bool_], group: NDArray[np.intp], classes: Sequence[str]
) -> dict[Key, int]:
    """On how many groups each metric rests: of one about a class, those that have it or those that lack it, whichever
    are fewer; of a mean over classes, as many as of the class with the fewest."""
    have, lack = (
        {label: count_groups(group, rows[:, k]) for k, label in enumerate(classes)} for rows in (targets, ~targets)
    )
    both = {label: min(have[label], lack[label]) for label in classes}
    fewest = min(filter(None, both.values()), default=0)
    of_name = {name: {"": int(group.max()) + 1} for name in _OF_ROWS} | {"recall": have, "specificity": lack}
    return {(label, name): of_name.get(name, both).get(label, fewest) for label, name in keys}
