"""What `fit-head` decides by itself beside no augmentation and beside always taking views, on tiles of any set.

    python benchmarks/augment_default.py SET … --data FOLDER [--store FOLDER] [--seeds 20] [--extractor NAME …]

A set is a folder FOLDER/tiles/SET as in ../shared/data: tiles, and labels.csv with file, label, split (train or test),
group (patient), and columns of further labels. The rule was chosen on `pcam_dev`, 3,000 of the tiles of ../shared/data,
and `midog_dev`, its mitoses. Kept aside, and looked at once when it stood, were tiles of public repositories:

* `tupac16` and `tupac16:phase`: the 1,999 tiles of TUPAC16, of 67 cases, in DeepMicroscopy/AMi-Br; atypical against
  normal mitosis, and prometaphase against metaphase where both experts agree. Half of the cases are tested on.
* `pcam_kept`: 3,000 tiles of vflorenc/AI4ALL-PCam that ../shared/data has not; 1,000 of its other parts are tested on.

A seed draws 25, 100 or 95 % of the labels a class. Linear heads are fitted as `fit-head` does by default, in five folds
by patient; what is told is the AUROC of the head on the test tiles, with none, with views, and with what the fit
decides. Intervals resample seeds and test patients together; where no patient is known a tile counts as one, and they
are too narrow. Fits are kept in --store. Rows go to results/augment_default.csv.
"""

import argparse
import csv
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from at_hand import TASKS
from fit_head import kept
from measure import write_row
from numpy.typing import NDArray
from paper_gains import RESAMPLES, weighted_auroc
from paper_grid import make_stores

import heads.devices
from embedstore.store import Store, read_tile_locations, read_vectors, read_views
from heads.augmentation.policies import DEFAULT_MARGIN, NONE, VIEWS
from heads.config import FitConfig, SplitConfig
from heads.evaluate import evaluate_head
from heads.evaluation.bootstrap import interval, resample
from heads.examples import Examples, gather_examples
from heads.splitting.splits import make_split
from heads.training.training import train

