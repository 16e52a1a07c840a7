"""How good heads are: `fit_heads` beside scikit-learn's LogisticRegression on the same vectors and splits."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from at_hand import REFERENCE, TASKS, recipe
from measure import run_measured, write_row
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss, roc_auc_score
from sklearn.preprocessing import StandardScaler

from embedstore.store import Collection, Store, StoredHead, read_vectors
from heads.config import FitConfig, SplitConfig
from heads.evaluation.bootstrap import interval, resample
from heads.evaluation.calibration import choose_threshold
from heads.evaluation.metrics import evaluate
from heads.examples import gather_examples
from heads.fit import fit_heads
from heads.head import Head
from heads.record import HeadRecord
from heads.splitting.splits import TEST, TRAIN, VALID

HERE = Path(__file__).resolve().parent
#: The default heads, and what else a user would try first.
HEADS: dict[str, dict[str, Any]] = {
    "linear": {},
    "linear, adamw": {"optimizer": "adamw"},
    "mlp": {"model": "mlp"},
}
#: The grid that `fit-head` has, and two strengths more on either side.
STRENGTHS = (1e-7, 1e-6, *FitConfig().c, 10.0, 100.0)
RESAMPLES = 1000


@dataclass(frozen=True, kw_only=True)
class Posed:
    """A task on a collection.

    Attributes:
        x: (n, dim) float32, as stored.
        truth: (n,) bool: of the positive class.
        part: (n,) of TRAIN, VALID, TEST.
        group: (n,) patient of each tile; each tile its own where none is known.
    """

    x: np.ndarray
    truth: np.ndarray
    part: np.ndarray
    group: np.ndarray

    def of(self, part: int) -> tuple[np.ndarray, np.ndarray]:
        return self.x[self.part == part], self.truth[self.part == part]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Probability of the positive class, and the decision, of each row of a part."""

    probability: np.ndarray
    decision: np.ndarray


def stores(data: Path, folder: Path, tasks: list[str]) -> Iterator[tuple[str, Store]]:
    """A store for each task, made in a folder unless it is there, with stain-texture and the two shared networks."""
    config = recipe(data, folder / "extractors.toml", ("stain-texture", REFERENCE, "shufflenet-histology"))
    for task in tasks:
        if not (folder / task).exists():
            tile_px, mpp, _ = TASKS[task]
            command = [
                sys.executable, "-m", "cli.main", "ingest", str(data.resolve() / "tiles" / task),
                "--store", str(folder / task), "--config", str(config), "--in-process",
                "--tile-px", str(tile_px), "--tile-mpp", str(mpp), "--mpp", str(mpp),
            ]  # fmt: skip
            if (usage := run_measured(command, cwd=str(HERE.parent))).returncode:
                raise SystemExit(f"ingest of {task} ended with {usage.returncode}: {usage.stdout}")
        yield task, Store.open(folder / task)


def pose_task(store: Store, collection: Collection, task: str, config: FitConfig) -> Posed:
    """What `fit_heads` fits: the same rows in the same parts."""
    examples = gather_examples(store, collection, [task], config)
    positive = examples.classes[0].index(config.positive or "")
    return Posed(
        x=read_vectors(collection, examples.bags.rows, version=examples.version).astype(np.float32),
        truth=examples.targets[0][:, positive],
        part=examples.split.parts[0],
        group=examples.group,
    )


def quality(data: Path, folder: Path, tasks: list[str], heads: list[str]) -> None:
    """A row for each task, extractor and head."""
    for task, store in stores(data, folder, tasks):
        for name in store.collection_names():
            collection, positive = store.collection(name), TASKS[task][2]
            split = SplitConfig(kind="given")
            posed = pose_task(store, collection, task, FitConfig(split=split, positive=positive))
            about = {
                "task": task,
                "extractor": collection.extractor().name,
                "dim": collection.dim,
                "train": int((posed.part == TRAIN).sum()),
                "valid": int((posed.part == VALID).sum()),
                "test": int((posed.part == TEST).sum()),
                "test_groups": len(np.unique(posed.group[posed.part == TEST])),
            }
            theirs, reference = scikit_learn(posed)
            for head in heads:
                config = FitConfig(split=split, positive=positive, **HEADS[head])
                took = []
                for _ in range(2):  # the first compiles
                    began = time.perf_counter()
                    stored = fit_heads(store, collection, [task], config, names=["benchmark"], replace_heads=True)[0]
                    took.append(time.perf_counter() - began)
                ours = answer_of(stored, posed)
                record = HeadRecord.from_record(stored.record)
                row = {
                    "head": head,
                    "optimizer": record.optimizer,
                    "chosen": " ".join(f"{k}={v:g}" for k, v in record.chosen.parameters.items() if k != "augment"),
                    "first_s": round(took[0], 2),
                    "second_s": round(took[1], 2),
                    "f1": str(record.report.metrics["f1"]),
                    "auroc": str(record.report.metrics["auroc"]),
                }
                write_row("fit_head_quality", about | row | reference | differences(posed, ours, theirs))
            store.heads.remove("benchmark")


