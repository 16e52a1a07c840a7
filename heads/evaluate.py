"""From a trained grid to a head of each task: choose, calibrate, set the threshold, and measure on the test parts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from heads.config import FitConfig
from heads.evaluation.calibration import choose_threshold, decide, fit_temperature
from heads.evaluation.metrics import evaluate
from heads.evaluation.report import Report
from heads.examples import Examples
from heads.networks.ensemble import Ensemble
from heads.splitting.splits import TEST, TRAIN, VALID
from heads.tasks import is_binary, is_softmax, logit_columns
from heads.training.grid import TrainedGrid


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluatedHead:
    """A task's head, and how it does.

    Attributes:
        members: All folds' and seeds' networks, calibrated.
        positive: Of two classes, the one that is thresholded.
        thresholds: (classes,).
        report: On the test parts of all folds, each judged by the members that saw nothing of it.
        selection: The grid's cells with their mean validation scores.
        member_records: Fold, seed, best step, temperature and score of each member.
    """

    ensemble: Ensemble
    positive: str | None
    thresholds: NDArray[np.float32]
    report: Report
    selection: list[dict[str, Any]]
    member_records: list[dict[str, Any]]


def evaluate_head(config: FitConfig, examples: Examples, trained: TrainedGrid, task: int) -> EvaluatedHead:
    """Make a task's head of a trained grid.

    The cell with the best validation score, as the mean over folds and seeds, is kept. Each fold's members are
    calibrated on its validation part, which sets its threshold too; what is measured on its test part has seen neither.
    The head is the mean of all members, its threshold is set on all validation parts together.
    """
    classes, several = examples.classes[task], config.multi_label
    scores = trained.scores(task)
    means = {cell: float(np.mean(found)) for cell, found in scores.items()}
    best = min(means, key=lambda cell: (means[cell], cell))
    folds = [_Fold(config, examples, trained, task, best, f) for f in range(len(examples.split.parts))]
    positive = (config.positive or classes[1]) if is_binary(len(classes), several) else None
    prior = _prior(config, examples, task)
    valid = [fold.answers(VALID) for fold in folds]
    tests = [(fold, *fold.answers(TEST)) for fold in folds]
    decisions = [
        decide(found, _thresholds(config, classes, positive, prior, *said), classes, several, positive)
        for (_, found, _, _), said in zip(tests, valid, strict=True)
    ]
    report = evaluate(
        np.concatenate([found for _, found, _, _ in tests]),
        np.concatenate([truth for _, _, truth, _ in tests]),
        np.concatenate(decisions),
        np.concatenate([examples.group[rows] for *_, rows in tests]),
        classes=classes, multi_label=several, positive=positive, resamples=config.bootstrap, seed=config.seed,
    )  # fmt: skip
    together = tuple(np.concatenate(arrays) for arrays in zip(*valid, strict=True))
    ensemble = _joined([fold.ensemble for fold in folds])
    return EvaluatedHead(
        ensemble=ensemble,
        positive=positive,
        thresholds=_thresholds(config, classes, positive, prior, *together),
        report=report,
        selection=[
            {**{k: v for k, v in trained.cells[cell].items() if k != "task"}, "score": mean, "chosen": cell == best}
            for cell, mean in means.items()
        ],
        member_records=[record for f, fold in enumerate(folds) for record in fold.records(f)],
    )


class _Fold:
    """A fold's members of the chosen cell, calibrated on its validation part."""

    def __init__(self, config: FitConfig, examples: Examples, trained: TrainedGrid, task: int, cell: int, fold: int):
        self._examples, self._trained, self._task, self._cell = examples, trained, task, cell
        self._name = examples.split.names[fold]
        self._seeds = range(config.seed, config.seed + trained.seeds)
        self._parts = np.where(examples.known[task], examples.split.parts[fold], -1)
        classes, several = examples.classes[task], config.multi_label
        self._softmax, self._binary = is_softmax(len(classes), several), is_binary(len(classes), several)
        columns = logit_columns(len(classes), several)
        ensemble = trained.ensemble(cell, [fold], columns)
        weights = np.asarray(trained.problem.weights[fold, task, :, :columns], np.float64)
        if config.balanced_sampling:
            weights = _sampling_weights(examples.targets[task][self._parts == TRAIN], self._binary)
        offset = -np.log(weights[1]) if self._softmax else -np.log(weights[1] / weights[0])
        ensemble = replace(ensemble, offset=np.tile(offset.astype(np.float32), (len(ensemble), 1)))
        self._logits = {part: self._network_logits(ensemble, part) for part in (VALID, TEST)}
        self.ensemble = replace(
            ensemble, temperature=self._temperatures(ensemble) if config.calibrate else ensemble.temperature
        )
        self._fold = fold

    def _rows(self, part: int) -> NDArray[np.intp]:
        return np.flatnonzero(self._parts == part)

    def _network_logits(self, ensemble: Ensemble, part: int) -> NDArray[np.float32]:
        return self._trained.logits(ensemble, self._rows(part))[:, :, : ensemble.offset.shape[1]]

    def _temperatures(self, ensemble: Ensemble) -> NDArray[np.float32]:
        truth = self._examples.targets[self._task][self._rows(VALID)]
        if not len(truth):
            return ensemble.temperature
        found = []
        for logits, offset in zip(self._logits[VALID], ensemble.offset, strict=True):
            settled = logits + offset
            if self._binary:  # one column is the log-odds of the second class
                settled = np.concatenate([np.zeros_like(settled), settled], axis=1)
            found.append(fit_temperature(settled, truth, multi_label=not (self._softmax or self._binary)))
        return np.asarray(found, np.float32)

    def answers(self, part: int) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.intp]]:
        """Probabilities and truth (n, classes) of a part, and its rows."""
        rows = self._rows(part)
        found = self.ensemble.probabilities(self._logits[part], softmax=self._softmax, binary=self._binary)
        return found, self._examples.targets[self._task][rows], rows

    def records(self, fold: int) -> list[dict[str, Any]]:
        trained, fitted = self._trained, self._trained.fitted
        steps, scores = (trained.of_cell(a, self._cell)[:, fold] for a in (fitted.best_step, fitted.score))
        return [
            {
                "fold": self._name,
                "seed": int(seed),
                "best_step": int(steps[s]),
                "score": float(scores[s]),
                "temperature": float(self.ensemble.temperature[s]),
            }
            for s, seed in enumerate(self._seeds)
        ]


