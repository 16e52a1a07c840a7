"""Part c: rows are the same bits whatever overlaps, a small memory halves batches, and memory stays flat."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from forward import forward_of, free, synchronize
from networks import Way
from pipeline import ForwardExtractor, free_forward
from precision import cosines
from report import Row, Step
from sizes import Sizes
from torch import nn

from embedstore.extractors import BatchStream, ExtractorConfig, load_extractor
from embedstore.extractors.cuda_pipeline import CudaPipeline
from embedstore.extractors.networks.network import NetworkExtractor
from embedstore.extractors.spec import ExtractorSpec

BANK = 1024
BATCH = 64
WAYS = {"free": None, "bf16 autocast": Way(), "bf16 all": Way(weights="all")}


def steps(sizes: Sizes, device: torch.device) -> list[Step]:
    on_cpu = device.type == "cpu"
    tests = {"races": races, "two extractors": two_extractors, "memory": memory, "halving": halving}
    return [
        Step(part="races", name=name, about_s=1 if on_cpu else 6, run=lambda run=run: run(sizes, device))  # type: ignore[misc]
        for name, run in tests.items()
    ]


def own_steps(sizes: Sizes, device: torch.device) -> list[Step]:
    about_s = 1 if device.type == "cpu" else 10
    return [Step(part="own", name="own extractor", about_s=about_s, run=lambda: own(sizes, device))]


def extractor_of(sizes: Sizes, device: torch.device, name: str, batch: int) -> ForwardExtractor:
    way = WAYS[name]
    forward = free_forward if way is None else forward_of(device, sizes.models[0], way)
    return ForwardExtractor(forward, tile_px=sizes.tile_px, batch=batch, device=device)


def stream_of(extractor: ForwardExtractor, device: torch.device, **setting: Any) -> BatchStream:
    stream = BatchStream(extractor)
    if device.type == "cuda":
        stream._pipeline = CudaPipeline(extractor, stream.batch_tiles, **setting)
    return stream


def pushes(sizes: Sizes, batch: int) -> Iterator[np.ndarray]:
    """Tiles in pushes of changing sizes, and in every push others; an array that is overwritten after each push."""
    rng = np.random.default_rng(1)
    bank = rng.integers(0, 256, (BANK if sizes.batches_checked > 10 else 32, sizes.tile_px, sizes.tile_px, 3), np.uint8)
    left = sizes.batches_checked * batch + batch // 2
    while left:
        n = min(left, int(rng.choice([1, 7, batch // 2, batch, 2 * batch + 5])), len(bank) // 2)
        start = int(rng.integers(0, len(bank) - n))
        yield bank[start : start + n]
        left -= n


def expected_rows(sizes: Sizes, extractor: ForwardExtractor, device: torch.device) -> np.ndarray:
    """Rows of whole batches, one at a time, each ended before the next begins."""
    batch, rows, waiting = extractor.batch_tiles, [], np.empty((0, sizes.tile_px, sizes.tile_px, 3), np.uint8)
    for pixels in [*pushes(sizes, batch), None]:
        if pixels is None and len(waiting):
            filled = len(waiting)
            pixels = np.zeros((batch - filled, *waiting.shape[1:]), np.uint8)
            rows.append(_alone(extractor, np.concatenate([waiting, pixels]), device)[:filled])
        elif pixels is not None:
            waiting = np.concatenate([waiting, pixels])
            while len(waiting) >= batch:
                rows.append(_alone(extractor, waiting[:batch], device))
                waiting = waiting[batch:]
    return np.concatenate(rows)


def _alone(extractor: ForwardExtractor, pixels: np.ndarray, device: torch.device) -> np.ndarray:
    rows = extractor.forward(torch.from_numpy(np.ascontiguousarray(pixels)).to(device))
    synchronize(device)
    return rows.cpu().numpy().copy()


def compared(rows: np.ndarray, expected: np.ndarray) -> Row:
    if rows.shape != expected.shape:
        return {"rows": len(rows), "expected": len(expected), "same": False}
    wrong = (rows.view(np.uint16) != expected.view(np.uint16)).any(axis=1)
    difference = np.abs(rows.astype(np.float32) - expected.astype(np.float32)).max(initial=0)
    return {"rows": len(rows), "wrong_rows": int(wrong.sum()), "largest_difference": float(difference)}


def races(sizes: Sizes, device: torch.device) -> Iterator[Row]:
    batch = min(BATCH, 4 * sizes.batches[0])
    for name in WAYS:
        extractor = extractor_of(sizes, device, name, batch)
        expected = expected_rows(sizes, extractor, device)
        again = expected_rows(sizes, extractor, device)
        yield {"network": name, "setting": "the same twice", **compared(again, expected)}
        for setting in ({"slots": 2, "copy_threads": 1}, {"slots": 3, "copy_threads": 4}, {"slots": 3, "graph": True}):
            stream = stream_of(extractor, device, **setting)
            scratch = np.empty((2 * batch + 5, sizes.tile_px, sizes.tile_px, 3), np.uint8)
            rows = []
            for pixels in pushes(sizes, batch):
                scratch[: len(pixels)] = pixels
                rows.append(stream.push(scratch[: len(pixels)]))
                scratch[: len(pixels)] = 77  # the caller may reuse it
            rows.append(stream.flush())
            yield {"network": name, "setting": str(setting), **compared(np.concatenate(rows), expected)}


def own(sizes: Sizes, device: torch.device) -> Iterator[Row]:
    """The project's own extractor as a run has it: with resizing, recorded, and with tiles that overflow fp16."""
    config = ExtractorConfig(ref=sizes.models[0], weights="random", tile_px=sizes.tile_px + 32)
    loaded: Any = load_extractor(config, device=str(device))
    batch = loaded.batch_tiles = min(BATCH, 4 * sizes.batches[0])
    overflowing = NetworkExtractor(OVERFLOW, Overflowing(), device=device)
    for name, extractor in {"resized": loaded, "overflowing": overflowing}.items():
        rng = np.random.default_rng(4)
        shape = (5 * batch + 3, extractor.tile_px, extractor.tile_px, 3)
        # Of any brightness, so that in each batch some overflow.
        pixels = rng.integers(0, 256, (shape[0], 1, 1, 1), np.uint8) // 2 + rng.integers(0, 128, shape, np.uint8)
        extractor.batch_tiles = batch
        stream = BatchStream(extractor)
        rows = np.concatenate([stream.push(pixels), stream.flush()])
        expected = np.concatenate([_whole(extractor, pixels[at : at + batch]) for at in range(0, len(pixels), batch)])
        kind = type(getattr(stream._pipeline, "_forward", None)).__name__
        beside = {}
        if name == "resized":
            wide: Any = load_extractor(replace(config, precision="fp32"), device=str(device))
            beside = cosines(rows.astype(np.float32), wide.embed(pixels).astype(np.float32))
        yield {
            "network": name, "forward": kind, "weights": str(extractor._dtype), "overflowed": extractor._overflowed,
            **compared(rows, expected), **beside,
        }  # fmt: skip


