"""How much one vector a slide tells of it: encoders that need no weights, on labelled tiles grouped into slides.

Compares the mean, mean with standard deviation, the maximum, a bag of visual words, VLAD (Jégou et al. 2010) and the
Fisher vector (Perronnin et al. 2010) of the same tile vectors. No slide of ordinary size with a label can be had here,
so tiles of PatchCamelyon are dealt into slides of 100: of half of them some share is metastasis, of the others a
smaller one. Cases of MIDOG 2021 are slides as they are, of about nine tiles, and their class is the scanner. CAMELYON16
has tiles of four slides here, too few. Codebooks see the tiles of all slides and no label.

Of each: AUROC of a ridge classifier over five folds of slides, its strength by leaving one training slide out; and
of the five nearest slides by cosine the share of the same class. Mean and standard deviation over draws of the slides
and of the codebook. A row goes to results/slide_encoders.csv.

    python benchmarks/slide_encoders.py --data ../shared/data
"""

import argparse
import csv
import datetime
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from sklearn.linear_model import RidgeClassifierCV
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from at_hand import configs  # noqa: E402

from embedstore.encoder_config import VisualWordsConfig  # noqa: E402
from embedstore.encoders.visual_words import Codebook  # noqa: E402
from embedstore.extractors import load_extractor  # noqa: E402
from embedstore.search.tile_sample import directions  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "slide_encoders.csv"
PCAM, MIDOG = "lymph_node_metastasis_pcam", "mitosis_atypical_vs_normal"
EXTRACTORS = ("shufflenet-histology", "stain-texture")
#: Tiles of a slide, and slides, of PatchCamelyon.
TILES, SLIDES = 100, 80
#: {task: (share of metastasis in a slide of the class, in the others)}.
SHARES = {
    "pcam 5 % or none": (0.05, 0.0),
    "pcam 10 % or none": (0.1, 0.0),
    "pcam 60 % or 40 %": (0.6, 0.4),
}
Bags = list[NDArray[np.float32]]
Row = dict[str, Any]
Encoder = Callable[[Bags, int], NDArray[np.float32]]


# -- encoders: bags (n, dim), and a seed, to (slides, E) ----------------------------------------


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12)


def mean(bags: Bags, seed: int) -> NDArray[np.float32]:
    return np.stack([bag.mean(axis=0) for bag in bags])


def moments(bags: Bags, seed: int) -> NDArray[np.float32]:
    return np.stack([np.concatenate([bag.mean(axis=0), bag.std(axis=0)]) for bag in bags])


def maximum(bags: Bags, seed: int) -> NDArray[np.float32]:
    return np.stack([bag.max(axis=0) for bag in bags])


class Reduced:
    """Directions of tiles in their first principal components, each of variance 1 where `whiten`."""

    def __init__(self, bags: Bags, components: int, *, whiten: bool = False):
        tiles = unit(np.concatenate(bags))
        self.centre = tiles.mean(axis=0)
        values, axes = np.linalg.eigh(np.cov((tiles - self.centre).T))
        self.axes = axes[:, ::-1][:, :components]
        if whiten:
            self.axes = self.axes / np.sqrt(values[::-1][:components].clip(1e-12))
        self.tiles = self(tiles)

    def __call__(self, bag: NDArray[np.float32]) -> NDArray[np.float32]:
        return ((unit(bag) - self.centre) @ self.axes).astype(np.float32)


def words(count: int, components: int = 64) -> Encoder:
    """The encoder `visual-words` as it is built in."""

    def encode(bags: Bags, seed: int) -> NDArray[np.float32]:
        config = VisualWordsConfig(words=count, components=components, seed=seed)
        book = Codebook.fit(directions(np.concatenate(bags))[0], config)
        nearest = [book.nearest(directions(bag)[0]) for bag in bags]
        return np.sqrt([np.bincount(one, minlength=len(book.words)) / len(one) for one in nearest]).astype(np.float32)

    return encode


