"""From a trained grid to a head of each task: choose, calibrate, set the threshold, and measure on the test parts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from heads.augmentation.choice import choose_policy, squared_errors
from heads.config import FitConfig
from heads.evaluation.calibration import choose_threshold, decide, fit_temperature
from heads.evaluation.metrics import evaluate
from heads.evaluation.report import Report
from heads.examples import Examples
from heads.networks.ensemble import Ensemble
from heads.record import CellScore, MemberRecord, PolicyChoice
from heads.splitting.splits import TEST, TRAIN, VALID
from heads.tasks import is_binary, is_softmax, logit_columns
from heads.training.grid import TrainedGrid
from heads.training.problem import draw_chances


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluatedHead:
    """A task's head with its metrics.

    Attributes:
        ensemble: The networks of all folds and seeds, calibrated.
        positive: Of two classes, the one whose probability is thresholded.
        thresholds: (classes,).
        report: Metrics on the test parts of all folds, each predicted by the networks of its own fold.
        selection: The grid's cells with their mean validation scores.
        augmentation: Why its policy of augmentation was chosen, where the policies have to beat none by a margin.
        members: The record of each network.
    """

    ensemble: Ensemble
    positive: str | None
    thresholds: NDArray[np.float32]
    report: Report
    selection: tuple[CellScore, ...]
    members: tuple[MemberRecord, ...]
    augmentation: PolicyChoice | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Predictions:
    """Probabilities and targets (n, classes) of one part of a fold, and the indices (n,) of its examples."""

    probabilities: NDArray[np.float32]
    targets: NDArray[np.bool_]
    rows: NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, eq=False)
class _FoldResult:
    """A fold's networks, calibrated on its validation part, and what they predict of it."""

    ensemble: Ensemble
    members: list[MemberRecord]
    valid: _Predictions


def evaluate_head(config: FitConfig, examples: Examples, trained: TrainedGrid, task: int) -> EvaluatedHead:
    """Make a task's head from a trained grid.

    The cell with the best validation score, as the mean over folds and seeds, is kept; of several policies of
    augmentation that have to beat none by a margin, the cell of the one that `choose_policy` finds. Each fold's
    networks are calibrated on its validation part, which sets its threshold too, and measured on its test part. The
    head is the mean of all networks; its threshold is set on all validation parts together.
    """
    classes, multi_label = examples.classes[task], config.multi_label
    best, folds, choice = _choose(config, examples, trained, task)
    positive = (config.positive or classes[1]) if is_binary(len(classes), multi_label) else None

    def thresholds(of_folds: Sequence[int]) -> NDArray[np.float32]:
        valid = [folds[fold].valid for fold in of_folds]
        prior = _class_shares(config, examples, task, of_folds)
        probabilities = np.concatenate([part.probabilities for part in valid])
        targets = np.concatenate([part.targets for part in valid])
        return _thresholds(probabilities, targets, classes, multi_label=multi_label, positive=positive, prior=prior)

    tests = [_predict(config, examples, trained, task, fold.ensemble, f, TEST) for f, fold in enumerate(folds)]
    decisions = [
        decide(test.probabilities, thresholds([fold]), classes, multi_label, positive)
        for fold, test in enumerate(tests)
    ]
    report = evaluate(
        np.concatenate([test.probabilities for test in tests]),
        np.concatenate([test.targets for test in tests]),
        np.concatenate(decisions),
        np.concatenate([examples.group[test.rows] for test in tests]),
        classes=classes,
        multi_label=multi_label,
        positive=positive,
        resamples=config.bootstrap,
        seed=config.seed,
    )
    return EvaluatedHead(
        ensemble=Ensemble.concatenate([fold.ensemble for fold in folds]),
        positive=positive,
        thresholds=thresholds(range(len(folds))),
        report=report,
        selection=tuple(
            CellScore(parameters=trained.cells[cell].parameters, score=score, chosen=cell == best)
            for cell, score in trained.mean_scores(task).items()
        ),
        members=tuple(member for fold in folds for member in fold.members),
        augmentation=choice,
    )


