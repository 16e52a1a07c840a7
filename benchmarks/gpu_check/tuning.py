"""Part f: fitting a head to stored vectors beside fine-tuning the whole network on the same tiles."""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from forward import free, pass_s, synchronize
from heads_check import places, timed
from networks import Way, make_forward, make_network
from precision import Trained, embed, labelled_tiles
from report import Row, Step
from sizes import Sizes
from torch import Tensor, nn
from without_store import stand_in_for_absent_modules

FP16 = Way(dtype="fp16", weights="all")
#: Looks whose mean F1 counts, two a pass: that of a single look jumps by 0.03, and the first high one is luck.
LOOKS = 5
#: Passes that networks with random weights are said to need, where nothing was measured.
PASSES = 10
RATE = 3e-4
HEAD_BATCH = 256

_passes: list[int] = []


def steps(sizes: Sizes, device: torch.device, folder: Path | None) -> list[Step]:
    on_cpu = device.type == "cpu"
    return [
        Step(
            part="tuning",
            name="to the same F1",
            about_s=3 if on_cpu else 60,
            run=lambda: to_the_same_f1(sizes, device, folder),
        ),
        *(
            Step(
                part="tuning",
                name=model,
                about_s=3 if on_cpu else 15,
                run=lambda model=model: by_passes(sizes, device, folder, model),  # type: ignore[misc]
            )
            for model in sizes.models
        ),
    ]


class Tiles:
    """Labelled tiles, enlarged: those to train on, and the others in two halves, to validate and to test on."""

    def __init__(self, sizes: Sizes, folder: Path | None) -> None:
        pixels, self.positive, train = labelled_tiles(folder, sizes.labelled)
        edge = sizes.tune_px
        self.pixels = np.stack([cv2.resize(one, (edge, edge), interpolation=cv2.INTER_CUBIC) for one in pixels])
        self.part = np.zeros((1, len(train)), np.int8)  # TRAIN, VALID, TEST
        others = np.random.default_rng(0).permutation(np.flatnonzero(~train))
        self.part[0, others[::2]], self.part[0, others[1::2]] = 1, 2

    def rows(self, part: int) -> np.ndarray:
        return np.flatnonzero(self.part[0] == part)


def fit(config: Any, tiles: Tiles, vectors: np.ndarray) -> tuple[Row, Any]:
    """A head on vectors: its seconds on each device, and its probabilities' scores by row."""
    import jax
    from head_grid import held_out

    from heads.splitting.splits import Split
    from heads.training.training import train

    examples = held_out(tiles.positive)
    examples = type(examples)(
        **{**examples.__dict__, "split": Split(parts=tiles.part, names=("given",))},
    )
    row: Row = {}
    scores = None
    for name, place in reversed(places(torch.device("cuda" if torch.cuda.is_available() else "cpu"))):
        with jax.default_device(place):
            took, _ = timed(lambda: train(config, examples, vectors).best, again=2)
            row |= {f"{name}_{key}": value for key, value in took.items()}
            trained = train(config, examples, vectors)
            cells = trained.scores(0)
            best = min(cells, key=lambda cell: float(np.mean(cells[cell])))
            logits = trained.logits(trained.ensemble(best, [0], 1), np.arange(len(tiles.positive)))
            scores = logits.mean(0)[:, 0]
    return row, scores


def f1_of(scores: np.ndarray, tiles: Tiles) -> dict[str, float]:
    """F1 on the validation tiles at the threshold that is chosen there, and on the test tiles at that one."""
    from sklearn.metrics import f1_score

    from heads.evaluation.calibration import choose_threshold

    chance = 1 / (1 + np.exp(-scores.astype(np.float64)))
    valid, test = tiles.rows(1), tiles.rows(2)
    threshold = choose_threshold(chance[valid], tiles.positive[valid])
    return {
        name: round(float(f1_score(tiles.positive[rows], chance[rows] >= threshold)), 4)
        for name, rows in (("valid_f1", valid), ("test_f1", test))
    }


