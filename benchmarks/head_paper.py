"""A head on stored vectors beside training the extractor end to end, for the same task to the same F1."""

import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from at_hand import TASKS
from head_quality import HEADS, answer_of, pose_task, stores
from measure import write_row
from safetensors.torch import load_file
from sklearn.metrics import f1_score
from stain_texture import read_task

from embedstore.extractors import ExtractorConfig, load_extractor
from embedstore.store import Store
from heads.config import FitConfig, SplitConfig
from heads.evaluation.calibration import choose_threshold
from heads.fit import fit_heads
from heads.splitting.splits import TEST, VALID

TASK = "lymph_node_metastasis_pcam"
POSITIVE = TASKS[TASK][2]
WEIGHTS = "timm_mobilenetv2_100_imagenet_dequantised.safetensors"


#: Looks whose mean F1 counts: the F1 of a single look jumps by 0.03, and the first high one is luck.
LOOKS = 5


@dataclass(frozen=True, kw_only=True)
class FittedHead:
    """A head, and what fitting it took.

    Attributes:
        valid_f1, test_f1: On the parts, at its threshold.
        first_s: Seconds of `fit_heads` the first time, which compiles.
        again_s: Median of the next times.
    """

    name: str
    valid_f1: float
    test_f1: float
    first_s: float
    again_s: float


@dataclass(frozen=True, kw_only=True)
class Look:
    """The network after some steps.

    Attributes:
        train_s: Seconds in the steps.
        f1: On the validation part, at the threshold of the highest F1, which flatters it.
        mean_f1: Mean of this look and those before it, `LOOKS` in all.
        test_f1: On the test part, at that threshold; nothing is chosen by it.
    """

    steps: int
    train_s: float
    f1: float
    mean_f1: float
    test_f1: float


def paper(data: Path, folder: Path, limit_s: float, every: int, batch: int, rate: float, seeds: int) -> None:
    """A row a head and seed of the network: their seconds, and their ratio with extraction counted and not counted."""
    load = round(os.getloadavg()[0], 1)
    _, store = next(stores(data, folder, [TASK]))
    heads = [fitted_head(store, name) for name in ("linear", "linear, adamw")]
    tiles = {split: read_task(data / "tiles" / TASK, split) for split in ("train", "valid", "test")}
    pixels = {split: (images, labels == POSITIVE) for split, (images, labels) in tiles.items()}
    extract_s = extraction(data, [pixels["train"][0], pixels["valid"][0]])
    print(*heads, f"extraction {extract_s:.0f} s", sep="\n", flush=True)
    target = max(head.valid_f1 for head in heads)
    for seed in range(seeds):
        course = fine_tune(
            mobilenet(data, seed), pixels, target, limit_s=limit_s, every=every, batch=batch, rate=rate, seed=seed
        )
        for head in heads:
            setting = {"load_1m": load, "task": TASK, "network": "mobilenetv2_100", "batch": batch, "rate": rate,
                       "seed": seed, "train_tiles": len(pixels["train"][0])}  # fmt: skip
            write_row("fit_head_paper", setting | _beside(head, course, extract_s))


def _beside(head: FittedHead, course: list[Look], extract_s: float) -> dict[str, Any]:
    """A head beside the first look at a network that is as good."""
    look = next((look for look in course if look.mean_f1 >= head.valid_f1), None)
    at = look or course[-1]
    sign = "" if look else ">"
    return {
        "head": head.name,
        "head_valid_f1": round(head.valid_f1, 4),
        "head_test_f1": round(head.test_f1, 4),
        "head_first_s": round(head.first_s, 2),
        "head_again_s": round(head.again_s, 2),
        "extract_s": round(extract_s, 1),
        "network_steps": at.steps,
        "network_s": round(at.train_s, 1),
        "network_valid_f1": round(at.mean_f1, 4),
        "network_test_f1": round(at.test_f1, 4),
        "reached": "yes" if look else f"not reached in {at.train_s:.0f} s",
        "ratio": f"{sign}{at.train_s / head.again_s:.3g}",
        "ratio_first_call": f"{sign}{at.train_s / head.first_s:.3g}",
        "ratio_with_extraction": f"{sign}{at.train_s / (head.again_s + extract_s):.3g}",
    }


