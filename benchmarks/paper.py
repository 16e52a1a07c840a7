"""The claims of the paper (arXiv 2303.05180), measured: selecting the extractor, augmenting in feature space, time.

    python benchmarks/paper.py --data ../shared/data [--store FOLDER] [--seeds 5] [--views 4] [--out docs]
    python benchmarks/paper.py --mlp --data ../shared/data [--store FOLDER] [--extractor NAME …]

Two tasks in H&E: lymph-node metastasis (PatchCamelyon, 6,000 train, 1,000 valid, 2,000 test tiles) and atypical against
normal mitosis (MIDOG 2021 crops, split by case). The paper's third, microcalcifications in mammograms' biopsies, has no
public H&E set, and is left out. All extractors that can be had without a hub: three trained on photographs, one on
histology, two fixed sets of features, and two untrained networks as controls.

1. Stores: every extractor embeds every tile and its views in one pass. A latent augmenter for each, from the tiles that
   are not tested on.
2. Heads: extractor × label budget (25, 100, 500, all a class to train on, as many to validate on where there are; of
   mitosis 500 cannot be had), linear, with no augmentation, views, latent augmentations, both, always
   (both, or with many labels views), and the best by validation of a search, all by L-BFGS;
   arithmetic on vectors (the best of five kinds and none by validation) and views by AdamW, which draws, beside no
   augmentation by AdamW. 5 seeds, which draw the labels (of 'all' 95 %). F1 on the test tiles at the
   threshold of the highest validation F1, and AUROC, which no threshold makes noisy. Intervals resample test patients
   and seeds together; where no patient is known (PatchCamelyon) a tile counts as one, and they are too narrow.
3. Selection: `select-extractor` on each proxy (the other task, and 89 tiles of CAMELYON16) names an extractor;
   Kendall's tau compares its ranking with that of F1 on the target. Gains are over MobileNetV2 (ImageNet) without
   augmentation, what one takes who chooses nothing.
4. Time: a head on stored vectors beside training all of MobileNetV2 from the same weights until it has the head's F1.

`--mlp` does the second step alone, with `mlp` heads by AdamW: no augmentation, views, and both.

Rows go to results/paper_*.csv, the table and the picture to --out as paper.md and paper.png.
"""

import argparse
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import jax
from at_hand import CONTROLS, REFERENCE, TARGETS, TASKS, recipe
from fit_head import kept
from head_paper import paper as beside_training
from measure import absolute_path, write_row
from paper_gains import METRICS, Drawn, Key, Scores, budgets_of, difference, family_gains, gains, scores_of
from paper_grid import BUDGETS, FAMILIES, MLP_FAMILIES, Answers, Family, answers_of, fit_augmenters, make_stores
from paper_picture import draw, page
from scipy.stats import kendalltau

from embedstore.extractors import read_extractors
from embedstore.progress import Progress
from embedstore.store import Store
from heads.config import AugmenterConfig, SplitConfig
from heads.devices import prepare_jax
from heads.select import SelectConfig, SelectionReport, select_extractor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=absolute_path, default="../shared/data", help="folder of tiles/ and weights/")
    parser.add_argument(
        "--store", type=absolute_path, help="folder to keep stores and answers in; a temporary one by default"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument(
        "--limit-s", type=float, default=600, help="seconds of training all of the network at most; 0 leaves it out"
    )
    parser.add_argument("--mlp", action="store_true", help="heads of a hidden layer, and nothing else")
    parser.add_argument("--extractor", action="append", default=[], help="mlp: of these; by default of all at hand")
    parser.add_argument("--out", type=absolute_path, default="docs")
    args = parser.parse_args()
    prepare_jax()
    with kept(args.store) as folder:
        tasks = TARGETS if args.mlp else tuple(TASKS)
        stores = make_stores(args.data, folder, args.views, tasks=tasks, extractors=args.extractor)
        for task in TARGETS:
            for row in fit_augmenters(stores[task], AugmenterConfig()):
                if not args.mlp:
                    write_row("paper_augmenters", {"task": task} | row)
        families = MLP_FAMILIES if args.mlp else FAMILIES
        scores = _scores(folder, stores, args.seeds, families, args.extractor)
        family_rows = [{"metric": m} | row for m in METRICS for row in _family_rows(scores[m], families)]
        for row in family_rows:
            write_row("paper_families", row)
        if args.mlp:
            return
        reports = {
            proxy: _kept(folder / f"selection-{proxy}.pickle", _selection, args.data, folder, stores[proxy], proxy)
            for proxy in TASKS
        }
        selected = {proxy: _selected(proxy, report) for proxy, report in reports.items()}
        gain_rows = [{"metric": m} | row for m in METRICS for row in _gain_rows(scores[m], selected)]
        for row in gain_rows:
            write_row("paper_gains", row)
        if args.limit_s:
            (folder / "time").mkdir(exist_ok=True)
            beside_training(args.data, folder / "time", args.limit_s, 20, 32, 3e-4, 3)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "paper.md").write_text(page(scores["f1"], gain_rows, family_rows))
    draw(scores["f1"], gain_rows, family_rows, args.out / "paper.png")