def _choose(
    config: FitConfig, examples: Examples, trained: TrainedGrid, task: int
) -> tuple[int, list[_FoldResult], PolicyChoice | None]:
    """The cell of a task's head, its calibrated folds, and why its policy was chosen if a margin was asked for."""

    def calibrate(cell: int) -> list[_FoldResult]:
        folds = range(len(examples.split.parts))
        return [_calibrate_fold(config, examples, trained, task, cell, fold) for fold in folds]

    cells = trained.best_cells(task)
    if not config.augment_margin or len(cells) == 1:
        best = trained.best_cell(task)
        return best, calibrate(best), None
    found = {policy: calibrate(cell) for policy, cell in cells.items()}
    errors = {
        policy: np.concatenate(
            [squared_errors(f.valid.probabilities, f.valid.targets, config.multi_label) for f in folds]
        )
        for policy, folds in found.items()
    }
    group = np.concatenate([examples.group[fold.valid.rows] for fold in next(iter(found.values()))])
    choice = choose_policy(errors, group, config.augment_margin)
    return cells[choice.chosen], found[choice.chosen], choice


def _calibrate_fold(
    config: FitConfig, examples: Examples, trained: TrainedGrid, task: int, cell: int, fold: int
) -> _FoldResult:
    """The networks of a cell and fold, calibrated, and their predictions of the fold's validation part."""
    classes, multi_label, targets = len(examples.classes[task]), config.multi_label, examples.targets[task]
    columns = logit_columns(classes, multi_label)
    parts = np.where(examples.known[task], examples.split.parts[fold], -1)
    weights = np.asarray(trained.problem.weights, np.float64)[fold, task, :, :columns]
    if config.balanced_sampling:
        drawn = draw_chances(trained.problem.groups)[: len(targets)]
        weights = _sampling_weights(targets[parts == TRAIN], drawn[parts == TRAIN], is_binary(classes, multi_label))
    offset = -np.log(weights[1] if is_softmax(classes, multi_label) else weights[1] / weights[0])
    ensemble = trained.ensemble(cell, [fold], columns)
    ensemble = replace(ensemble, offset=np.tile(offset.astype(np.float32), (len(ensemble), 1)))
    if config.calibrate and (parts == VALID).any():
        rows = np.flatnonzero(parts == VALID)
        logits = trained.logits(ensemble, rows)[:, :, :columns]
        ensemble = replace(ensemble, temperature=_temperatures(ensemble, logits, targets[rows], multi_label))
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
    valid = _predict(config, examples, trained, task, ensemble, fold, VALID)
    return _FoldResult(ensemble=ensemble, members=members, valid=valid)


def _predict(
    config: FitConfig, examples: Examples, trained: TrainedGrid, task: int, ensemble: Ensemble, fold: int, part: int
) -> _Predictions:
    """What a fold's networks predict of one of its parts."""
    rows = np.flatnonzero(examples.known[task] & (examples.split.parts[fold] == part))
    logits = trained.logits(ensemble, rows)[:, :, : ensemble.offset.shape[1]]
    probabilities = ensemble.probabilities(logits, len(examples.classes[task]), config.multi_label)
    return _Predictions(probabilities=probabilities, targets=examples.targets[task][rows], rows=rows)


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


def _sampling_weights(targets: NDArray[np.bool_], drawn: NDArray[np.float64], binary: bool) -> NDArray[np.float64]:
    """(2, columns): weights of absence and presence that have the effect of how often rows were drawn.

    Args:
        targets: (n, classes) of the training rows.
        drawn: (n,) how often each was drawn, in any unit.
    """
    targets = targets[:, 1:] if binary else targets
    share = np.clip(targets.mean(axis=0), 1e-6, 1 - 1e-6)
    among_drawn = np.clip(drawn @ targets / drawn.sum(), 1e-6, 1 - 1e-6)
    return np.stack([(1 - among_drawn) / (1 - share), among_drawn / share])


def _class_shares(config: FitConfig, examples: Examples, task: int, folds: Sequence[int]) -> NDArray[np.float64]:
    """(classes,) shares of the classes among examples that some folds train on; ones where they were not weighed."""
    balanced = config.class_weights == "balanced" or config.balanced_sampling
    trained = (examples.split.parts[list(folds)] == TRAIN).any(axis=0) & examples.known[task]
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
