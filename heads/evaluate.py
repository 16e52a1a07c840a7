"""From a trained grid to a head of each task: choose, calibrate, set the threshold, and measure on the test parts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from heads.config import FitConfig
from heads.evaluation.calibration import choose_threshold, decide, fit_temperature
from heads.evaluation.metrics import evaluate
from heads.evaluation.report import Report
from heads.examples import Examples
from heads.networks.ensemble import Ensemble
from heads.record import CellScore, MemberRecord
from heads.splitting.splits import TEST, TRAIN, VALID
from heads.tasks import is_binary, is_softmax, logit_columns
from heads.training.grid import TrainedGrid


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluatedHead:
    """A task's head with its metrics.

    Attributes:
        ensemble: The networks of all folds and seeds, calibrated.
        positive: Of two classes, the one whose probability is thresholded.
        thresholds: (classes,).
        report: Metrics on the test parts of all folds, each predicted by the networks of its own fold.
        selection: The grid's cells with their mean validation scores.
        members: The record of each network.
    """

    ensemble: Ensemble
    positive: str | None
    thresholds: NDArray[np.float32]
    report: Report
    selection: tuple[CellScore, ...]
    members: tuple[MemberRecord, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Predictions:
    """Probabilities and targets (n, classes) of one part of a fold, and the indices (n,) of its examples."""

    probabilities: NDArray[np.float32]
    targets: NDArray[np.bool_]
    rows: NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, eq=False)
class _FoldResult:
    """A fold's networks, calibrated on its validation part, and what they predict."""

    ensemble: Ensemble
    members: list[MemberRecord]
    valid: _Predictions
    test: _Predictions


def evaluate_head(config: FitConfig, examples: Examples, trained: TrainedGrid, task: int) -> EvaluatedHead:
    """Make a task's head from a trained grid.

    The cell with the best validation score, as the mean over folds and seeds, is kept. Each fold's networks are
    calibrated on its validation part, which sets its threshold too, and measured on its test part. The head is the mean
    of all networks; its threshold is set on all validation parts together.
    """
    classes, multi_label = examples.classes[task], config.multi_label
    best = trained.best_cell(task)
    folds = [_calibrate_fold(config, examples, trained, task, best, fold) for fold in range(len(examples.split.parts))]
    positive = (config.positive or classes[1]) if is_binary(len(classes), multi_label) else None
    prior = _class_shares(config, examples, task)

    def thresholds(valid: Sequence[_Predictions]) -> NDArray[np.float32]:
        probabilities = np.concatenate([part.probabilities for part in valid])
        targets = np.concatenate([part.targets for part in valid])
        return _thresholds(probabilities, targets, classes, multi_label=multi_label, positive=positive, prior=prior)

    decisions = [
        decide(fold.test.probabilities, thresholds([fold.valid]), classes, multi_label, positive) for fold in folds
    ]
    report = evaluate(
        np.concatenate([fold.test.probabilities for fold in folds]),
        np.concatenate([fold.test.targets for fold in folds]),
        np.concatenate(decisions),
        np.concatenate([examples.group[fold.test.rows] for fold in folds]),
        classes=classes,
        multi_label=multi_label,
        positive=positive,
        resamples=config.bootstrap,
        seed=config.seed,
    )
    return EvaluatedHead(
        ensemble=Ensemble.concatenate([fold.ensemble for fold in folds]),
        positive=positive,
        thresholds=thresholds([fold.valid for fold in folds]),
        report=report,
        selection=tuple(
            CellScore(parameters=trained.cells[cell].parameters, score=score, chosen=cell == best)
            for cell, score in trained.mean_scores(task).items()
        ),
        members=tuple(member for fold in folds for member in fold.members),
    )


