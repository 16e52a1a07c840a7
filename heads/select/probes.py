"""Probes of how well an extractor tells classes apart: linear, k-NN, nearest class mean, few-shot."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from embedstore.errors import SplitError
from heads.config import SelectConfig, few_shot_name
from heads.examples import Examples
from heads.select.sample import spread_over_groups
from heads.splitting.splits import PART_NAMES, TEST, TRAIN
from heads.tasks import logit_columns
from heads.training.training import train

_BLOCK_ROWS = 1024


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeResult:
    """The result of a probe, row by row.

    Attributes:
        probe: Its name.
        truth: (n,) class of each row that was tested, -1 for the others.
        correct: (n,) 1 where a row was classified correctly, else 0; of several draws the share; 0 where not tested.
        probability: (n, K) of the linear probe, with balanced classes; None of other probes.
    """

    probe: str
    truth: NDArray[np.intp]
    correct: NDArray[np.float64]
    probability: NDArray[np.float64] | None = None


def run_probes(vectors: NDArray[np.floating], examples: Examples, config: SelectConfig) -> dict[str, ProbeResult]:
    """Run every probe, trained on the training part of each fold and tested on its test part.

    A few-shot probe is left out where the training part of a fold has fewer examples of a class.

    Args:
        vectors: (n, dim) of the examples, which are of one task whose classes exclude each other.
    Raises:
        SplitError: a part of a fold has no tile.
    """
    _require_parts(examples)
    classes = examples.targets[0].argmax(axis=1)
    tested = (examples.split.parts == TEST).any(axis=0)
    truth = np.where(tested, classes, -1)
    x = np.asarray(vectors, np.float32)
    probability = _linear(vectors, examples, config)
    correct = {
        "linear": (probability.argmax(axis=1) == classes).astype(np.float64),
        "knn": _knn(x, classes, examples, config.neighbours),
        "nearest_mean": _nearest_mean(x, classes, examples),
    }
    for shot in config.shots:
        drawn = draw_shots(examples, shot, config.draws, seed=config.seed)
        if drawn is not None:
            correct[few_shot_name(shot)] = _few_shot(x, classes, examples, drawn)
    return {
        name: ProbeResult(
            probe=name, truth=truth, correct=np.where(tested, rows, 0.0),
            probability=probability if name == "linear" else None,
        )
        for name, rows in correct.items()
    }  # fmt: skip


def _require_parts(examples: Examples) -> None:
    for name, parts in zip(examples.split.names, examples.split.parts, strict=True):
        for code, part in PART_NAMES.items():
            if not (parts == code).any():
                raise SplitError(
                    f"task {examples.tasks[0]!r}: the {part} part of {name} has no tile of the sample that could be "
                    "read; expected one or more; bring its slides back to where they were ingested from, or pass "
                    "fewer --folds"
                )


def _folds(examples: Examples) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
    """Each fold with the rows that it trains on and tests on."""
    for fold, parts in enumerate(examples.split.parts):
        yield fold, np.flatnonzero(parts == TRAIN), np.flatnonzero(parts == TEST)


def _linear(vectors: NDArray[np.floating], examples: Examples, config: SelectConfig) -> NDArray[np.float64]:
    """(n, K): logistic regression with balanced classes, its strength chosen on the validation parts."""
    trained = train(config.fit(), examples, vectors)
    best, k = trained.best_cell(0), len(examples.classes[0])
    probability = np.zeros((len(vectors), k))
    for fold, _, test in _folds(examples):
        ensemble = trained.ensemble(best, [fold], logit_columns(k, False))
        logits = trained.logits(ensemble, test)[0].astype(np.float64)
        probability[test] = (
            np.concatenate([expit(-logits), expit(logits)], axis=1) if k == 2 else softmax(logits, axis=1)
        )
    return probability


def _knn(x: NDArray[np.float32], classes: NDArray[np.intp], examples: Examples, neighbours: int) -> NDArray[np.float64]:
    """Nearest neighbours by cosine; votes weigh less where their class is frequent, and the nearest breaks ties."""
    unit, k = _unit(x), len(examples.classes[0])
    correct = np.zeros(len(x))
    for _, train_rows, test in _folds(examples):
        weight = 1 / np.maximum(np.bincount(classes[train_rows], minlength=k), 1)
        count = min(neighbours, len(train_rows))
        for start in range(0, len(test), _BLOCK_ROWS):
            rows = test[start : start + _BLOCK_ROWS]
            similar = unit[rows] @ unit[train_rows].T
            near = np.argpartition(-similar, count - 1, axis=1)[:, :count]
            neighbour_class = classes[train_rows[near]]
            votes = np.zeros((len(rows), k))
            for n in range(count):
                votes[np.arange(len(rows)), neighbour_class[:, n]] += weight[neighbour_class[:, n]]
            nearest = neighbour_class[np.arange(len(rows)), np.take_along_axis(similar, near, axis=1).argmax(axis=1)]
            votes[np.arange(len(rows)), nearest] *= 1 + 1e-9
            correct[rows] = votes.argmax(axis=1) == classes[rows]
    return correct


def _nearest_mean(x: NDArray[np.float32], classes: NDArray[np.intp], examples: Examples) -> NDArray[np.float64]:
    """Nearest class mean of centred vectors of length 1 (SimpleShot: Wang et al. 2019, arXiv 1911.04623)."""
    correct, k = np.zeros(len(x)), len(examples.classes[0])
    for _, train_rows, test in _folds(examples):
        unit = _unit(x - x[train_rows].mean(axis=0))
        means = np.full((k, x.shape[1]), np.inf, np.float32)
        for c in np.unique(classes[train_rows]):
            means[c] = unit[train_rows[classes[train_rows] == c]].mean(axis=0)
        correct[test] = nearest_of(unit[test], means[None])[:, 0] == classes[test]
    return correct


def _few_shot(
    x: NDArray[np.float32], classes: NDArray[np.intp], examples: Examples, drawn: list[NDArray[np.intp]]
) -> NDArray[np.float64]:
    """Nearest class mean as above, of a few examples; the share of draws that are right."""
    correct = np.zeros(len(x))
    for fold, train_rows, test in _folds(examples):
        unit = _unit(x - x[train_rows].mean(axis=0))
        means = unit[drawn[fold]].mean(axis=2)  # (draws, K, dim)
        correct[test] = (nearest_of(unit[test], means) == classes[test, None]).mean(axis=1)
    return correct


def draw_shots(examples: Examples, shot: int, draws: int, *, seed: int) -> list[NDArray[np.intp]] | None:
    """Training rows (draws, K, shot) of each fold, spread over patients; the same for every extractor.

    None where a class has fewer in the training part of a fold.
    """
    classes = examples.targets[0].argmax(axis=1)
    drawn = []
    for fold, train_rows, _ in _folds(examples):
        rng = np.random.default_rng([seed, fold, shot])
        rows_of = [train_rows[classes[train_rows] == c] for c in range(len(examples.classes[0]))]
        if min(map(len, rows_of)) < shot:
            return None
        drawn.append(
            np.stack([[spread_over_groups(rows, examples.group, rng)[:shot] for rows in rows_of] for _ in range(draws)])
        )
    return drawn


def nearest_of(x: NDArray[np.float32], means: NDArray[np.float32]) -> NDArray[np.intp]:
    """(n, draws): which of the means (draws, K, dim) is nearest to each x (n, dim); one that is not finite never is."""
    draws, k, dim = means.shape
    flat = means.reshape(-1, dim)
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(flat).all(axis=1))
    flat = np.where(finite[:, None], flat, 0)
    score = x @ flat.T - 0.5 * (flat * flat).sum(axis=1)
    return np.where(finite, score, -np.inf).reshape(-1, draws, k).argmax(axis=2)


def _unit(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
