"""Part a: the fastest bare forward pass of each network."""

import gc
import time
from collections.abc import Iterator

import torch
from networks import GFLOP, Forward, Way, at_shape, make_forward, make_network
from report import Row, Step
from sizes import Sizes

#: Networks with more are measured in fewer ways.
LARGE_GFLOP = 100
#: Ways that are there at once, and those that compile for tens of seconds.
PLAIN = (
    Way(),
    Way(weights="matmul"),
    Way(weights="matmul", graph=True),
    Way(weights="all"),
    Way(weights="all", graph=True),
    Way(dtype="fp16", weights="all", graph=True),
)
OF_CONVOLUTIONS = (
    Way(weights="all", folded=True, graph=True),
    Way(weights="all", folded=True, graph=True, tuned=True),
)
OF_ATTENTION = (Way(weights="all", graph=True, attention="CUDNN_ATTENTION"),)
COMPILED = (Way(weights="all", compiled=True, graph=True), Way(weights="matmul", compiled=True, graph=True))


def plain_steps(sizes: Sizes, device: torch.device, model: str) -> list[Step]:
    special = OF_ATTENTION if model.startswith("vit") else OF_CONVOLUTIONS
    large = GFLOP.get(model, 0) > LARGE_GFLOP
    ways = (PLAIN[0], PLAIN[5], PLAIN[4], *special) if large else (*PLAIN, *special)
    about_s = 1 if device.type == "cpu" else 15
    return [Step(part="forward", name=model, about_s=about_s, run=lambda: measure(sizes, device, model, ways))]


def compiled_steps(sizes: Sizes, device: torch.device, model: str) -> list[Step]:
    about_s = 2 if device.type == "cpu" else 30 if model.startswith("resnet") else 20
    return [
        Step(
            part="forward",
            name=f"{model} {way}",
            about_s=about_s,
            run=lambda way=way: measure(sizes, device, model, [way]),  # type: ignore[misc]
        )
        for way in COMPILED
    ]


def measure(sizes: Sizes, device: torch.device, model: str, ways: tuple[Way, ...] | list[Way]) -> Iterator[Row]:
    for way in ways:
        # A compiled network is compiled again for each batch, and a large one fills the device with few tiles.
        several = (way.graph or way == Way()) and not way.compiled and not way.attention
        gflop = GFLOP.get(model, 0)
        number = 1 if not several or gflop > 2 * LARGE_GFLOP else 2 if gflop > LARGE_GFLOP else len(sizes.batches)
        for batch in sizes.batches[:number]:
            yield {"model": model, "way": str(way), "batch": batch, **_one(sizes, device, model, way, batch)}


_made: dict[str, Forward] = {}


def forward_of(device: torch.device, model: str, way: Way) -> Forward:
    """The forward pass of a network computed in this way; the last one is kept for the next batch."""
    key = f"{model} {way} {device}"
    if key not in _made:
        _made.clear()
        free()
        _made[key] = make_forward(make_network(model, device), way)
    return _made[key]


def _one(sizes: Sizes, device: torch.device, model: str, way: Way, batch: int) -> Row:
    try:
        began = time.perf_counter()
        tiles = torch.randint(0, 255, (batch, sizes.tile_px, sizes.tile_px, 3), dtype=torch.uint8, device=device)
        forward = at_shape(forward_of(device, model, way), way, tuple(tiles.shape), device)
        forward(tiles), forward(tiles)
        synchronize(device)
        made_s = time.perf_counter() - began
        speed = batch / pass_s(lambda: forward(tiles), sizes.measure_s, device)
        row: Row = {"tiles_per_s": round(speed, 1), "made_s": round(made_s, 1)}
        if model in GFLOP:
            row["tflop_per_s"] = round(speed * GFLOP[model] / 1000, 1)
        if device.type == "cuda":
            row["memory_gb"] = round(torch.cuda.max_memory_allocated(device) / 1e9, 1)
            torch.cuda.reset_peak_memory_stats(device)
        return row
    except Exception as error:  # one way that fails must not cost the others
        if "CUDA error" in str(error):
            raise
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def pass_s(run, least_s: float, device: torch.device) -> float:  # type: ignore[no-untyped-def]
    """Median seconds of a pass, of three runs of as many passes as fill a third of the time."""
    synchronize(device)
    began = time.perf_counter()
    run()
    synchronize(device)
    passes = max(1, round(least_s / 3 / (time.perf_counter() - began)))
    took = []
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(passes):
            run()
        synchronize(device)
        took.append((time.perf_counter() - began) / passes)
    return sorted(took)[1]


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free() -> None:
    """Give back the memory of a GPU; that of a host suffices, and looking through all that JAX brings takes 0.2 s."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
