"""Part b: what half precision and compiling do to embeddings, to neighbours and to a head."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from forward import free
from networks import Way, make_forward, make_network
from pipeline import jpegs_of
from report import Row, Step
from sizes import Sizes
from torch import nn

from embedstore.extractors.networks.architecture import create_network

WAYS = (
    Way(dtype="fp32"),
    Way(dtype="bf16"),
    Way(dtype="fp16"),
    Way(dtype="bf16", weights="matmul"),
    Way(dtype="bf16", weights="all"),
    Way(dtype="fp16", weights="all"),
)
COMPILED = (Way(dtype="bf16", weights="all", compiled=True), Way(dtype="fp16", weights="all", compiled=True))
NEIGHBOURS, VOTES = 10, 20
STRENGTHS = (0.001, 0.01, 0.1)


class Features(nn.Module):
    """A network whose `features` are its embedding."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network.features(images)  # type: ignore[operator]


class Trained:
    """A network whose weights lie in the folder; without a folder, the same with random ones."""

    def __init__(self, name: str, folder: Path | None) -> None:
        self.name, self._folder = name, folder

    def load(self) -> tuple[nn.Module, tuple[float, ...], tuple[float, ...]]:
        from safetensors.torch import load_file

        torch.manual_seed(0)
        if self.name == "mobilenetv2":
            network = create_network("mobilenetv2_100", {"pad_type": "same"}, pooling="network")
            if self._folder is not None:
                state = load_file(self._folder / "mobilenetv2.safetensors")
                network.load_state_dict({key: value for key, value in state.items() if key in network.state_dict()})
            return network.eval().requires_grad_(False), (0.5,) * 3, (0.5,) * 3
        from at_hand import shufflenet

        custom = shufflenet(str(self._folder))
        if self._folder is not None:
            custom.module.load_state_dict(load_file(self._folder / "shufflenet.safetensors"))
        network = Features(custom.module.eval().requires_grad_(False))
        return network, custom.mean or (0.0,) * 3, custom.std or (1.0,) * 3


def steps(sizes: Sizes, device: torch.device, folder: Path | None) -> list[Step]:
    on_cpu = device.type == "cpu"
    names = ("mobilenetv2", "shufflenet") if folder is not None else ("mobilenetv2",)
    labelled = [
        Step(
            part="precision",
            name=name,
            about_s=1 if on_cpu else 20,
            run=lambda name=name: on_labelled(sizes, device, Trained(name, folder), folder, WAYS),  # type: ignore[misc]
        )
        for name in names
    ]
    large = [
        Step(
            part="precision",
            name=model,
            about_s=1 if on_cpu else 8,
            run=lambda model=model: on_random(sizes, device, model, WAYS),  # type: ignore[misc]
        )
        for model in sizes.models
    ]
    return [*labelled, *large]


def compiled_steps(sizes: Sizes, device: torch.device, folder: Path | None) -> list[Step]:
    on_cpu, model = device.type == "cpu", sizes.models[0]
    return [
        Step(
            part="precision",
            name=f"{model} compiled",
            about_s=1 if on_cpu else 25,
            run=lambda: on_random(sizes, device, model, COMPILED),
        ),
        Step(
            part="precision",
            name="mobilenetv2 compiled",
            about_s=1 if on_cpu else 60,
            run=lambda: on_labelled(sizes, device, Trained("mobilenetv2", folder), folder, COMPILED),
        ),
    ]


