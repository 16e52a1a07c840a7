"""The claims of the paper (arXiv 2303.05180), measured: selecting the extractor, augmenting in feature space, time.

    python benchmarks/paper.py --data ../shared/data [--store FOLDER] [--seeds 5] [--views 4] [--out docs]

Two tasks in H&E: lymph-node metastasis (PatchCamelyon, 6,000 train, 1,000 valid, 2,000 test tiles) and atypical against
normal mitosis (MIDOG 2021 crops, split by case). The paper's third, microcalcifications in mammograms' biopsies, has no
public H&E set, and is left out. All extractors that can be had without a hub: three trained on photographs, one on
histology, two fixed sets of features, and two untrained networks as controls.

1. Stores: every extractor embeds every tile and its views in one pass. A latent augmenter for each, from the tiles that
   are not tested on.
2. Heads: extractor × label budget (25, 100, 500, all a class to train on, as many to validate on where there are) ×
   {none, arithmetic, views, learned, any of them}, linear, by AdamW; decay, rate and policy chosen on the validation
   tiles, in which no augmentation always takes part; 5 seeds, which draw the labels (of 'all' 95 %). F1 on the test
   tiles at the threshold of the highest validation F1. Intervals resample test patients and seeds together; where no
   patient is known (PatchCamelyon) a tile counts as one, and they are too narrow.
3. Selection: `select-extractor` on each proxy (the other task, and 89 tiles of CAMELYON16) names an extractor;
   Kendall's tau compares its ranking with that of F1 on the target. Gains are over MobileNetV2 (ImageNet) without
   augmentation, what one takes who chooses nothing.
4. Time: a head on stored vectors beside training all of MobileNetV2 from the same weights until it has the head's F1.

Rows go to results/paper_*.csv, the table and the picture to --out as paper.md and paper.png.
"""

import argparse
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
from at_hand import REFERENCE, TARGETS, TASKS, recipe
from fit_head import kept
from head_paper import paper as beside_training
from measure import write_row
from paper_gains import Drawn, Key, difference, f1_of, gains
from paper_grid import BUDGETS, FAMILIES, Answers, answers_of, fit_augmenters, make_stores
from paper_picture import draw, table
from scipy.stats import kendalltau

from cli.select_settings import resolve_select
from embedstore.store import Store
from heads.config import AugmenterConfig, SplitConfig
from heads.devices import prepare_jax
from heads.select import SelectConfig, SelectionReport, select_extractor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of tiles/ and weights/")
    parser.add_argument("--store", type=Path, help="folder to keep stores and answers in; a temporary one by default")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument(
        "--limit-s", type=float, default=600, help="seconds of training all of the network at most; 0 leaves it out"
    )
    parser.add_argument("--out", type=Path, default=Path("docs"))
    args = parser.parse_args()
    prepare_jax()
    with kept(args.store) as folder:
        stores = make_stores(args.data, folder, args.views)
        for task in TARGETS:
            for row in fit_augmenters(stores[task], AugmenterConfig()):
                write_row("paper_augmenters", {"task": task} | row)
        answers = [one for task in TARGETS for one in _answers(folder, stores[task], task, args.seeds)]
        f1 = f1_of(answers)
        for one in answers:
            write_row("paper_f1", _f1_row(one, f1))
        reports = {
            proxy: _kept(
                folder / f"selection-{proxy}.pickle", partial(_selection, args.data, folder, stores[proxy], proxy)
            )
            for proxy in TASKS
        }
        selected = {proxy: _selected(proxy, report) for proxy, report in reports.items()}
        rows = list(_gain_rows(f1, selected))
        for row in rows:
            write_row("paper_gains", row)
        if args.limit_s:
            (folder / "time").mkdir(exist_ok=True)
            beside_training(args.data, folder / "time", args.limit_s, 20, 32, 3e-4, 3)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "paper.md").write_text(table(f1, rows))
    draw(f1, rows, args.out / "paper.png")


def _answers(folder: Path, store: Store, task: str, seeds: int) -> list[Answers]:
    found: list[Answers] = []
    for name in store.collection_names():
        path = folder / f"answers-{task}-{name}-{seeds}.pickle"
        found += _kept(path, lambda name=name: list(answers_of(store, task, name, BUDGETS, seeds)))
    return found


def _kept(path: Path, make: Callable[[], Any]) -> Any:
    """What was made, kept in a file: an interrupted run goes on where it was."""
    if not path.exists():
        path.write_bytes(pickle.dumps(make()))
        jax.clear_caches()  # each compiled program holds maps of memory, of which a process may have 65,530
    return pickle.loads(path.read_bytes())


def _f1_row(one: Answers, f1: dict[Key, Drawn]) -> dict[str, Any]:
    key = (one.task, one.extractor, one.budget, one.family)
    low, high = f1[key].interval
    row = {
        "task": one.task, "extractor": one.extractor, "budget": one.budget or "all", "augmentation": one.family,
        "f1": round(f1[key].value, 4), "low": round(low, 4), "high": round(high, 4),
        "seeds": " ".join(f"{value:.3f}" for value in f1[key].seeds), "chosen": "; ".join(one.chosen),
    }  # fmt: skip
    gain = difference(f1[key], f1[(*key[:3], "none")])
    return row | {f"gain_{name}": value for name, value in gain.items()}


def _selection(data: Path, folder: Path, store: Store, proxy: str) -> SelectionReport:
    """`select-extractor` on a proxy. CAMELYON16's tiles are of four patients."""
    candidates, _ = resolve_select({"config_file": str(recipe(data, folder / "extractors.toml"))})
    collection = store.collection(store.collection_names()[0])
    split = SplitConfig(group_by="patient", folds=5 if proxy in TARGETS else 4)
    return select_extractor(store, collection, proxy, candidates, SelectConfig(split=split), tell=print)


def _selected(proxy: str, report: SelectionReport) -> dict[str, float]:
    """Score of each extractor on a proxy, by the linear probe, from the best down."""
    for one in report.candidates:
        row = {"proxy": proxy, "extractor": one.name, "rank": one.rank, "tiles_per_s": round(one.tiles_per_s or 0)}
        write_row("paper_selection", row | {name: str(metric) for name, metric in one.scores.items()})
    scores = {one.name: one.scores["linear"].value for one in report.candidates}
    return {name: float(value) for name, value in scores.items() if value is not None}


def _gain_rows(f1: dict[Key, Drawn], selected: dict[str, dict[str, float]]):
    """What each proxy's choice and each family bring on each target and budget, and how well its ranking agrees."""
    for target in TARGETS:
        for proxy, scores in selected.items():
            if proxy == target:
                continue
            best = max(scores, key=scores.__getitem__)
            for budget in BUDGETS:
                names = sorted(scores)
                tau = kendalltau([scores[name] for name in names], [f1[target, n, budget, "none"].value for n in names])
                oracle = max(names, key=lambda name: f1[target, name, budget, "none"].value)
                for family in FAMILIES:
                    if family == "none":
                        continue
                    found = gains(f1, target, budget, best, REFERENCE, family)
                    yield {
                        "target": target, "proxy": proxy, "budget": budget or "all", "augmentation": family,
                        "selected": best, "best_by_test": oracle, "tau": round(float(tau.statistic), 2),
                        "tau_p": round(float(tau.pvalue), 3), "extractors": len(names),
                        **{f"{gain}_{k}": v for gain, values in found.items() for k, v in values.items()},
                    }  # fmt: skip


if __name__ == "__main__":
    main()