def vlad(count: int, components: int = 64, *, whiten: bool = False) -> Encoder:
    def encode(bags: Bags, seed: int) -> NDArray[np.float32]:
        space = Reduced(bags, components, whiten=whiten)
        centres, _ = kmeans2(space.tiles, count, minit="++", rng=seed)
        out = []
        for bag in map(space, bags):
            nearest = ((bag[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
            sums = np.stack([(bag[nearest == k] - centres[k]).sum(axis=0) for k in range(count)]) / len(bag)
            out.append(sums.ravel())
        powered = np.stack([np.sign(row) * np.sqrt(np.abs(row)) for row in out])
        return unit(powered).astype(np.float32)

    return encode


def fisher(count: int, components: int = 64) -> Encoder:
    def encode(bags: Bags, seed: int) -> NDArray[np.float32]:
        space = Reduced(bags, components)
        model = GaussianMixture(count, covariance_type="diag", random_state=seed, reg_covar=1e-6).fit(space.tiles)
        root, out = np.sqrt(model.covariances_), []
        for bag in map(space, bags):
            gamma = model.predict_proba(bag)
            z = (bag[:, None] - model.means_) / root
            first = (gamma[..., None] * z).sum(axis=0) / np.sqrt(model.weights_)[:, None] / len(bag)
            second = (gamma[..., None] * (z**2 - 1)).sum(axis=0) / np.sqrt(2 * model.weights_)[:, None] / len(bag)
            out.append(np.concatenate([first.ravel(), second.ravel()]))
        powered = np.stack([np.sign(row) * np.sqrt(np.abs(row)) for row in out])
        return unit(powered).astype(np.float32)

    return encode


ENCODERS: dict[str, Encoder] = {
    "mean": mean, "mean and deviation": moments, "maximum": maximum, "32 words": words(32), "64 words": words(64),
    "vlad 4x64": vlad(4), "vlad 16x64": vlad(16), "fisher 2x64": fisher(2), "fisher 4x64": fisher(4),
    "fisher 16x64": fisher(16),
}  # fmt: skip


# -- tasks: slides and their classes ------------------------------------------------------------


def embed(data: Path, task: str, name: str, cache: Path) -> tuple[NDArray[np.float32], list[dict[str, str]]]:
    """Vectors of all tiles of a task, and the rows of its labels.csv."""
    folder = data / "tiles" / task
    with (folder / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    path = cache / f"{task}-{name}.npy"
    if not path.exists():
        px, mpp = (96, 0.972) if task == PCAM else (128, 0.25)
        extractor = load_extractor(configs(data, [name], tile_px=px, mpp=mpp)[0], device="cpu")
        vectors = []
        for start in range(0, len(rows), 64):
            tiles = [cv2.imread(str(folder / row["file"]))[..., ::-1] for row in rows[start : start + 64]]
            vectors.append(extractor.embed(np.ascontiguousarray(np.stack(tiles))))
        cache.mkdir(parents=True, exist_ok=True)
        np.save(path, np.concatenate(vectors))
    return np.load(path).astype(np.float32), rows


def dealt(
    vectors: NDArray[np.float32],
    rows: list[dict[str, str]],
    shares: tuple[float, float],
    seed: int,
) -> tuple[Bags, NDArray[np.intp]]:
    """Slides of PatchCamelyon's tiles, no tile in two of them."""
    rng = np.random.default_rng(seed)
    is_metastasis = np.array([row["label"] == "metastasis" for row in rows])
    left = {kind: list(rng.permutation(np.flatnonzero(is_metastasis == kind))) for kind in (True, False)}
    bags, classes = [], np.arange(SLIDES) % 2
    for of_class in classes:
        positives = round(TILES * shares[1 - of_class])
        if len(left[False]) < TILES - positives or len(left[True]) < positives:
            break
        chosen = [left[True].pop() for _ in range(positives)] + [left[False].pop() for _ in range(TILES - positives)]
        bags.append(vectors[chosen])
    return bags, classes[: len(bags)]


def cases(vectors: NDArray[np.float32], rows: list[dict[str, str]]) -> tuple[Bags, NDArray[np.intp]]:
    """Cases of MIDOG 2021; the first three scanners have fifty cases each, in the order of their numbers."""
    case = np.array([int(row["group"].split(":")[1].split(".")[0]) for row in rows])
    numbers = [number for number in np.unique(case) if (case == number).sum() >= 3]
    return [vectors[case == number] for number in numbers], np.array([(number - 1) // 50 for number in numbers])


def tasks(data: Path, name: str, cache: Path, seed: int) -> Iterator[tuple[str, Bags, NDArray[np.intp]]]:
    vectors, rows = embed(data, PCAM, name, cache)
    for task, shares in SHARES.items():
        yield task, *dealt(vectors, rows, shares, seed)
    vectors, rows = embed(data, MIDOG, name, cache)
    yield "midog scanner", *cases(vectors, rows)


# -- what is measured ---------------------------------------------------------------------------


def auroc(x: NDArray[np.float32], classes: NDArray[np.intp], seed: int) -> float:
    scores = np.zeros((len(x), len(np.unique(classes))))
    for train, test in StratifiedKFold(5, shuffle=True, random_state=seed).split(x, classes):
        pipe = make_pipeline(
            StandardScaler(),
            RidgeClassifierCV(alphas=np.logspace(0, 6, 13), class_weight="balanced"),
        )
        scores[test] = pipe.fit(x[train], classes[train]).decision_function(x[test]).reshape(len(test), -1)
    if scores.shape[1] == 2:
        return float(roc_auc_score(classes, scores[:, 0]))
    return float(np.mean([roc_auc_score(classes == c, scores[:, c]) for c in range(scores.shape[1])]))


def precision(x: NDArray[np.float32], classes: NDArray[np.intp], k: int = 5) -> float:
    similarity = unit(x) @ unit(x).T
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1)[:, :k]
    return float(np.mean([(classes[nearest[classes == c]] == c).mean() for c in np.unique(classes)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "slide-encoders")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--extractors", nargs="*", default=EXTRACTORS)
    arguments = parser.parse_args()
    if not arguments.data.exists():
        print(f"skipped: {arguments.data} is not there")
        return
    for name in arguments.extractors:
        draws = [list(tasks(arguments.data, name, arguments.cache, seed)) for seed in range(arguments.draws)]
        for of_task in zip(*draws, strict=True):
            for encoder, encode in ENCODERS.items():
                write(measured(name, encoder, encode, of_task))


def measured(
    name: str,
    encoder: str,
    encode: Encoder,
    draws: Sequence[tuple[str, Bags, NDArray[np.intp]]],
) -> Row:
    """The row of an encoder on a task, over some draws of its slides."""
    areas, shares, seconds, dim = [], [], [], 0
    for seed, (_, bags, classes) in enumerate(draws):
        began = time.perf_counter()
        x = encode(bags, seed)
        seconds.append(time.perf_counter() - began)
        areas.append(auroc(x, classes, seed))
        shares.append(precision(x, classes))
        dim = x.shape[1]
    return {
        "date": datetime.date.today().isoformat(), "machine": platform.machine(), "extractor": name,
        "task": draws[0][0], "slides": len(draws[0][1]), "encoder": encoder, "dim": dim, "draws": len(draws),
        "auroc": round(float(np.mean(areas)), 4), "auroc_sd": round(float(np.std(areas)), 4),
        "precision_at_5": round(float(np.mean(shares)), 4), "precision_at_5_sd": round(float(np.std(shares)), 4),
        "seconds": round(float(np.median(seconds)), 3),
    }  # fmt: skip


def write(row: Row) -> None:
    print(*row.values(), sep="\t", flush=True)
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, row.keys())
        if new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
