"""What `--downsample dct` changes beside `area`: pixels, embeddings, neighbours and heads, and what reading costs.

    python benchmarks/dct_downsample.py slides --data ../shared/data [SLIDE...]
    python benchmarks/dct_downsample.py heads --data ../shared/data
    python benchmarks/dct_downsample.py cost SLIDE... [--rounds 3]

`slides`: tiles of slides, whose own JPEG data is read both ways, at a half, a quarter, and at ratios between. For each
network the cosine of the two embeddings of a tile, the share of the 10 nearest tiles that stay the same, and how often
a tile's nearest one among those made the other way is itself. As a measure of what is small, beside each the same for
tiles that are averaged as well, but lie one level-0 pixel to the right and below (half a pixel of a tile at a half).
Without slides, those of the shared data whose levels are JPEG.

`heads`: labelled tiles at half their size. PatchCamelyon's tiles are JPEG files (4:2:0), and are decoded both ways as
they are; the others are PNG, and are saved once as JPEG (quality 80, 4:2:0) of which both ways are decoded. So a tile
has 48, 64 or 128 px, at half the resolution, and every head sees less than at full size: only the difference counts.
A logistic regression is fitted to one kind of vectors and tested on the same or on the other kind; the difference to
area on area is given with its 95 % interval over 1,000 paired resamples of cases (of tiles for PatchCamelyon, which
states none). CAMELYON16's 89 tiles are predicted by heads that have not seen their slide.

`cost`: CPU-milliseconds of `embedstore ingest --in-process` with a free extractor for a further tile, both in turn.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import cv2
import imagecodecs
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from at_hand import TASKS, configs  # noqa: E402
from ingest import ingest  # noqa: E402
from measure import absolute_path, write_row  # noqa: E402
from stain_texture import read_labels  # noqa: E402

from embedstore.config import Downsample  # noqa: E402
from embedstore.extractors import Extractor, load_extractor  # noqa: E402
from embedstore.slides import Slide, best_level, fit_square, open_slide, single_thread  # noqa: E402
from embedstore.slides.readers.jpeg_reduced import decode_reduced  # noqa: E402
from synthetic_slides import write_slide  # noqa: E402

NETWORKS = ("colour-12", "stain-texture", "mobilenetv2-imagenet", "shufflenet-histology")
SLIDES = ("CMU-1-Small-Region.svs", "dicom-cmu-1-small-region/level-3-frames-0-1.dcm")
#: Pixels of a level along an edge for one of a tile: 1.98 is 0.2525 µm/px read at 0.5, 2.27 is 0.2205.
RATIOS = (1.98, 2.0, 2.27, 3.96, 4.0)
TILE_PX, MOST_TILES, NEIGHBOURS, RESAMPLES, QUALITY = 128, 400, 10, 1000, 80
WAYS: tuple[Downsample, Downsample] = ("area", "dct")


def load(data: Path, tile_px: int, mpp: float) -> list[Extractor]:
    return [load_extractor(one, device="cpu") for one in configs(data, NETWORKS, tile_px=tile_px, mpp=mpp)]


def embed(extractor: Extractor, pixels: np.ndarray) -> np.ndarray:
    """(n, dim) unit vectors."""
    size = extractor.batch_tiles
    parts = [extractor.embed(pixels[start : start + size]) for start in range(0, len(pixels), size)]
    rows = np.concatenate(parts).astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-9)


def corners(slide: Slide, edge_l0: int) -> np.ndarray:
    """Places of tiles with tissue, half a tile apart where there are few; one pixel of the edge is left free."""
    width, height = slide.size_l0
    step = max(1, edge_l0 // 2)
    x, y = np.meshgrid(np.arange(0, width - edge_l0 - 1, step), np.arange(0, height - edge_l0 - 1, step))
    places = np.stack([x.ravel(), y.ravel()], axis=1)
    level = best_level(slide.level_downsamples, mpp=1.0, target_mpp=edge_l0 / 16)
    small = np.empty((len(places), 16, 16, 3), np.uint8)
    slide.read_squares(places, level, edge_l0=edge_l0, out=small)
    places = places[small.reshape(len(small), -1).std(axis=1) > 15]
    chosen = np.random.default_rng(0).permutation(len(places))[:MOST_TILES]
    return places[np.sort(chosen)]


def slides(data: Path, paths: list[Path]) -> None:
    single_thread()
    extractors = load(data, TILE_PX, mpp=0.5)
    for path in paths or [data / "slides" / name for name in SLIDES]:
        with open_slide(path) as slide:
            for ratio in RATIOS:
                edge_l0 = round(TILE_PX * ratio)
                places = corners(slide, edge_l0)
                made = {}
                for name, shift, downsample in (("area", 0, "area"), ("dct", 0, "dct"), ("shift", 1, "area")):
                    made[name] = np.empty((len(places), TILE_PX, TILE_PX, 3), np.uint8)
                    slide.read_squares(places + shift, 0, edge_l0=edge_l0, out=made[name], downsample=downsample)
                if slide.reduction(0, edge_l0 / TILE_PX) == 1:
                    raise SystemExit(f"level 0 of {path} is not JPEG that {slide.reader} reduces")
                for extractor in extractors:
                    vectors = {name: embed(extractor, pixels) for name, pixels in made.items()}
                    row = {"slide": path.name, "reader": slide.reader, "ratio": ratio, "tiles": len(places)}
                    row |= {"extractor": extractor.name}
                    for name in ("dct", "shift"):
                        row |= {f"{name}_{key}": value for key, value in compared(made, vectors, name).items()}
                    write_row("dct_slides", row)


def compared(made: dict[str, np.ndarray], vectors: dict[str, np.ndarray], name: str) -> dict[str, float]:
    difference = np.abs(made[name].astype(np.int16) - made["area"])
    area, other = vectors["area"], vectors[name]
    cosine = (area * other).sum(axis=1)
    between = 1 - area @ area.T
    usual = np.median(between[~np.eye(len(area), dtype=bool)])
    neighbours = [nearest(rows) for rows in (area, other)]
    kept = [len(set(one) & set(two)) / NEIGHBOURS for one, two in zip(*neighbours, strict=True)]
    return {
        "mean_grey": round(float(difference.mean()), 3),
        "most_grey": int(difference.max()),
        "cosine": round(float(np.median(cosine)), 5),
        "cosine_p1": round(float(np.quantile(cosine, 0.01)), 5),
        "relative": round(float((1 - cosine).mean() / usual), 4),
        "neighbours_kept": round(float(np.mean(kept)), 4),
        "itself_first": round(float((np.argmax(other @ area.T, axis=1) == np.arange(len(area))).mean()), 4),
    }


def nearest(rows: np.ndarray) -> np.ndarray:
    similarity = rows @ rows.T
    np.fill_diagonal(similarity, -2)
    return np.argsort(-similarity, axis=1, kind="stable")[:, :NEIGHBOURS]


def halves(folder: Path, rows: list[dict[str, str]], tile_px: int) -> dict[str, np.ndarray]:
    """Tiles at half their size, both ways, of one JPEG stream each."""
    made = {way: np.empty((len(rows), tile_px // 2, tile_px // 2, 3), np.uint8) for way in WAYS}
    for i, row in enumerate(rows):
        data = (folder / row["file"]).read_bytes()
        if not row["file"].endswith(".jpg"):
            pixels = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            data = imagecodecs.jpeg8_encode(pixels, QUALITY, subsampling="420")
        fit_square(imagecodecs.jpeg8_decode(data), tile_px // 2, out=made["area"][i])
        reduced = decode_reduced(data, 2, colourspace="YCBCR")
        assert reduced is not None
        made["dct"][i] = reduced
    return made


def heads(data: Path) -> None:
    from sklearn.metrics import roc_auc_score

    for task, (tile_px, mpp, positive) in TASKS.items():
        folder = data / "tiles" / task
        rows = read_labels(folder)
        label = np.array([row["label"] == positive for row in rows])
        group = np.array([row["group"] or row["file"] for row in rows])
        test, fits = folds(rows, group)
        tiles = halves(folder, rows, tile_px)
        difference = np.abs(tiles["dct"].astype(np.int16) - tiles["area"])
        for extractor in load(data, tile_px // 2, mpp=2 * mpp):
            vectors = {way: embed(extractor, tiles[way]) for way in WAYS}
            scores = {}
            for fitted in WAYS:
                for tested, score in predict(vectors, fitted, label, fits, test).items():
                    scores[fitted, tested] = score
            reference = scores["area", "area"]
            for (fitted, tested), score in scores.items():
                auroc, first = (roc_auc_score(label[test], each) for each in (score, reference))
                low, high = paired_interval(label[test], group[test], reference, score)
                write_row(
                    "dct_heads",
                    {
                        "task": task, "tile_px": tile_px // 2, "extractor": extractor.name,
                        "tested": int(test.sum()), "fitted_on": fitted, "tested_on": tested,
                        "auroc": round(auroc, 4), "difference": round(auroc - first, 4),
                        "low": round(low, 4), "high": round(high, 4),
                        "mean_grey": round(float(difference.mean()), 3), "most_grey": int(difference.max()),
                        "cosine": round(float(np.median((vectors["area"] * vectors["dct"]).sum(axis=1))), 5),
                    },
                )  # fmt: skip


def folds(rows: list[dict[str, str]], group: np.ndarray) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Which tiles are tested, and pairs of tiles to fit on and to predict: the task's parts, or a slide held out."""
    split = np.array([row["split"] for row in rows])
    if "test" in split:
        return split == "test", [(split == "train", split == "test")]
    each = [(group != one, group == one) for one in np.unique(group)]
    return np.ones(len(rows), bool), each


