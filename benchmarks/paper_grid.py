"""Heads on every extractor × label budget × augmentation: what each says of the test tiles, seed by seed."""

import shutil
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from at_hand import TARGETS, TASKS, recipe
from measure import run_measured
from numpy.typing import NDArray
from scipy.special import expit
from stain_texture import read_labels

from embedstore.store import Collection as Stored
from embedstore.store import Label, Store
from heads.augmentation.augmenter_fit import fit_augmenter
from heads.augmentation.augmenter_record import AugmenterRecord
from heads.augmentation.policies import ARITHMETIC, BOTH, DRAWS, LEARNED, MAX_LBFGS_VECTORS, NONE, VIEWS
from heads.config import AugmentConfig, AugmenterConfig, FitConfig, SplitConfig
from heads.evaluation.calibration import choose_threshold
from heads.examples import Examples, gather_examples
from heads.splitting.splits import TEST, TRAIN, VALID, Split
from heads.training.grid import TrainedGrid
from heads.training.training import train
from heads.training.training_data import TrainingData, gather_training_data

HERE = Path(__file__).resolve().parent
BUDGETS = (25, 100, 500, 0)


@dataclass(frozen=True, kw_only=True)
class Family:
    """A way to augment.

    Attributes:
        fit: Of `FITS`.
        policies: Among these validation chooses; where there are none, it is the one of most copies for so many labels.
        base: The family that it is compared with.
    """

    fit: str
    policies: tuple[AugmentConfig, ...] = ()
    base: str = "none"


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A fit of several heads at once.

    Attributes:
        model: Of the heads.
        optimizer: AdamW draws what L-BFGS takes as copies.
        beside: Views lie beside the vectors.
        policies: An axis of the grid.
    """

    model: Literal["linear", "mlp"] = "linear"
    optimizer: Literal["lbfgs", "adamw"]
    beside: bool = False
    policies: tuple[AugmentConfig, ...] = (NONE,)


FITS = {
    "plain": Fit(optimizer="lbfgs"),
    "copies": Fit(optimizer="lbfgs", beside=True, policies=(NONE, VIEWS, LEARNED, BOTH)),
    "learned": Fit(optimizer="lbfgs", policies=(LEARNED,)),
    "drawn": Fit(optimizer="adamw", policies=(NONE, *ARITHMETIC)),
    "drawn views": Fit(optimizer="adamw", beside=True, policies=(VIEWS,)),
    "mlp": Fit(model="mlp", optimizer="adamw"),
    "mlp drawn": Fit(model="mlp", optimizer="adamw", beside=True, policies=(VIEWS, BOTH)),
}
#: 'always' takes both, or with many labels views, without a question.
FAMILIES = {
    "none": Family(fit="plain", policies=(NONE,)),
    "always": Family(fit="copies"),
    "views": Family(fit="copies", policies=(VIEWS,)),
    "learned": Family(fit="learned", policies=(LEARNED,)),
    "both": Family(fit="copies", policies=(BOTH,)),
    "search": Family(fit="copies", policies=(NONE, VIEWS, LEARNED, BOTH)),
    "none, drawn": Family(fit="drawn", policies=(NONE,)),
    "arithmetic": Family(fit="drawn", policies=(NONE, *ARITHMETIC), base="none, drawn"),
    "views, drawn": Family(fit="drawn views", policies=(VIEWS,), base="none, drawn"),
}
MLP_FAMILIES = {
    "none, mlp": Family(fit="mlp", policies=(NONE,), base="none, mlp"),
    "views, mlp": Family(fit="mlp drawn", policies=(VIEWS,), base="none, mlp"),
    "both, mlp": Family(fit="mlp drawn", policies=(BOTH,), base="none, mlp"),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """What heads of one task, extractor, budget and family say of the test tiles.

    Attributes:
        decided: (seeds, n) bool: of the positive class.
        score: (seeds, n) float32: its logit.
        truth: (n,) bool; group: (n,) patient of each tile, its own where none is known.
        chosen: The augmentation that each seed's validation tiles chose.
    """

    task: str
    extractor: str
    budget: int
    family: str
    decided: NDArray[np.bool_]
    score: NDArray[np.float32]
    truth: NDArray[np.bool_]
    group: NDArray[np.intp]
    chosen: tuple[str, ...]


def make_stores(
    data: Path, folder: Path, views: int, *, tasks: Collection[str] = tuple(TASKS), extractors: Collection[str] = (),
    viewed: Collection[str] = TARGETS,
) -> dict[str, Store]:  # fmt: skip
    """A store a task, made unless it is there: extractors at hand, in one pass over the tiles with their views.

    The parts of a task are slides of their own, so that an augmenter can be kept from the test tiles.
    """
    made = {}
    for task in tasks:
        tile_px, mpp, _ = TASKS[task]
        place = folder / task
        if not place.exists():
            config = recipe(data, folder / "extractors.toml", extractors)
            parts = [str(part) for part in _parted(data / "tiles" / task, folder / "tiles" / task)]
            command = [
                sys.executable, "-m", "cli.main", "ingest", *parts, "--store", str(place), "--config", str(config),
                "--in-process", "--tile-px", str(tile_px), "--tile-mpp", str(mpp), "--mpp", str(mpp),
                *(["--views", str(views)] if task in viewed else []),
            ]  # fmt: skip
            usage = run_measured(command, cwd=str(HERE.parent))
            if usage.returncode:
                shutil.rmtree(place, ignore_errors=True)
                raise SystemExit(f"ingest of {task} ended with {usage.returncode}: {usage.stdout}")
            print(f"{task}: ingested in {usage.wall_s:.0f} s, {usage.cpu_s:.0f} CPU-s", flush=True)
        made[task] = Store.open(place)
        _label(made[task], task, folder / "tiles" / task)
    return made


def _label(store: Store, task: str, folder: Path) -> None:
    """One task over all parts: a folder's own labels are a task of its own. Writing them again changes nothing."""
    store.labels.record(
        [
            Label(task=task, label=row["label"], slide_id=part.name, name=row["file"], split=row["split"],
                  patient=row["group"] or None, author="labels.csv", source=f"{part.name}/labels.csv")
            for part in folder.iterdir()
            for row in read_labels(part)
        ]
    )  # fmt: skip


