"""Does `suggest` teach faster? Labels that each strategy needs to reach the F1 of all labels, by simulated labelling.

    python benchmarks/active.py --data ../shared/data [--store FOLDER] [--seeds 10] [--only NAME …]

The pool is the training part of a task, whose labels are hidden. All strategies begin with the same random tiles of
both classes; in each round the strategy proposes a batch, its labels are shown, and a head is fitted: scikit-learn's
LogisticRegression with balanced classes (C = 0.01) on standardised vectors of the shared histology network, with the
threshold of the highest F1 of four folds of what is labelled. It is measured on the test part.

- PCam: 6,000 tiles, both classes as frequent; 20 a round. Also with 5 % of metastases in the pool and, by weights, in
  the test part: what a user meets who looks for a rare class.
- Mitosis: 794 tiles of atypical and normal mitoses, 20 a round, at most twice an even share of a patient.
- CAMELYON16: 89 tiles of four slides; each slide is the test part once, 5 a round.

`f1_labels` is where the mean curve over seeds first reaches 95 % of the F1 of all labels, `auroc_labels` the same of
the AUROC above a half, which no threshold makes noisy. A gain is the mean over all rounds less that of random choice,
seed by seed. Intervals (95 %) resample seeds. Rows go to results/active.csv.
"""

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small products: threads only wait for each other

import numpy as np
from at_hand import TASKS
from fit_head import kept
from measure import absolute_path, write_row
from numpy.typing import NDArray
from paper_grid import make_stores
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score

from embedstore.search.tile_sample import directions
from embedstore.store import Store, read_vectors
from heads.active.strategies import Pool, choose_first, choose_tiles, uncertainty_of
from heads.config import FitConfig, SplitConfig, Strategy
from heads.evaluation.calibration import choose_threshold
from heads.examples import gather_examples
from heads.splitting.splits import TEST

EXTRACTOR = "shufflenet-histology"
STRATEGIES: tuple[Strategy, ...] = (
    "random", "uncertain-diverse", "uncertainty", "typical", "diverse", "nearest-to-marks",
)  # fmt: skip
PCAM, MITOSIS, CAMELYON = TASKS
STRENGTH = 0.01
REACHED = 0.95  # of the F1 of all labels
RESAMPLES = 1000
SHARE = 2  # as `suggest` spreads over patients


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A simulation.

    Attributes:
        task: Of `TASKS`.
        batch: Labels a round.
        budget: Labels at most.
        rare: Share of the positive class in the pool and, by weights, in the test part; as it is when None.
    """

    task: str
    batch: int
    budget: int
    rare: float | None = None


SETTINGS = {
    "PCam": Setting(task=PCAM, batch=20, budget=300),
    "PCam, 5 %": Setting(task=PCAM, batch=20, budget=300, rare=0.05),
    "mitosis": Setting(task=MITOSIS, batch=20, budget=300),
    "CAMELYON16": Setting(task=CAMELYON, batch=5, budget=45),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Posed:
    """The tiles of a task: vectors (n, dim), truth (n,), patients (n,), and (pool, test) rows of each fold."""

    x: NDArray[np.float32]
    truth: NDArray[np.bool_]
    patient: NDArray[np.int32]
    folds: list[tuple[NDArray[np.intp], NDArray[np.intp]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One fold of one seed: the pool's vectors, standardised (z) and at length 1, and what the test part asks."""

    z: NDArray[np.float32]
    unit: NDArray[np.float32]
    truth: NDArray[np.bool_]
    patient: NDArray[np.int32]
    test_z: NDArray[np.float32]
    test_truth: NDArray[np.bool_]
    weight: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Said:
    """What a head says of a test part."""

    labels: int
    probability: NDArray[np.float64]
    decided: NDArray[np.bool_]


def pose(store: Store, task: str) -> Posed:
    collection = store.collection(store.collection_names()[0])
    split = SplitConfig(folds=4) if task == CAMELYON else SplitConfig(kind="given")
    examples = gather_examples(store, collection, [task], FitConfig(split=split))
    vectors = read_vectors(collection, examples.bags.rows, version=examples.version)
    return Posed(
        x=vectors.astype(np.float32),
        truth=examples.targets[0][:, examples.classes[0].index(TASKS[task][2])],
        patient=examples.group,
        folds=[(np.flatnonzero(part != TEST), np.flatnonzero(part == TEST)) for part in examples.split.parts],
    )