def _calibrate_fold(
    config: FitConfig, examples: Examples, trained: TrainedGrid, task: int, cell: int, fold: int
) -> _FoldResult:
    """The networks of a cell and fold, calibrated, and their predictions of the fold's validation and test parts."""
    classes, multi_label, targets = len(examples.classes[task]), config.multi_label, examples.targets[task]
    columns = logit_columns(classes, multi_label)
    parts = np.where(examples.known[task], examples.split.parts[fold], -1)
    weights = np.asarray(trained.problem.weights[fold, task, :, :columns], np.float64)
    if config.balanced_sampling:
        weights = _sampling_weights(targets[parts == TRAIN], is_binary(classes, multi_label))
    offset = -np.log(weights[1] if is_softmax(classes, multi_label) else weights[1] / weights[0])
    ensemble = trained.ensemble(cell, [fold], columns)
    ensemble = replace(ensemble, offset=np.tile(offset.astype(np.float32), (len(ensemble), 1)))
    rows = {part: np.flatnonzero(parts == part) for part in (VALID, TEST)}
    logits = {part: trained.logits(ensemble, rows[part])[:, :, :columns] for part in rows}
    if config.calibrate and len(rows[VALID]):
        temperatures = _temperatures(ensemble, logits[VALID], targets[rows[VALID]], multi_label)
        ensemble = replace(ensemble, temperature=temperatures)

    def predictions(part: int) -> _Predictions:
        probabilities = ensemble.probabilities(logits[part], classes, multi_label)
        return _Predictions(probabilities=probabilities, targets=targets[rows[part]], rows=rows[part])

    steps, scores = (trained.of_cell(a, cell)[:, fold] for a in (trained.best.best_step, trained.best.score))
    members = [
        MemberRecord(
            fold=examples.split.names[fold],
            seed=config.seed + s,
            best_step=int(steps[s]),
            score=float(scores[s]),
            temperature=float(ensemble.temperature[s]),
        )
        for s in range(trained.seeds)
    ]
    return _FoldResult(ensemble=ensemble, members=members, valid=predictions(VALID), test=predictions(TEST))


def _temperatures(
    ensemble: Ensemble, logits: NDArray[np.float32], targets: NDArray[np.bool_], multi_label: bool
) -> NDArray[np.float32]:
    """(M,) temperature of each network, from its logits (M, n, columns)."""
    temperatures = []
    for of_network, offset in zip(logits, ensemble.offset, strict=True):
        unweighted = of_network + offset
        if is_binary(targets.shape[1], multi_label):  # one column is the log-odds of the second class
            unweighted = np.concatenate([np.zeros_like(unweighted), unweighted], axis=1)
        temperatures.append(fit_temperature(unweighted, targets, multi_label=multi_label))
    return np.asarray(temperatures, np.float32)


def _sampling_weights(targets: NDArray[np.bool_], binary: bool) -> NDArray[np.float64]:
    """(2, columns): weights of absence and presence that have the effect of drawing classes equally often."""
    share = np.maximum(targets.mean(axis=0), 1e-6)
    if binary:
        share = share[1:]
    return np.stack([1 / np.maximum(1 - share, 1e-6), 1 / share])


def _class_shares(config: FitConfig, examples: Examples, task: int) -> NDArray[np.float64]:
    """(classes,) shares of the classes among the training examples; ones where classes were fitted unweighted."""
    balanced = config.class_weights == "balanced" or config.balanced_sampling
    trained = (examples.split.parts == TRAIN).any(axis=0) & examples.known[task]
    share = examples.targets[task][trained].mean(axis=0)
    return np.maximum(share, 1e-6) if balanced else np.ones(len(share))


def _thresholds(
    probabilities: NDArray[np.float32], targets: NDArray[np.bool_], classes: Sequence[str], *,
    multi_label: bool, positive: str | None, prior: NDArray[np.float64],
) -> NDArray[np.float32]:  # fmt: skip
    """(classes,) thresholds as `decide` takes them, from validation predictions.

    Two classes, and each class of a multi-label task: where F1 is highest. Three or more: their shares, if they were
    fitted with balanced weights, so that rare classes are detected as well as frequent ones.
    """
    if positive is not None:
        at = list(classes).index(positive)
        threshold = choose_threshold(probabilities[:, at], targets[:, at])
        return np.where(np.arange(2) == at, threshold, 1 - threshold).astype(np.float32)
    if multi_label:
        return np.array(
            [choose_threshold(*columns) for columns in zip(probabilities.T, targets.T, strict=True)], np.float32
        )
    return (prior / prior.max()).astype(np.float32)