def fitted_head(store: Store, name: str) -> FittedHead:
    """Fit one of `HEADS` on MobileNetV2's vectors, four times."""
    collection = next(
        found
        for found in map(store.collection, store.collection_names())
        if found.extractor().name.startswith("mobilenetv2")
    )
    config = FitConfig(split=SplitConfig(kind="given"), positive=POSITIVE, **HEADS[name])
    seconds = []
    for _ in range(4):
        began = time.perf_counter()
        stored = fit_heads(store, collection, [TASK], config, names=["benchmark"], replace_heads=True)[0]
        seconds.append(time.perf_counter() - began)
    store.heads.remove("benchmark")
    posed = pose_task(store, collection, TASK, config)
    valid_f1, test_f1 = (f1_score(posed.of(p)[1], answer_of(stored, posed, p).decision) for p in (VALID, TEST))
    return FittedHead(
        name=name,
        valid_f1=float(valid_f1),
        test_f1=float(test_f1),
        first_s=seconds[0],
        again_s=statistics.median(seconds[1:]),
    )


def extraction(data: Path, parts: list[np.ndarray]) -> float:
    """Seconds in which the extractor embeds what a head is trained and validated on, in batches as ingest has them."""
    tile_px, mpp, _ = TASKS[TASK]
    config = ExtractorConfig(
        ref="mobilenetv2_100",
        weights=str(data / "weights" / WEIGHTS),
        arch_args={"pad_type": "same"},
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        tile_px=tile_px,
        mpp=mpp,
    )
    extractor = load_extractor(config, device="cpu")
    size = extractor.batch_tiles
    extractor.embed(parts[0][:size])
    began = time.perf_counter()
    for part in parts:
        for at in range(0, len(part), size):
            extractor.embed(part[at : at + size])
    return time.perf_counter() - began


def mobilenet(data: Path, seed: int) -> torch.nn.Module:
    """The extractor's network with its weights and one output, whose start is drawn."""
    torch.manual_seed(seed)
    network = timm.create_model("mobilenetv2_100", pad_type="same", num_classes=1)
    weights = {k: v for k, v in load_file(data / "weights" / WEIGHTS).items() if not k.startswith("classifier")}
    lacking, unknown = network.load_state_dict(weights, strict=False)
    assert not unknown and all(name.startswith("classifier") for name in lacking), (lacking, unknown)
    return network.to(memory_format=torch.channels_last)


def fine_tune(
    network: torch.nn.Module,
    pixels: dict[str, tuple[np.ndarray, np.ndarray]],
    target: float,
    *,
    limit_s: float,
    every: int,
    batch: int,
    rate: float,
    seed: int,
) -> list[Look]:
    """Train all of a network until the mean of its looks at the validation part is an F1, or its time is up.

    AdamW with flips and quarter turns. Looks take time that is not counted.
    """
    torch.manual_seed(seed)
    (train, truth), (valid, valid_truth), (test, test_truth) = (pixels[part] for part in ("train", "valid", "test"))
    answers = torch.from_numpy(truth.astype(np.float32))
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2)
    loss_of = torch.nn.BCEWithLogitsLoss()
    course: list[Look] = []
    train_s = 0.0
    while train_s < limit_s and (not course or course[-1].mean_f1 < target):
        began = time.perf_counter()
        network.train()
        for _ in range(every):
            drawn = torch.randint(len(train), (batch,))
            x = _turned(_input(train[drawn.numpy()]))
            optimizer.zero_grad()
            loss_of(network(x)[:, 0], answers[drawn]).backward()
            optimizer.step()
        train_s += time.perf_counter() - began
        found = probabilities(network, valid)
        threshold = choose_threshold(found, valid_truth)
        f1 = float(f1_score(valid_truth, found >= threshold))
        last = [look.f1 for look in course[1 - LOOKS :]]
        mean = statistics.mean([*last, f1]) if len(last) == LOOKS - 1 else 0.0
        said = probabilities(network, test) >= threshold
        test_f1 = float(f1_score(test_truth, said))
        course.append(Look(steps=every * (len(course) + 1), train_s=train_s, f1=f1, mean_f1=mean, test_f1=test_f1))
        print(course[-1], flush=True)
    return course


def probabilities(network: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    network.eval()
    with torch.inference_mode():
        parts = [network(_input(images[at : at + 128]))[:, 0].sigmoid() for at in range(0, len(images), 128)]
    return torch.cat(parts).numpy()


def _input(images: np.ndarray) -> torch.Tensor:
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    return x.contiguous(memory_format=torch.channels_last)


def _turned(x: torch.Tensor) -> torch.Tensor:
    """A batch flipped and turned as one: cheap, and over steps each tile is seen in all eight ways."""
    x = x.flip(-1) if torch.rand(()) < 0.5 else x
    return torch.rot90(x, int(torch.randint(4, ())), (-2, -1))