def predict(
    vectors: dict[str, np.ndarray],
    fitted: str,
    label: np.ndarray,
    fits: list[tuple[np.ndarray, np.ndarray]],
    test: np.ndarray,
) -> dict[str, np.ndarray]:
    """Scores of the tested tiles, of each kind of vectors."""
    from sklearn.linear_model import LogisticRegression

    scores = {way: np.full(len(label), np.nan) for way in WAYS}
    for train, held in fits:
        mean, std = vectors[fitted][train].mean(axis=0), vectors[fitted][train].std(axis=0).clip(1e-6)
        head = LogisticRegression(C=0.01, max_iter=2000).fit((vectors[fitted][train] - mean) / std, label[train])
        for way in WAYS:
            scores[way][held] = head.decision_function((vectors[way][held] - mean) / std)
    return {way: score[test] for way, score in scores.items()}


def paired_interval(label: np.ndarray, group: np.ndarray, one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """95 % interval of the difference of two AUROCs, over resamples of groups that are the same for both."""
    from sklearn.metrics import roc_auc_score

    names, of = np.unique(group, return_inverse=True)
    rng, found = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        weight = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))[of]
        if not (weight[label].any() and weight[~label].any()):
            continue
        found.append(
            roc_auc_score(label, other, sample_weight=weight) - roc_auc_score(label, one, sample_weight=weight)
        )
    return float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))