def _parted(tiles: Path, folder: Path) -> Iterator[Path]:
    """A folder a part, of links to its tiles, with its own labels.csv."""
    rows = read_labels(tiles)
    for part in dict.fromkeys(row["split"] for row in rows):
        place = folder / part
        place.mkdir(parents=True, exist_ok=True)
        lines = ["file,label,split,group"]
        for number, row in enumerate(row for row in rows if row["split"] == part):
            link = place / f"{number:05}{Path(row['file']).suffix}"
            if not link.exists():
                link.symlink_to((tiles / row["file"]).resolve())
            lines.append(f"{link.name},{row['label']},{part},{row['group']}")
        (place / "labels.csv").write_text("\n".join(lines) + "\n")
        yield place


def fit_augmenters(store: Store, config: AugmenterConfig) -> Iterator[dict[str, Any]]:
    """A latent augmenter for each collection, from tiles that are not tested on; a row each on how good it is.

    One that predicts no better than the tile's own vector is kept all the same: what it brings is measured too.
    """
    for name in store.collection_names():
        collection = store.collection(name)
        if name not in store.augmenters.names():
            fit_augmenter(store, collection, config, name=name, where="slide_id <> 'test'", force=True)
        record = AugmenterRecord.from_record(store.augmenters.get(name).record)
        scores = record.report.scores["all"]
        yield {
            "extractor": record.extractor.name,
            "tiles": record.tiles,
            "seconds": round(sum(record.seconds.values()), 1),
            **{
                kind: str(getattr(scores, kind))
                for kind in ("predicted", "original", "gain", "transform_gain", "explained")
            },
            "beats_original": record["beats_original"],
        }


def answers_of(
    store: Store, task: str, name: str, budgets: Sequence[int], seeds: int, families: Mapping[str, Family]
) -> list[Answers]:
    """A collection, that is an extractor, budget by budget, family by family.

    Budgets that a class cannot fill are left out: they would be 'all', and the same for every seed.
    """
    collection = store.collection(name)
    config = replace(
        FitConfig(), split=SplitConfig(kind="given"), positive=TASKS[task][2], augment=(BOTH,), augmenter=name
    )
    examples, found = gather_examples(store, collection, [task], config), list[Answers]()
    with tempfile.TemporaryDirectory() as scratch:
        material = gather_training_data(store, collection, examples, config, Path(scratch))
        given = examples.targets[0][examples.split.parts[0] == TRAIN].sum(axis=0).min()
        for budget in (budget for budget in budgets if budget <= given):
            began = time.perf_counter()
            found += _answers(collection, task, examples, material, config, budget, seeds, families)
            print(f"{task} {name} {budget or 'all'}: {time.perf_counter() - began:.0f} s", flush=True)
    return found