#: Of each set: edge of its tiles, their resolution, and the class that is looked for.
SETS = {
    "pcam_dev": (96, 0.972, "metastasis"),
    "midog_dev": (128, 0.25, "atypical"),
    "pcam_kept": (96, 0.972, "metastasis"),
    "tupac16": (128, 0.25, "atypical"),
}
#: Further tasks: columns of labels.csv, with their two classes.
COLUMNS = {"phase": ("NMF metaphase", "NMF prometaphase")}
BUDGETS = (25, 100, 0)
EXTRACTORS = ("stain-texture", "shufflenet-histology", "mobilenetv2-imagenet", "mobilenetv1-imagenet")
#: A margin that decides by itself.
ALWAYS = 1e9
#: Fewest rows that arrays are padded to: fits of 50 tiles need not be of 256. It changes no number.
LEAST_ROWS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="SET", help=f"{', '.join(SETS)}; SET:COLUMN for a further task")
    parser.add_argument("--data", type=Path, required=True, help="folder of tiles/ and weights/")
    parser.add_argument("--store", type=Path, help="folder to keep stores and fits in; a temporary one by default")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--all-seeds", type=int, help="of all labels; by default the same")
    parser.add_argument("--budget", type=int, action="append", help="labels a class, 0 for all; by default 25, 100, 0")
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--extractor", action="append", default=[], help=f"by default {', '.join(EXTRACTORS)}")
    parser.add_argument("--fit-only", action="store_true", help="fit, and tell nothing")
    args = parser.parse_args()
    heads.devices.prepare_jax()
    heads.devices._SMALLEST = LEAST_ROWS
    TASKS.update(SETS)
    extractors = args.extractor or EXTRACTORS
    with kept(args.store) as folder:
        for extractor in extractors:
            for name in args.sets:
                tiles, _, column = name.partition(":")
                stores = make_stores(
                    args.data, folder, args.views, tasks=[tiles], extractors=extractors, viewed=[tiles]
                )
                task = _gather(stores[tiles], args.data / "tiles" / tiles, column, extractor)
                for budget in args.budget or BUDGETS:
                    seeds = args.seeds if budget else args.all_seeds or args.seeds
                    fits = _fits(
                        folder / f"fits-{name.replace(':', '-')}-{extractor}-{budget}.pickle", task, budget, seeds
                    )
                    for row in _rows(task, fits) if fits and not args.fit_only else ():
                        write_row(
                            "augment_default", {"set": name, "extractor": extractor, "budget": budget or "all"} | row
                        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Task:
    """A set's tiles under one extractor.

    Attributes:
        examples: All of them.
        vectors: (n, 1 + views, dim), the original first.
        positive: (n,) bool; known: (n,) whether the task labels the tile.
        group: (n,) patient; a tile of its own where none is known.
        tested: (n,) whether it is tested on.
    """

    examples: Examples
    vectors: NDArray[np.float16]
    positive: NDArray[np.bool_]
    known: NDArray[np.bool_]
    group: NDArray[np.int32]
    tested: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fit:
    """A draw of labels: AUROC's scores of the test tiles under none and views, and what validation said of views."""

    scores: dict[str, NDArray[np.float64]]
    gain: float
    error: float

    def chosen(self, margin: float) -> str:
        return "views" if self.gain > margin * self.error else "none"


def _gather(store: Store, folder: Path, column: str, extractor: str) -> _Task:
    collection = store.collection(next(name for name in store.collection_names() if name.startswith(extractor)))
    examples = gather_examples(store, collection, [folder.name], FitConfig(split=SplitConfig(group_by="tile")))
    originals = read_vectors(collection, examples.bags.rows, version=examples.version)
    views = read_views(store.views(collection.name), examples.ids)
    assert views.found.all(), "every tile has views"
    rows = list(_labels_in_order(collection, examples, folder))
    labels, wanted = np.array([row[column or "label"] for row in rows]), COLUMNS.get(column)
    groups = [row["group"] or f"tile {i}" for i, row in enumerate(rows)]
    return _Task(
        examples=examples,
        vectors=np.concatenate([originals[:, None], views.vectors], axis=1),
        positive=labels == (wanted[1] if wanted else SETS[folder.name][2]),
        known=np.isin(labels, wanted) if wanted else np.ones(len(rows), bool),
        group=np.unique(groups, return_inverse=True)[1].astype(np.int32),
        tested=np.array([row["split"] == "test" for row in rows]),
    )


def _labels_in_order(collection: Any, examples: Examples, folder: Path) -> Iterator[dict[str, str]]:
    """The row of labels.csv of each example; the tiles of a part are numbered in the order of the file."""
    by_name, number = {}, dict[str, int]()
    with (folder / "labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            part = row["split"]
            by_name[part, f"{number.setdefault(part, 0):05}{Path(row['file']).suffix}"] = row
            number[part] += 1
    locations = read_tile_locations(collection)
    at = {row: i for i, row in enumerate(locations.row.tolist())}
    for i in (at[row] for row in examples.bags.rows.tolist()):
        yield by_name[locations.slides[locations.slide[i]], locations.names[i]]


def _fits(path: Path, task: _Task, budget: int, seeds: int) -> list[_Fit]:
    """A fit a seed; none where a budget is nearly all."""
    if path.exists():
        return list(pickle.loads(path.read_bytes()))
    rows = np.flatnonzero(task.known & ~task.tested)
    classes = [rows[task.positive[rows] == side] for side in (True, False)]
    found = []
    for seed in range(seeds if not budget or min(map(len, classes)) >= 1.3 * budget else 0):
        rng = np.random.default_rng(1000 + seed)
        drawn = [rng.permutation(of_class)[: budget or round(0.95 * len(of_class))] for of_class in classes]
        found.append(_fit(task, np.sort(np.concatenate(drawn)), seed))
    path.write_bytes(pickle.dumps(found))
    return found


def _fit(task: _Task, rows: NDArray[np.intp], seed: int) -> _Fit:
    targets = np.stack([~task.positive[rows], task.positive[rows]], axis=1)
    split = make_split(SplitConfig(seed=seed), groups=task.group[rows], strata=targets, classes=("no", "yes"))
    used = replace(
        task.examples.take(rows), tasks=("t",), classes=(("no", "yes"),), targets=(targets,),
        known=(np.ones(len(rows), bool),), group=task.group[rows], split=split,
    )  # fmt: skip
    config = FitConfig(seed=seed, bootstrap=0, augment=(NONE, VIEWS), augment_margin=DEFAULT_MARGIN)
    trained = train(config, used, task.vectors[rows])
    tests = task.vectors[task.known & task.tested, 0]
    scores = {}
    for name, margin in (("none", ALWAYS), ("views", -ALWAYS)):
        head = evaluate_head(replace(config, augment_margin=margin), used, trained, 0)
        assert head.augmentation is not None and head.augmentation.chosen.startswith(name)
        probabilities = head.ensemble.probabilities(head.ensemble.logits(tests), 2, False)
        scores[name] = probabilities[:, 1].astype(np.float64)
        views = head.augmentation.tried[1]
    return _Fit(scores=scores, gain=views.gain, error=views.error or np.inf)


def _rows(task: _Task, fits: list[_Fit]) -> Iterator[dict[str, Any]]:
    """What views and the default bring over none, in points of AUROC."""
    tests = task.known & task.tested
    truth, seeds = task.positive[tests], len(fits)
    group = np.unique(task.group[tests], return_inverse=True)[1]
    counts = np.concatenate(list(resample(int(group.max()) + 1, resamples=RESAMPLES, seed=0)))
    draws = np.random.default_rng(1).integers(0, seeds, (RESAMPLES, seeds))
    none, views = (
        weighted_auroc(np.stack([fit.scores[name] for fit in fits]), truth, group, counts) for name in ("none", "views")
    )
    augmented = np.array([fit.chosen(DEFAULT_MARGIN) == "views" for fit in fits])
    for name, taken in (("views", np.ones(seeds, bool)), ("default", augmented)):
        gain = 100 * np.where(taken, views - none, 0)
        samples = np.take_along_axis(gain[1:], draws, axis=1).mean(axis=1)
        low, high = interval(samples) or (np.nan, np.nan)
        yield {
            "augmentation": name, "seeds": seeds, "tests": len(truth), "test_groups": int(group.max()) + 1,
            "none": round(float(none[0].mean()), 4), "points": round(float(gain[0].mean()), 2), "low": round(low, 2),
            "high": round(high, 2), "augmented": int(taken.sum()),
        }  # fmt: skip


if __name__ == "__main__":
    main()
