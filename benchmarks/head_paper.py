"""A head on stored vectors beside training the extractor end to end, for the same task to the same F1."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from head_quality import TASKS, answer_of, pose_task, stores
from measure import write_row
from safetensors.torch import load_file
from sklearn.metrics import f1_score
from stain_texture import read_task

from embedstore.extractors import ExtractorConfig, load_extractor
from heads.calibration import choose_threshold
from heads.config import FitConfig, SplitConfig
from heads.fit import fit_heads
from heads.head import Head
from heads.splits import VALID

TASK = "lymph_node_metastasis_pcam"
WEIGHTS = "timm_mobilenetv2_100_imagenet_dequantised.safetensors"


@dataclass(frozen=True, kw_only=True)
class Course:
    """How training a network went.

    Attributes:
        steps: Until it reached the F1, or the limit.
        train_s: Seconds in these steps.
        check_s: Seconds in looking at the validation part, which a schedule that is known beforehand would not need.
        f1: On the validation part, at the last look.
        best_f1: The best of all looks.
        reached: Whether that is what was asked for.
    """

    steps: int
    train_s: float
    check_s: float
    f1: float
    best_f1: float
    reached: bool


def paper(data: Path, folder: Path, limit_s: float, every: int, batch: int, rate: float) -> None:
    """A row: the head's seconds, the network's, and their ratio with extraction counted and not counted."""
    (_, store), positive = next(stores(data, folder, [TASK])), TASKS[TASK][2]
    collection = next(
        store.collection(name)
        for name in store.collection_names()
        if store.collection(name).record()["extractor"]["name"].startswith("mobilenetv2")
    )
    config = FitConfig(split=SplitConfig(kind="given"), positive=positive)
    head_s = []
    for _ in range(4):  # the first compiles
        began = time.perf_counter()
        stored = fit_heads(store, collection, [TASK], config, names=["benchmark"], replace_heads=True)[0]
        head_s.append(time.perf_counter() - began)
    store.heads.remove("benchmark")
    posed, head = pose_task(store, collection, TASK, config), Head.from_stored(stored)
    valid_x, valid_truth = posed.of(VALID)
    found = head.probabilities(valid_x.astype(np.float16))
    target = float(f1_score(valid_truth, head.decide(found)[:, head.classes.index(positive)]))

    tiles = {split: read_task(data / "tiles" / TASK, split) for split in ("train", "valid", "test")}
    pixels = {split: (images, labels == positive) for split, (images, labels) in tiles.items()}
    extract_s = extraction(data, [pixels["train"][0], pixels["valid"][0]])
    print(f"head: F1 {target:.4f} on valid in {head_s[1:]} s, first {head_s[0]:.1f} s; extraction {extract_s:.0f} s")
    network = mobilenet(data)
    course, threshold = fine_tune(network, pixels, target, limit_s=limit_s, every=every, batch=batch, rate=rate)
    said = probabilities(network, pixels["test"][0]) >= threshold
    warm_s = float(np.median(head_s[1:]))
    row: dict[str, Any] = {
        "task": TASK,
        "network": "mobilenetv2_100",
        "train_tiles": len(pixels["train"][0]),
        "valid_f1_to_reach": round(target, 4),
        "head_test_f1": round(float(f1_score(pixels["test"][1], answer_of(stored, posed).decision)), 4),
        "head_s": round(warm_s, 2),
        "head_first_s": round(head_s[0], 2),
        "extract_s": round(extract_s, 1),
        "network_s": round(course.train_s, 1),
        "network_checks_s": round(course.check_s, 1),
        "network_steps": course.steps,
        "batch": batch,
        "rate": rate,
        "network_valid_f1": round(course.f1, 4),
        "network_best_valid_f1": round(course.best_f1, 4),
        "network_test_f1": round(float(f1_score(pixels["test"][1], said)), 4),
        "reached": "yes" if course.reached else f"not reached in {course.train_s:.0f} s",
    }
    at_least = "" if course.reached else "> "
    for name, seconds in (
        ("ratio", warm_s),
        ("ratio_first_call", head_s[0]),
        ("ratio_with_extraction", warm_s + extract_s),
    ):
        row[name] = f"{at_least}{course.train_s / seconds:.3g}"
    write_row("fit_head_paper", row)


def extraction(data: Path, parts: list[np.ndarray]) -> float:
    """Seconds in which the extractor embeds what a head is trained and validated on, its pixels being in memory."""
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
    extractor.embed(parts[0][:64])
    began = time.perf_counter()
    for part in parts:
        extractor.embed(part)
    return time.perf_counter() - began


def mobilenet(data: Path) -> torch.nn.Module:
    """The extractor's network with its weights and one output."""
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
) -> tuple[Course, float]:
    """Train all of a network until a look at the validation part sees the F1, or the time of its steps is up.

    AdamW with flips and quarter turns. The threshold at each look is that of the highest F1, as heads choose theirs;
    to stop at the first look that is good enough is kind to the network.

    Returns:
        How it went, and the threshold of the last look.
    """
    torch.manual_seed(0)
    (train, truth), (valid, valid_truth) = pixels["train"], pixels["valid"]
    answers = torch.from_numpy(truth.astype(np.float32))
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2)
    loss_of = torch.nn.BCEWithLogitsLoss()
    train_s = check_s = best = f1 = 0.0
    steps, threshold = 0, 0.5
    while f1 < target and train_s < limit_s:
        began = time.perf_counter()
        network.train()
        for _ in range(every):
            drawn = torch.randint(len(train), (batch,))
            x = _turned(_input(train[drawn.numpy()]))
            optimizer.zero_grad()
            loss_of(network(x)[:, 0], answers[drawn]).backward()
            optimizer.step()
        steps += every
        train_s += time.perf_counter() - began
        began = time.perf_counter()
        found = probabilities(network, valid)
        threshold = choose_threshold(found, valid_truth)
        f1 = float(f1_score(valid_truth, found >= threshold))
        best = max(best, f1)
        check_s += time.perf_counter() - began
        print(f"step {steps}: F1 {f1:.4f} of {target:.4f} after {train_s:.0f} s of training", flush=True)
    course = Course(steps=steps, train_s=train_s, check_s=check_s, f1=f1, best_f1=best, reached=f1 >= target)
    return course, threshold


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