def labelled_tiles(folder: Path | None, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels (n, 96, 96, 3), whether it is of the positive class, and whether it is for training."""
    if folder is None:
        rng = np.random.default_rng(0)
        labels = np.arange(2 * number) % 2 == 1
        pixels = rng.integers(0, 200, (2 * number, 96, 96, 3)) + 40 * labels[:, None, None, None]
        return pixels.astype(np.uint8), labels, np.arange(2 * number) < number
    with np.load(folder / "tiles.npz") as file:
        data, ends, labels, train = (file[name] for name in ("jpeg", "ends", "positive", "train"))
    parts = np.split(data, ends[:-1])
    pixels = np.stack([cv2.imdecode(part, cv2.IMREAD_COLOR_RGB) for part in parts])
    return pixels, labels, train


def embed(forward, pixels: np.ndarray, device: torch.device, batch: int = 0) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Rows as float32; the last of several batches is filled up, so that every one has the same shape."""
    batch, rows = min(batch or (500 if device.type == "cuda" else 20), len(pixels)), []
    for start in range(0, len(pixels), batch):
        part = pixels[start : start + batch]
        full = np.concatenate([part, np.repeat(part[:1], batch - len(part), axis=0)])
        rows.append(forward(torch.from_numpy(full).to(device)).float().cpu().numpy()[: len(part)])
    return np.concatenate(rows)


def on_labelled(
    sizes: Sizes, device: torch.device, trained: Trained, folder: Path | None, ways: tuple[Way, ...]
) -> Iterator[Row]:
    pixels, positive, train = labelled_tiles(folder, sizes.labelled)
    cpu = torch.device("cpu")
    network, mean, std = trained.load()
    reference = embed(make_forward(network, Way(dtype="fp32"), mean=mean, std=std), pixels, cpu, 100)
    whole = Answers(reference, positive, train)
    yield {"model": trained.name, "way": "fp32 on the CPU", "tiles": len(pixels), **whole.row()}
    for way in ways:
        free()
        network = trained.load()[0].to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        try:
            rows = embed(make_forward(network, way, mean=mean, std=std), pixels, device)
            answers = Answers(rows, positive, train, (whole.strength,))
            row = {**cosines(rows, reference), **answers.row(), **answers.beside(whole)}
        except Exception as error:  # one way that fails must not cost the others
            if "CUDA error" in str(error):
                raise
            row = {"error": f"{type(error).__name__}: {error}"[:500]}
        yield {"model": trained.name, "way": str(way), **row}


def on_random(sizes: Sizes, device: torch.device, model: str, ways: tuple[Way, ...]) -> Iterator[Row]:
    """Untrained networks, whose rounding is that of trained ones of the same depth, to a factor."""
    jpegs = jpegs_of(sizes)
    pixels = np.stack([cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR_RGB) for one in jpegs])
    pixels = pixels[: sizes.compared]
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    batch = min(64, len(pixels))
    try:
        reference = embed(make_forward(make_network(model, device), Way(dtype="fp32")), pixels, device, batch)
        small = pixels[:16]  # links the reference on the device to the CPU
        cpu = make_network(model, device).to("cpu")
        on_cpu = embed(make_forward(cpu, Way(dtype="fp32")), small, torch.device("cpu"), len(small))
        yield {"model": model, "way": "fp32 without TF32, beside the CPU", **cosines(reference[:16], on_cpu)}
    finally:
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
    folded = (replace(WAYS[4], folded=True),) if "resnet" in model else ()
    for way in (*ways, *folded):
        free()
        rows = embed(make_forward(make_network(model, device), way), pixels, device, batch)
        yield {"model": model, "way": str(way), "tiles": len(pixels), **cosines(rows, reference)}


def cosines(rows: np.ndarray, reference: np.ndarray) -> Row:
    """Of each row with its reference, as they are and about the mean of the reference, which is the harder test."""
    out: Row = {}
    for name, centre in (("cosine", np.zeros(rows.shape[1])), ("centred_cosine", reference.mean(axis=0))):
        a, b = rows.astype(np.float64) - centre, reference.astype(np.float64) - centre
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        values = (a * b).sum(axis=1) / np.maximum(lengths, 1e-30)
        out |= {f"{name}_mean": round(float(values.mean()), 7), f"{name}_least": round(float(values.min()), 7)}
    return out


class Answers:
    """What is read from embeddings of labelled tiles: neighbours, votes of them, and a linear head."""

    def __init__(self, rows: np.ndarray, positive: np.ndarray, train: np.ndarray, strengths=STRENGTHS) -> None:  # type: ignore[no-untyped-def]
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import roc_auc_score

        self._train, self._test = rows[train], rows[~train]
        self._labels = positive[~train]
        unit = [part / np.linalg.norm(part, axis=1, keepdims=True).clip(1e-9) for part in (self._test, self._train)]
        self.nearest = np.argsort(-(unit[0] @ unit[1].T), axis=1, kind="stable")[:, :VOTES]
        votes = positive[train][self.nearest].mean(axis=1) > 0.5
        self.balanced = float(np.mean([(votes[self._labels == one] == one).mean() for one in (False, True)]))
        mean, std = self._train.mean(axis=0), self._train.std(axis=0) + 1e-6
        self._scaled = (self._test - mean) / std
        fits = [
            LogisticRegression(C=strength, solver="newton-cholesky").fit((self._train - mean) / std, positive[train])
            for strength in strengths
        ]
        scores = [roc_auc_score(self._labels, fit.decision_function(self._scaled)) for fit in fits]
        self.auroc = float(max(scores))
        self.strength = strengths[int(np.argmax(scores))]
        self._fit, self._mean, self._std = fits[int(np.argmax(scores))], mean, std

    def row(self) -> Row:
        return {"knn_balanced": round(self.balanced, 4), "head_auroc": round(self.auroc, 4)}

    def beside(self, other: "Answers") -> Row:
        """Neighbours in common, and the AUROC of the other's head on these embeddings."""
        from sklearn.metrics import roc_auc_score

        pairs = zip(self.nearest[:, :NEIGHBOURS], other.nearest[:, :NEIGHBOURS], strict=True)
        common = np.mean([len(np.intersect1d(mine, theirs)) / NEIGHBOURS for mine, theirs in pairs])
        scores = other._fit.decision_function((self._test - other._mean) / other._std)
        return {
            "neighbours_in_common": round(float(common), 4),
            "auroc_of_the_reference_head": round(float(roc_auc_score(other._labels, scores)), 4),
        }