def answer_of(stored: StoredHead, posed: Posed, part: int = TEST) -> Answer:
    """What a stored head says of the rows of a part."""
    head = Head.from_stored(stored)
    found = head.probabilities(posed.of(part)[0].astype(np.float16))
    at = head.classes.index(head.positive or "")
    return Answer(probability=found[:, at], decision=head.decide(found)[:, at])


def scikit_learn(posed: Posed) -> tuple[Answer, dict[str, Any]]:
    """LogisticRegression with balanced classes on standardised vectors, C chosen by the balanced validation loss.

    The threshold is the one of the highest F1 on the validation part, by the rule that heads have theirs from.
    """
    began = time.perf_counter()
    (train, truth), (valid, valid_truth), (test, test_truth) = (posed.of(part) for part in (TRAIN, VALID, TEST))
    scaler = StandardScaler().fit(train)
    share = valid_truth.mean()
    weight = np.where(valid_truth, 0.5 / share, 0.5 / (1 - share))
    best, model = np.inf, None
    for strength in STRENGTHS:
        tried = LogisticRegression(C=strength, class_weight="balanced", max_iter=5000)
        tried.fit(scaler.transform(train), truth)
        loss = log_loss(valid_truth, tried.predict_proba(scaler.transform(valid)), sample_weight=weight)
        if loss < best:
            best, model = loss, tried
    assert model is not None
    threshold = choose_threshold(model.predict_proba(scaler.transform(valid))[:, 1], valid_truth)
    found = model.predict_proba(scaler.transform(test))
    took = time.perf_counter() - began
    decision = found[:, 1] >= threshold
    report = evaluate(
        found, np.stack([~test_truth, test_truth], axis=1), np.stack([~decision, decision], axis=1),
        posed.group[posed.part == TEST], classes=["no", "yes"], multi_label=False, positive="yes",
        resamples=RESAMPLES, seed=0,
    )  # fmt: skip
    row = {
        "sklearn_c": f"{model.C:g}",
        "sklearn_s": round(took, 2),
        "sklearn_f1": str(report.metrics["f1"]),
        "sklearn_auroc": str(report.metrics["auroc"]),
    }
    return Answer(probability=found[:, 1], decision=decision), row


def differences(posed: Posed, ours: Answer, theirs: Answer) -> dict[str, Any]:
    """Ours less theirs on the test rows, with 95 % intervals of resampling patients, the same for both sides.

    `no_worse`: neither interval lies wholly below 0.
    """
    _, truth = posed.of(TEST)
    codes, group = np.unique(posed.group[posed.part == TEST], return_inverse=True)
    counts = np.concatenate(list(resample(len(codes), resamples=RESAMPLES, seed=0)))
    row: dict[str, Any] = {}
    no_worse = True
    kinds: tuple[tuple[str, Callable[[Answer], np.ndarray], Callable[..., float]], ...] = (
        ("f1", lambda answer: answer.decision, lambda t, y, w: f1_score(t, y, sample_weight=w, zero_division=0)),
        ("auroc", lambda answer: answer.probability, lambda t, y, w: roc_auc_score(t, y, sample_weight=w)),
    )
    for name, said, metric in kinds:
        drawn = [each[group] for each in counts if 0 < each[group] @ truth < each[group].sum()]
        samples = np.array([metric(truth, said(ours), w) - metric(truth, said(theirs), w) for w in drawn])
        low, high = interval(samples) or (np.nan, np.nan)
        value = metric(truth, said(ours), None) - metric(truth, said(theirs), None)
        row[f"{name}_difference"] = f"{value:+.4f} [{low:+.4f}, {high:+.4f}]"
        no_worse &= high >= 0
    return row | {"no_worse": no_worse}