def _answers(
    collection: Stored, task: str, examples: Examples, material: TrainingData, config: FitConfig, budget: int,
    seeds: int, families: Mapping[str, Family],
) -> Iterator[Answers]:  # fmt: skip
    """Seeds are folds of one fit: they share batches, and each looks at its own tiles alone."""
    positive = examples.classes[0].index(TASKS[task][2])
    truth = examples.targets[0][:, positive]
    if positive != 1:
        config = replace(config, classes=examples.classes[0][::-1])
        examples = replace(examples, classes=(examples.classes[0][::-1],), targets=(examples.targets[0][:, ::-1],))
    parts = examples.split.parts[0]
    drawn = _draw(parts, truth, budget, seeds)
    rows = np.flatnonzero((drawn != TEST).any(axis=0) & (drawn >= 0).any(axis=0))
    names = tuple(f"seed {seed}" for seed in range(len(drawn)))
    used = replace(examples.take(rows), split=Split(parts=drawn[:, rows], names=names))
    vectors = material.vectors[rows]
    fits = {}
    for name in dict.fromkeys(family.fit for family in families.values()):
        fit = FITS[name]
        own = replace(config, model=fit.model, optimizer=fit.optimizer, augment=fit.policies, augmenter=None)
        fits[name] = train(own, used, vectors if fit.beside else vectors[:, 0], augmenter=material.augmenter)
    first = material.vectors[:, 0]
    tests = np.flatnonzero(parts == TEST)
    extractor = collection.extractor().name
    _, group = np.unique(examples.group[tests], return_inverse=True)
    stored = vectors.shape[1]
    always = BOTH if len(rows) * (stored + DRAWS) <= MAX_LBFGS_VECTORS else VIEWS
    for name, family in families.items():
        fitted, allowed = fits[family.fit], family.policies or (always,)
        decided, logits, chosen = [], [], []
        for fold, own in enumerate(drawn):
            valid = np.flatnonzero(own == VALID)
            cell, policy = _best(fitted, allowed, FITS[family.fit].policies, fold)
            ensemble = fitted.ensemble(cell, [fold], 1)
            of_valid, of_test = (ensemble.logits(first[at])[0, :, 0] for at in (valid, tests))
            decided.append(expit(of_test) >= choose_threshold(expit(of_valid), truth[valid]))
            logits.append(of_test)
            chosen.append(policy)
        yield Answers(
            task=task, extractor=extractor, budget=budget, family=name, decided=np.stack(decided),
            score=np.stack(logits), truth=truth[tests], group=group, chosen=tuple(chosen),
        )  # fmt: skip


def _draw(parts: NDArray[np.int8], truth: NDArray[np.bool_], budget: int, seeds: int) -> NDArray[np.int8]:
    """Parts (seeds, n): for each seed so many tiles a class to train on, and as many to validate on where there are.

    'All' are 95 % of them, so that seeds differ: linear heads that start at zero and see all tiles come out alike.
    """
    drawn = np.full((seeds, len(parts)), -1, np.int8)
    for seed, own in enumerate(drawn):
        rng = np.random.default_rng(seed)
        for part in (TRAIN, VALID):
            for of_class in (truth, ~truth):
                rows = rng.permutation(np.flatnonzero((parts == part) & of_class))
                own[rows[: budget or round(0.95 * len(rows))]] = part
    return drawn


def _best(
    trained: TrainedGrid, allowed: Sequence[AugmentConfig], tried: Sequence[AugmentConfig], fold: int
) -> tuple[int, str]:
    """The cell with the best validation score on a fold among those of the allowed policies, and its policy."""
    names = set(map(str, allowed))
    policies = [cell.parameters.get("augment", str(tried[0])) for cell in trained.cells]
    found = trained.scores(0).items()
    _, cell = min((scores[0, fold], cell) for cell, scores in found if policies[cell] in names)
    return cell, policies[cell]