def cost(paths: list[Path], rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tiny = str(write_slide(f"{folder}/tiny.svs", size_px=(1024, 1024)).path)
        for path in paths:
            start: list[float] = []
            whole: dict[str, list[float]] = {way: [] for way in WAYS}
            tiles = 0
            for _ in range(rounds):
                start.append(ingest([tiny], "colour-12", "--in-process")[0].cpu_s)
                for way in WAYS:
                    usage, summary = ingest([str(path)], "colour-12", "--in-process", "--downsample", way)
                    whole[way].append(usage.cpu_s)
                    tiles = summary["tiles"]
            row = {"slide": path.name, "tiles": tiles, "start_s": round(statistics.median(start), 2), "rounds": rounds}
            for way in WAYS:
                each = [1000 * (one - statistics.median(start)) / tiles for one in whole[way]]
                row[f"{way}_further_ms"] = round(statistics.median(each), 2)
                row[f"{way}_range"] = f"{min(each):.2f}-{max(each):.2f}"
            write_row("dct_cost", row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["slides", "heads", "cost"])
    parser.add_argument("slides", nargs="*", type=absolute_path)
    parser.add_argument(
        "--data", type=absolute_path, default="../shared/data", help="folder of slides/, tiles/, weights/"
    )
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.what == "slides":
        slides(args.data, args.slides)
    elif args.what == "heads":
        heads(args.data)
    else:
        cost(args.slides, args.rounds)


if __name__ == "__main__":
    main()
