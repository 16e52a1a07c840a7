"""How well tiles of a class lie together: nearest neighbours on PatchCamelyon for each extractor that needs no hub.

Compares `colour-12` (twelve colour statistics), `stain-texture`, MobileNetV2 (ImageNet) and ShuffleNet (histology), all
through `load_extractor`, on the same train → test tiles: balanced accuracy of the 20 nearest neighbours by cosine.
Every tile is embedded at its own size, 96 px. A row an extractor goes to results/stain_texture.csv.

    python benchmarks/stain_texture.py --data ../shared/data
    python benchmarks/stain_texture.py --data ../shared/data --constants    # writes stain_texture.json
"""

import argparse
import csv
import datetime
import json
import platform
import sys
import time
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from at_hand import configs  # noqa: E402

from embedstore.extractors import Extractor, load_extractor  # noqa: E402

TASK = "tiles/lymph_node_metastasis_pcam"
TILE_PX, MPP, NEIGHBOURS = 96, 0.972, 20
RESULTS = ROOT / "benchmarks" / "results" / "stain_texture.csv"
CONSTANTS = ROOT / "embedstore" / "extractors" / "builtin" / "stain_texture.json"


def read_labels(folder: Path) -> list[dict[str, str]]:
    """Rows of a task's labels.csv: file, label, split, group."""
    with (folder / "labels.csv").open() as file:
        return list(csv.DictReader(file))


def read_task(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, 96, 96, 3) uint8 and labels (n,) str of one split."""
    rows = [row for row in read_labels(folder) if row["split"] == split]
    tiles = [cv2.cvtColor(cv2.imread(str(folder / row["file"])), cv2.COLOR_BGR2RGB) for row in rows]
    return np.stack(tiles), np.array([row["label"] for row in rows])


def neighbour_labels(train: np.ndarray, labels: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The commonest label of each query's nearest neighbours by cosine; a tie goes to the nearest one's."""
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-9) for rows in (queries, train)]
    similarity = unit[0] @ unit[1].T
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :NEIGHBOURS]
    classes = np.unique(labels)
    votes = np.stack([(labels[nearest] == label).sum(axis=1) for label in classes], axis=1).astype(np.float64)
    votes[np.arange(len(queries)), np.searchsorted(classes, labels[nearest[:, 0]])] += 0.5
    return classes[votes.argmax(axis=1)]


def balanced_accuracy(predicted: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean([(predicted[labels == label] == label).mean() for label in np.unique(labels)]))


def extractors(data: Path) -> list[Extractor]:
    names = ("colour-12", "stain-texture", "mobilenetv2-imagenet", "shufflenet-histology")
    return [load_extractor(one, device="cpu") for one in configs(data, names, tile_px=TILE_PX, mpp=MPP)]


def write_constants(folder: Path) -> None:
    """Mean and standard deviation of stain-texture's features over the training tiles."""
    import torch

    from embedstore.extractors.builtin.stain_texture import StainTexture

    pixels, _ = read_task(folder, "train")
    extractor = StainTexture(tile_px=TILE_PX, mpp=MPP)
    with torch.inference_mode():
        features = torch.cat([extractor.features(part) for part in torch.from_numpy(pixels).split(2)]).double()
    moments = {"mean": features.mean(dim=0), "std": features.std(dim=0, correction=0)}
    text = json.dumps({name: [round(float(value), 4) for value in values] for name, values in moments.items()})
    CONSTANTS.write_text(text + "\n")
    print(f"wrote {CONSTANTS}: {features.shape[1]} features over {len(pixels)} tiles", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds tiles/ and weights/")
    parser.add_argument("--constants", action="store_true", help="compute stain_texture.json anew, and stop")
    arguments = parser.parse_args()
    folder = arguments.data / TASK
    if arguments.constants:
        write_constants(folder)
        return
    train, train_labels = read_task(folder, "train")
    splits = {split: read_task(folder, split) for split in ("valid", "test")}
    rows = []
    for extractor in extractors(arguments.data):
        started = time.process_time()
        known = extractor.embed(train).astype(np.float32)
        cpu_ms = (time.process_time() - started) / len(train) * 1000
        scores = {
            split: balanced_accuracy(neighbour_labels(known, train_labels, extractor.embed(x).astype(np.float32)), y)
            for split, (x, y) in splits.items()
        }
        rows.append(
            {
                "date": datetime.date.today().isoformat(),
                "machine": f"{platform.processor() or platform.machine()}, Python {platform.python_version()}",
                "extractor": extractor.name,
                "dim": extractor.dim,
                "digest": extractor.digest[:15],
                "train_tiles": len(train),
                "cpu_ms_per_tile": round(cpu_ms, 3),
                "knn_balanced_accuracy_valid": round(scores["valid"], 4),
                "knn_balanced_accuracy_test": round(scores["test"], 4),
            }
        )
        print(json.dumps(rows[-1]))
    is_new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