def parts(posed: Posed, setting: Setting, seed: int) -> Iterator[Part]:
    for fold, (pool, test) in enumerate(posed.folds):
        rng = np.random.default_rng([seed, fold])
        weight, truth = np.ones(len(test)), posed.truth
        if setting.rare is not None:
            odds = setting.rare / (1 - setting.rare)
            others, rare = pool[~truth[pool]], rng.permutation(pool[truth[pool]])
            pool = np.concatenate([others, rare[: round(odds * len(others))]])
            weight[truth[test]] = odds * (~truth[test]).sum() / truth[test].sum()
        pool = rng.permutation(pool)
        mean, std = posed.x[pool].mean(axis=0), posed.x[pool].std(axis=0) + 1e-6
        yield Part(
            z=(posed.x[pool] - mean) / std,
            unit=directions(posed.x[pool])[0],
            truth=truth[pool],
            patient=np.unique(posed.patient[pool], return_inverse=True)[1].astype(np.int32),
            test_z=(posed.x[test] - mean) / std,
            test_truth=truth[test],
            weight=weight,
        )


def label(part: Part, setting: Setting, strategy: Strategy, seed: int, *, first: Strategy = "random") -> Iterator[Said]:
    """The rounds of one simulation."""
    rng = np.random.default_rng(seed)
    n = len(part.truth)
    labelled = np.zeros(n, bool)
    order = rng.permutation(n)
    begin = choose(part, labelled, setting.batch, first, rng) if first != "random" else order[: setting.batch]
    labelled[begin] = True
    for row in order:  # a head needs both classes
        if len(np.unique(part.truth[labelled])) == 2:
            break
        labelled[row] = True
    while True:
        said, model = fit(part, labelled)
        yield said
        left = min(setting.batch, setting.budget - int(labelled.sum()), n - int(labelled.sum()))
        if left <= 0:
            return
        labelled[choose(part, labelled, left, strategy, rng, model)] = True


def choose(
    part: Part, labelled: NDArray[np.bool_], n: int, strategy: Strategy, rng: np.random.Generator,
    model: LogisticRegression | None = None,
) -> NDArray[np.intp]:  # fmt: skip
    rows = np.flatnonzero(~labelled)
    patient = part.patient[rows]
    most = int(np.ceil(SHARE * n / len(np.unique(patient))))
    if strategy == "nearest-to-marks":  # of the class that is looked for
        mean = part.unit[labelled & part.truth].mean(axis=0)
        near = np.argsort(-(part.unit[rows] @ mean), kind="stable")
        return rows[near[choose_first(n, patient[near], most)]]
    uncertainty = None if model is None else uncertainty_of(model.predict_proba(part.z[rows]), multi_label=False)
    pool = Pool(
        vectors=part.unit[rows], slide=np.zeros(len(rows), np.int32), patient=patient, marked=part.unit[labelled],
        uncertainty=uncertainty,
    )  # fmt: skip
    return rows[choose_tiles(pool, n, strategy, rng=rng, per_slide=n, per_patient=most)]


def fit(part: Part, labelled: NDArray[np.bool_]) -> tuple[Said, LogisticRegression]:
    z, truth = part.z[labelled], part.truth[labelled]
    model = _logistic(z, truth)
    probability = model.predict_proba(part.test_z)[:, 1]
    decided = probability >= _threshold(z, truth)
    return Said(labels=int(labelled.sum()), probability=probability, decided=decided), model


def _logistic(z: NDArray[np.float32], truth: NDArray[np.bool_]) -> LogisticRegression:
    return LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=500).fit(z, truth)


def _threshold(z: NDArray[np.float32], truth: NDArray[np.bool_]) -> float:
    """Of the highest F1 on four folds, or as many as the rarer class has tiles; 0.5 where it has one."""
    folds = min(4, int(truth.sum()), int((~truth).sum()))
    if folds < 2:
        return 0.5
    turn = np.empty(len(truth), np.int64)
    for of_class in (truth, ~truth):
        turn[of_class] = np.arange(of_class.sum()) % folds
    found = np.empty(len(truth))
    for fold in range(folds):
        found[turn == fold] = _logistic(z[turn != fold], truth[turn != fold]).predict_proba(z[turn == fold])[:, 1]
    return choose_threshold(found, truth)