def _scores(
    folder: Path, stores: Mapping[str, Store], seeds: int, families: Mapping[str, Family], extractors: Sequence[str]
) -> dict[str, dict[Key, Drawn]]:
    """Of heads on every extractor of the stores, or on some; a row each."""
    answers: list[Answers] = []
    for task, name in ((of, name) for of in TARGETS for name in stores[of].collection_names()):
        if extractors and stores[task].collection(name).extractor().name not in extractors:
            continue
        path = folder / f"answers-{task}-{name}-{seeds}-{'-'.join(families)}.pickle"
        answers += _kept(path, answers_of, stores[task], task, name, BUDGETS, seeds, families)
    scores = scores_of(answers)
    for one in answers:
        write_row("paper_heads", _head_row(one, scores, families))
    return scores


def _kept(path: Path, make: Callable[..., Any], *args: Any) -> Any:
    """What was made, kept in a file: an interrupted run goes on where it was."""
    if not path.exists():
        path.write_bytes(pickle.dumps(make(*args)))
        jax.clear_caches()  # each compiled program holds maps of memory, of which a process may have 65,530
    return pickle.loads(path.read_bytes())


def _head_row(one: Answers, scores: Mapping[str, Scores], families: Mapping[str, Family]) -> dict[str, Any]:
    key = (one.task, one.extractor, one.budget, one.family)
    row: dict[str, Any] = {
        "task": one.task, "extractor": one.extractor, "budget": one.budget or "all", "augmentation": one.family,
    }  # fmt: skip
    for metric, of in scores.items():
        low, high = of[key].interval
        gain = difference([of[key]], [of[*key[:3], families[one.family].base]])
        row |= {metric: round(of[key].value, 4), f"{metric}_low": round(low, 4), f"{metric}_high": round(high, 4)}
        row |= {f"{metric}_seeds": " ".join(f"{value:.3f}" for value in of[key].seeds)}
        row |= {f"{metric}_gain_{name}": value for name, value in gain.items()}
    return row | {"chosen": "; ".join(one.chosen)}


def _selection(data: Path, folder: Path, store: Store, proxy: str) -> SelectionReport:
    """`select-extractor` on a proxy. CAMELYON16's tiles are of four patients."""
    candidates = read_extractors(recipe(data, folder / "extractors.toml"))
    collection = store.collection(store.collection_names()[0])
    split = SplitConfig(group_by="patient", folds=5 if proxy in TARGETS else 4)
    return select_extractor(store, collection, proxy, candidates, SelectConfig(split=split), on_progress=_print_message)


def _print_message(progress: Progress) -> None:
    if progress.message:
        print(progress.message)


def _selected(proxy: str, report: SelectionReport) -> dict[str, float]:
    """Score of each extractor on a proxy, by the linear probe, from the best down."""
    for one in report.candidates:
        row = {"proxy": proxy, "extractor": one.name, "rank": one.rank, "tiles_per_s": round(one.tiles_per_s or 0)}
        write_row("paper_selection", row | {name: str(metric) for name, metric in one.scores.items()})
    scores = {one.name: one.scores["linear"].value for one in report.candidates}
    return {name: float(value) for name, value in scores.items() if value is not None}


def _gain_rows(scores: Scores, selected: Mapping[str, Mapping[str, float]]) -> Iterator[dict[str, Any]]:
    """What each proxy's choice and each family bring on each target and budget, and how well its ranking agrees."""
    pairs = ((target, proxy) for target, proxy in product(TARGETS, selected) if proxy != target)
    for target, proxy, budget in ((*pair, budget) for pair in pairs for budget in budgets_of(scores, pair[0])):
        of_proxy = selected[proxy]
        names = sorted(of_proxy)
        values = {name: scores[target, name, budget, "none"].value for name in names}
        tau = kendalltau([of_proxy[name] for name in names], [values[name] for name in names])
        best = max(of_proxy, key=of_proxy.__getitem__)
        for family in FAMILIES:
            if FAMILIES[family].base != "none" or family == "none":
                continue
            found = gains(scores, target, budget, best, REFERENCE, family)
            yield {
                "target": target, "proxy": proxy, "budget": budget or "all", "augmentation": family,
                "selected": best, "best_by_test": max(names, key=values.__getitem__),
                "tau": round(float(tau.statistic), 2), "tau_p": round(float(tau.pvalue), 3), "extractors": len(names),
                "reference": round(values[REFERENCE], 4),
                **{f"{gain}_{k}": v for gain, of in found.items() for k, v in of.items()},
            }  # fmt: skip


def _family_rows(scores: Scores, families: Mapping[str, Family]) -> Iterator[dict[str, Any]]:
    """What each family brings to the trained extractors and fixed features, controls left out."""
    for task in TARGETS:
        names = sorted({name for t, name, _, _ in scores if t == task} - set(CONTROLS))
        yield from family_gains(scores, task, names, families)


if __name__ == "__main__":
    main()