class Overflowing(nn.Module):
    """The mean of each colour, by way of values that fp16 does not hold for bright tiles."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((3,), 60000.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3)) * 2 * self.weight / self.weight


OVERFLOW = ExtractorSpec(name="overflowing", kind="timm", source="here", arch="none", tile_px=32)


def _whole(extractor: Any, pixels: np.ndarray) -> np.ndarray:
    """Rows of a batch that is filled up with blank tiles, as those of a stream are."""
    full = np.zeros((extractor.batch_tiles, *pixels.shape[1:]), np.uint8)
    full[: len(pixels)] = pixels
    return extractor.embed(full)[: len(pixels)]


def two_extractors(sizes: Sizes, device: torch.device) -> Iterator[Row]:
    """Two streams of different batches that take the same pushes in turn."""
    batch = min(BATCH, 4 * sizes.batches[0])
    for graph in (False, True):
        made = {"free": batch, "bf16 all": batch // 2}
        extractors = {name: extractor_of(sizes, device, name, size) for name, size in made.items()}
        streams = {name: stream_of(extractor, device, graph=graph) for name, extractor in extractors.items()}
        rows: dict[str, list[np.ndarray]] = {name: [] for name in made}
        for pixels in pushes(sizes, batch):
            for name, stream in streams.items():
                rows[name].append(stream.push(pixels))
        for name, stream in streams.items():
            rows[name].append(stream.flush())
        # Both saw the pushes of the larger batch; the rows of a tile alone do not depend on its batch for the free one.
        total = sizes.batches_checked * batch + batch // 2
        expected = {"free": expected_rows(sizes, extractors["free"], device)}
        alone = stream_of(extractors["bf16 all"], device)
        expected["bf16 all"] = np.concatenate([*(alone.push(p) for p in pushes(sizes, batch)), alone.flush()])
        for name in made:
            got = np.concatenate(rows[name])
            yield {"network": name, "graph": graph, "tiles": total, **compared(got, expected[name])}


def memory(sizes: Sizes, device: torch.device) -> Iterator[Row]:
    """Bytes on the device after a few batches, and after many."""
    if device.type == "cpu":
        yield {"skipped": "no memory of a device"}
        return
    batch = sizes.batches[0]
    for name, graph in (("bf16 autocast", False), ("bf16 all", True)):
        free()
        extractor = extractor_of(sizes, device, name, batch)
        stream = stream_of(extractor, device, graph=graph)
        pixels = np.random.default_rng(2).integers(0, 256, (batch, sizes.tile_px, sizes.tile_px, 3), np.uint8)
        counts = []
        for turns in (10, sizes.batches_flat):
            for _ in range(turns):
                stream.push(pixels)
            stream.flush()
            counts.append((torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)))
        yield {
            "network": name, "graph": graph, "batches": sizes.batches_flat,
            "allocated_mb": [round(count[0] / 1e6, 1) for count in counts],
            "reserved_mb": [round(count[1] / 1e6, 1) for count in counts],
            "flat": counts[0] == counts[1],
        }  # fmt: skip


def halving(sizes: Sizes, device: torch.device) -> Iterator[Row]:
    """The process may take little more than the network: a batch is computed in parts, with the same rows."""
    if device.type == "cpu":
        yield {"skipped": "no memory of a device"}
        return
    batch = sizes.batches[0]
    extractor = ForwardExtractor(
        forward_of(device, sizes.models[1], Way()), tile_px=sizes.tile_px, batch=batch, device=device
    )
    pixels = np.random.default_rng(3).integers(0, 256, (2 * batch, sizes.tile_px, sizes.tile_px, 3), np.uint8)
    whole = stream_of(extractor, device)
    expected = np.concatenate([whole.push(pixels), whole.flush()]).astype(np.float32)
    del whole
    stream = stream_of(extractor, device)
    free()
    room = torch.cuda.memory_allocated(device) + 500_000_000
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(room / total, device)
    try:
        rows = np.concatenate([stream.push(pixels), stream.flush()]).astype(np.float32)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    cosine = (rows * expected).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(expected, axis=1)
    yield {"parts": extractor._parts, "rows": len(rows), "least_cosine": round(float(cosine.min()), 6)}