def to_the_same_f1(sizes: Sizes, device: torch.device, folder: Path | None) -> Iterator[Row]:
    """A trained MobileNetV2: heads on its vectors, and all of it fine-tuned until it is as good on validation tiles."""
    stand_in_for_absent_modules()
    from heads.devices import prepare_jax

    prepare_jax()
    from heads.config import FitConfig

    tiles = Tiles(sizes, folder)
    trained = Trained("mobilenetv2", folder)
    network, mean, std = trained.load()
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    forward = make_forward(network, FP16 if device.type == "cuda" else Way(dtype="fp32"), mean=mean, std=std)
    embed(forward, tiles.pixels[:8], device)
    began = time.perf_counter()
    vectors = embed(forward, tiles.pixels, device).astype(np.float16)
    extract_s = time.perf_counter() - began
    target, fit_s = 0.0, {}
    n = len(tiles.rows(0))
    adamw = FitConfig(
        optimizer="adamw", learning_rates=(1e-3,), weight_decays=(1e-4,), steps=max(1, PASSES * n // HEAD_BATCH),
        batch=min(HEAD_BATCH, n), patience=1000,
    )  # fmt: skip
    for name, config in (("lbfgs, 6 strengths", FitConfig()), (f"adamw, {PASSES} passes", adamw)):
        took, scores = fit(config, tiles, vectors)
        f1 = f1_of(scores, tiles)
        target, fit_s[name] = max(target, f1["valid_f1"]), min(took[key] for key in took if "again" in key)
        yield {
            "network": "mobilenetv2",
            "side": f"head: {name}",
            "tiles": n,
            "extract_s": round(extract_s, 2),
            **took,
            **f1,
        }
    network = trained.load()[0]
    reached, course = False, []
    tuned = Tuning(nn.Sequential(network, nn.Linear(vectors.shape[1], 1)), tiles, sizes, device, mean, std)
    while len(course) < 2 * sizes.tune_passes and not reached:
        tuned.train(max(1, n // (2 * tuned.batch)))
        f1 = f1_of(tuned.scores(), tiles)
        course.append(f1["valid_f1"])
        reached = len(course) >= LOOKS and statistics.mean(course[-LOOKS:]) >= target
    passes = tuned.steps * tuned.batch / n
    _passes[:] = [max(1, round(passes))]
    yield {
        "network": "mobilenetv2", "side": "fine-tuned", "tiles": n, "batch": tuned.batch, "passes": round(passes, 2),
        "train_s": round(tuned.seconds, 2), "reached": reached, "target_f1": target,
        "mean_valid_f1": round(statistics.mean(course[-LOOKS:]), 4), **f1,
        **{f"times_{name.split(',')[0]}": round(tuned.seconds / seconds, 1) for name, seconds in fit_s.items()},
        "times_with_extraction": round(tuned.seconds / (min(fit_s.values()) + extract_s), 2),
    }  # fmt: skip


def by_passes(sizes: Sizes, device: torch.device, folder: Path | None, model: str) -> Iterator[Row]:
    """A network with random weights: seconds of a pass of fine-tuning, and of a head for as many passes."""
    stand_in_for_absent_modules()
    from heads.devices import prepare_jax

    prepare_jax()
    from heads.config import FitConfig

    free()
    tiles = Tiles(sizes, folder)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    way = FP16 if device.type == "cuda" else Way(dtype="fp32")
    forward = make_forward(make_network(model, device), way)
    embed(forward, tiles.pixels[:8], device)
    began = time.perf_counter()
    vectors = embed(forward, tiles.pixels, device).astype(np.float16)
    extract_s = time.perf_counter() - began
    del forward
    free()
    n, passes = len(tiles.rows(0)), _passes[0] if _passes else PASSES
    config = FitConfig(
        optimizer="adamw", learning_rates=(1e-3,), weight_decays=(1e-4,), steps=max(1, passes * n // HEAD_BATCH),
        batch=min(HEAD_BATCH, n), patience=1000,
    )  # fmt: skip
    took, _ = fit(config, tiles, vectors)
    network = make_network(model, device).requires_grad_(True)
    tuned = Tuning(nn.Sequential(network, nn.Linear(vectors.shape[1], 1)), tiles, sizes, device, mean, std)
    tuned.train(3)
    seconds = pass_s(lambda: tuned.train(1), sizes.tune_s, device)
    pass_of_tiles = seconds * n / tuned.batch
    fit_s = min(took[key] for key in took if "again" in key)
    yield {
        "network": model, "side": "random weights, by passes", "tiles": n, "batch": tuned.batch, "passes": passes,
        "extract_s": round(extract_s, 2), **took, "train_tiles_per_s": round(tuned.batch / seconds, 1),
        "train_s_per_pass": round(pass_of_tiles, 3), "train_s": round(passes * pass_of_tiles, 2),
        "times_adamw": round(passes * pass_of_tiles / fit_s, 1),
        "times_with_extraction": round(passes * pass_of_tiles / (fit_s + extract_s), 2),
    }  # fmt: skip


class Tuning:
    """A network and its tiles, which lie on the device, in training: AdamW, bf16 under autocast, flips and turns."""

    def __init__(
        self, network: nn.Module, tiles: Tiles, sizes: Sizes, device: torch.device, mean: Any, std: Any
    ) -> None:
        torch.manual_seed(0)
        self._network = network.to(device, memory_format=torch.channels_last).requires_grad_(True)  # type: ignore[call-overload]
        self._pixels = torch.from_numpy(tiles.pixels).to(device)
        self._truth = torch.from_numpy(tiles.positive.astype(np.float32)).to(device)
        self._train = torch.from_numpy(tiles.rows(0)).to(device)
        self._device, self.batch = device, min(sizes.tune_batch, len(self._train))
        self._optimizer = torch.optim.AdamW(
            self._network.parameters(), lr=RATE, weight_decay=1e-2, fused=device.type == "cuda"
        )
        self._mean = (torch.tensor(mean) * 255).to(device).view(1, 3, 1, 1)
        self._std = (torch.tensor(std) * 255).to(device).view(1, 3, 1, 1)
        self.seconds, self.steps = 0.0, 0

    def train(self, steps: int) -> None:
        self._network.train()
        synchronize(self._device)
        began = time.perf_counter()
        for _ in range(steps):
            rows = self._train[torch.randint(len(self._train), (self.batch,), device=self._device)]
            images = self._input(self._pixels[rows])
            images = images.flip(-1) if self.steps % 2 else images
            images = torch.rot90(images, self.steps // 2 % 4, (-2, -1)).contiguous(memory_format=torch.channels_last)
            self._optimizer.zero_grad()
            with torch.autocast(self._device.type, dtype=torch.bfloat16):
                logits = self._network(images)[:, 0]
            nn.functional.binary_cross_entropy_with_logits(logits.float(), self._truth[rows]).backward()
            self._optimizer.step()
            self.steps += 1
        synchronize(self._device)
        self.seconds += time.perf_counter() - began

    def scores(self) -> np.ndarray:
        self._network.eval()
        with torch.inference_mode(), torch.autocast(self._device.type, dtype=torch.bfloat16):
            parts = [self._network(self._input(part))[:, 0].float() for part in self._pixels.split(256)]
        return torch.cat(parts).cpu().numpy()

    def _input(self, tiles: Tensor) -> Tensor:
        return (tiles.permute(0, 3, 1, 2).float() - self._mean) / self._std
