"""Pack labelled tiles and weights for `--tiles`, from the folder that tests read: `python pack.py DATA FOLDER`."""

import csv
import shutil
import sys
from pathlib import Path

import numpy as np

TASK, POSITIVE = "lymph_node_metastasis_pcam", "metastasis"
#: Tiles of each split that go along.
TILES = {"train": 3000, "test": 1500}
WEIGHTS = {
    "timm_mobilenetv2_100_imagenet_dequantised.safetensors": "mobilenetv2.safetensors",
    "kather_shufflenetv1_msih.safetensors": "shufflenet.safetensors",
    "shufflenet_v1.py": "shufflenet_v1.py",
}


def pack(data: Path, folder: Path) -> None:
    """Write tiles.npz and the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    source = data / "tiles" / TASK
    with (source / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    rng = np.random.default_rng(0)
    chosen = []
    for split, number in TILES.items():
        of_split = [row for row in rows if row["split"] == split]
        chosen += [of_split[index] for index in sorted(rng.permutation(len(of_split))[:number])]
    jpegs = [np.frombuffer((source / row["file"]).read_bytes(), np.uint8) for row in chosen]
    np.savez(
        folder / "tiles.npz",
        jpeg=np.concatenate(jpegs),
        ends=np.cumsum([len(jpeg) for jpeg in jpegs]),
        positive=np.array([row["label"] == POSITIVE for row in chosen]),
        train=np.array([row["split"] == "train" for row in chosen]),
    )
    for name, copy in WEIGHTS.items():
        shutil.copy(data / "weights" / name, folder / copy)


if __name__ == "__main__":
    pack(Path(sys.argv[1]), Path(sys.argv[2]))