def _sampling_weights(truth: NDArray[np.bool_], binary: bool) -> NDArray[np.float64]:
    """What drawing classes equally often amounts to, as weights of absence and presence by column."""
    share = np.maximum(truth.mean(axis=0), 1e-6)
    if binary:
        share = share[1:]
    return np.stack([1 / np.maximum(1 - share, 1e-6), 1 / share])


def _prior(config: FitConfig, examples: Examples, task: int) -> NDArray[np.float64]:
    """Shares of the classes among what is trained on, or ones where classes were fitted as they come."""
    balanced = config.class_weights == "balanced" or config.balanced_sampling
    trained = (examples.split.parts == TRAIN).any(axis=0) & examples.known[task]
    share = examples.targets[task][trained].mean(axis=0)
    return np.maximum(share, 1e-6) if balanced else np.ones(len(share))


def _thresholds(
    config: FitConfig, classes: Sequence[str], positive: str | None, prior: NDArray[np.float64],
    found: NDArray[np.float32], truth: NDArray[np.bool_], rows: NDArray[np.intp],
) -> NDArray[np.float32]:  # fmt: skip
    """Thresholds as `decide` takes them, from validation answers.

    Two classes, and each of several: where F1 is highest. Three or more: their shares where they were weighed against
    their frequency, so that the rare are found as well as the frequent.
    """
    if positive is not None:
        at = list(classes).index(positive)
        threshold = choose_threshold(found[:, at], truth[:, at])
        return np.where(np.arange(2) == at, threshold, 1 - threshold).astype(np.float32)
    if config.multi_label:
        return np.array([choose_threshold(found[:, k], truth[:, k]) for k in range(len(classes))], np.float32)
    return (prior / prior.max()).astype(np.float32)


def _joined(folds: Sequence[Ensemble]) -> Ensemble:
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(fold, name) for fold in folds])
        for name in ("shift", "scale", "offset", "temperature")
    }
    arrays["parameters"] = jax.tree.map(lambda *a: np.concatenate(a), *[fold.parameters for fold in folds])
    return replace(folds[0], **arrays)