def scores(tests: list[Part], said: list[Said]) -> tuple[float, float, float]:
    """Labels, F1 and AUROC over all folds of a round."""
    truth, weight = (np.concatenate([getattr(part, name) for part in tests]) for name in ("test_truth", "weight"))
    decided, probability = (
        np.concatenate([getattr(each, name) for each in said]) for name in ("decided", "probability")
    )
    labels = float(np.mean([each.labels for each in said]))
    return labels, f1_score(truth, decided, sample_weight=weight), roc_auc_score(truth, probability)


def curves(
    posed: Posed, setting: Setting, strategy: Strategy, seeds: int, *, first: Strategy = "random"
) -> NDArray[np.float64]:
    """(seeds, rounds, 3): labels, F1 and AUROC."""
    found = []
    for seed in range(seeds):
        tests = list(parts(posed, setting, seed))
        rounds = zip(*(label(part, setting, strategy, seed, first=first) for part in tests), strict=False)
        found.append([scores(tests, list(said)) for said in rounds])
    shortest = min(map(len, found))
    return np.array([curve[:shortest] for curve in found])


def of_all_labels(posed: Posed, setting: Setting, seeds: int) -> tuple[float, float]:
    """Mean F1 and AUROC where every tile of the pool is labelled."""
    found = []
    for seed in range(seeds if setting.rare is not None else 1):
        tests = list(parts(posed, setting, seed))
        found.append(scores(tests, [fit(part, np.ones(len(part.truth), bool))[0] for part in tests])[1:])
    f1, auroc = np.mean(found, axis=0)
    return float(f1), float(auroc)


def reached(curve: NDArray[np.float64], metric: int, target: float) -> float:
    """The labels at which a mean curve (rounds, 3) first has the value; infinite where it never has."""
    there = np.flatnonzero(curve[:, metric] >= target)
    return float(curve[there[0], 0]) if len(there) else np.inf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=absolute_path, default="../shared/data", help="folder of tiles/ and weights/")
    parser.add_argument("--store", type=absolute_path, help="folder to keep stores in; a temporary one by default")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", action="append", choices=list(SETTINGS), default=[], help="one of the simulations")
    args = parser.parse_args()
    with kept(args.store) as folder:
        stores = make_stores(args.data, folder, 0, extractors=(EXTRACTOR,), viewed=())
        for name in args.only or SETTINGS:
            setting = SETTINGS[name]
            compare(name, pose(stores[setting.task], setting.task), setting, args.seeds)


def compare(name: str, posed: Posed, setting: Setting, seeds: int) -> None:
    """A row for each strategy."""
    of_all = of_all_labels(posed, setting, seeds)
    targets = REACHED * of_all[0], 0.5 + REACHED * (of_all[1] - 0.5)
    draws = np.random.default_rng(0).integers(0, seeds, (RESAMPLES, seeds))
    base = curves(posed, setting, "random", seeds)
    for strategy in (*STRATEGIES, "typical, first round"):
        if strategy == "random":
            found = base
        elif strategy in STRATEGIES:
            found = curves(posed, setting, strategy, seeds)
        else:
            found = curves(posed, replace(setting, budget=0), "random", seeds, first="typical")
        rounds = min(found.shape[1], base.shape[1])
        gains = (found[:, :rounds] - base[:, :rounds]).mean(axis=1)
        row: dict[str, Any] = {
            "data": name, "strategy": strategy, "seeds": seeds, "batch": setting.batch, "budget": setting.budget
        }  # fmt: skip
        for i, metric in enumerate(("f1", "auroc"), start=1):
            target = targets[i - 1]
            needed = [reached(found[draw].mean(axis=0), i, target) for draw in draws]
            low, high = np.percentile(gains[draws, i].mean(axis=1), (2.5, 97.5))
            row |= {
                f"{metric}_of_all": round(of_all[i - 1], 3),
                f"{metric}_first": round(found[:, 0, i].mean(), 3),
                f"{metric}_last": round(found[:, -1, i].mean(), 3),
                f"{metric}_labels": reached(found.mean(axis=0), i, target),
                f"{metric}_labels_low": np.percentile(needed, 2.5, method="nearest"),
                f"{metric}_labels_high": np.percentile(needed, 97.5, method="nearest"),
                f"{metric}_gain": round(gains[:, i].mean(), 4),
                f"{metric}_gain_low": round(low, 4),
                f"{metric}_gain_high": round(high, 4),
            }
        write_row("active", row)


if __name__ == "__main__":
    main()
