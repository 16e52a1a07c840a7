"""Part a: reader threads, staging and extractor together, and what each of them takes."""

import queue
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from forward import forward_of, free, pass_s, synchronize
from gpu_extract import CHUNK_TILES, ReaderThreads, jpeg_tiles
from networks import Forward, Way, at_shape
from report import Row, Step
from sizes import Sizes

from embedstore.extractors import BatchStream
from embedstore.extractors.cuda_pipeline import CudaPipeline
from embedstore.extractors.torch_extractor import TorchExtractor

_jpegs: dict[int, list[bytes]] = {}
_rooms: "dict[tuple[int, int], queue.Queue[np.ndarray]]" = {}

BEST = Way(weights="all", graph=True)
#: Settings of `CudaPipeline` and of the readers, from what was there first to what should be best.
SETTINGS: tuple[dict[str, Any], ...] = (
    {"way": Way(), "slots": 2, "copy_threads": 1},
    {"way": Way(), "slots": 3, "copy_threads": 1},
    {"way": Way(), "slots": 3, "copy_threads": 4},
    {"way": BEST, "slots": 3, "copy_threads": 4},
    {"way": BEST, "slots": 3, "copy_threads": 4, "reuse": True},
    {"way": BEST, "slots": 3, "copy_threads": 4, "reuse": True, "chunk": 256},
    {"way": BEST, "slots": 3, "copy_threads": 2, "reuse": True},
    {"way": BEST, "slots": 3, "copy_threads": 1, "reuse": True},
    {"way": BEST, "slots": 3, "copy_threads": 4, "readers": 0},
    {"way": BEST, "slots": 3, "copy_threads": 1, "readers": 0},
)


class ForwardExtractor(TorchExtractor):
    """A forward pass as an extractor."""

    mpp, digest = None, "sha256:" + "0" * 64

    def __init__(self, forward: Forward, *, tile_px: int, batch: int, device: torch.device) -> None:
        self.name, self.tile_px, self.batch_tiles = "forward", tile_px, batch
        self.torch_device, self.device = device, str(device)
        self._forward = forward
        blank = torch.zeros((batch, tile_px, tile_px, 3), dtype=torch.uint8, device=device)
        self.dim = int(forward(blank).shape[1])

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        return self._forward(tiles)


def free_forward(tiles: torch.Tensor) -> torch.Tensor:
    """Almost nothing to compute."""
    return tiles[:, :4, 0, 0].to(torch.float16)


def steps(sizes: Sizes, device: torch.device) -> list[Step]:
    on_cpu, small = device.type == "cpu", sizes.models[:2]

    def about(seconds: float) -> float:
        return 1 if on_cpu else seconds

    return [
        Step(part="pipeline", name="readers alone", about_s=about(10), run=lambda: readers_alone(sizes)),
        Step(part="pipeline", name="copies", about_s=about(4), run=lambda: copies(sizes, device)),
        Step(part="pipeline", name="free network", about_s=about(6), run=lambda: with_free_network(sizes, device)),
        *(
            Step(
                part="pipeline",
                name=model,
                about_s=about(24),
                run=lambda model=model: with_network(sizes, device, model, SETTINGS),  # type: ignore[misc]
            )
            for model in small
        ),
        *(
            Step(
                part="pipeline",
                name=model,
                about_s=about(12),
                run=lambda model=model: with_network(
                    sizes, device, model, [{**SETTINGS[3], "tiles": sizes.tiles // 4}]
                ),  # type: ignore[misc]
            )
            for model in sizes.models[2:]
        ),
    ]


def jpegs_of(sizes: Sizes) -> list[bytes]:
    if sizes.tile_px not in _jpegs:
        _jpegs[sizes.tile_px] = jpeg_tiles(sizes.distinct, sizes.tile_px)
    return _jpegs[sizes.tile_px]


def room_of(sizes: Sizes, readers: int, chunk: int) -> "queue.Queue[np.ndarray]":
    """Arrays for the chunks of so many readers, whose pages are there already."""
    if (readers, chunk) not in _rooms:
        room: queue.Queue[np.ndarray] = queue.Queue()
        for _ in range(3 * readers + 1):
            room.put(np.full((chunk, sizes.tile_px, sizes.tile_px, 3), 1, np.uint8))
        _rooms[readers, chunk] = room
    return _rooms[readers, chunk]


def readers_alone(sizes: Sizes) -> Iterator[Row]:
    """What the threads decode when nothing waits for them, into new arrays and into arrays that are used again."""
    jpegs, tiles = jpegs_of(sizes), sizes.tiles // 2
    for readers in sizes.readers:
        for reuse in (False, True):
            room = room_of(sizes, readers, CHUNK_TILES) if reuse else None
            began, cpu_began = time.perf_counter(), time.process_time()
            for _ in ReaderThreads(jpegs, tiles=tiles, readers=readers, room=room):
                pass
            took, cpu = time.perf_counter() - began, time.process_time() - cpu_began
            yield {
                "readers": readers,
                "reuse": reuse,
                "tiles_per_s": round(tiles / took, 1),
                "cpu_us_per_tile": round(cpu / tiles * 1e6, 1),
            }


def copies(sizes: Sizes, device: torch.device) -> Iterator[Row]:
    """GB/s of filling a pinned batch from pageable memory, and of the copy from there to the device."""
    shape = (sizes.batches[0], sizes.tile_px, sizes.tile_px, 3)
    pinned = torch.zeros(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
    source = np.random.default_rng(0).integers(0, 255, (4, *shape), np.uint8)
    gigabytes = pinned.nbytes / 1e9
    if device.type == "cuda":
        extractor = ForwardExtractor(free_forward, tile_px=sizes.tile_px, batch=shape[0], device=device)
        for threads in (1, 2, 4, 8):
            fill = CudaPipeline(extractor, 1, copy_threads=threads).fill
            turns = iter(range(10**9))

            def run(fill=fill, turns=turns) -> None:  # type: ignore[no-untyped-def]
                fill(pinned.numpy(), source[next(turns) % len(source)])

            run()
            yield {"copy": "fill", "threads": threads, "gb_per_s": round(gigabytes / pass_s(run, 0.2, device), 2)}
    tiles = torch.zeros(shape, dtype=torch.uint8, device=device)
    seconds = pass_s(lambda: tiles.copy_(pinned, non_blocking=True), 0.1, device)
    yield {"copy": "to device", "gb_per_s": round(gigabytes / seconds, 2)}


def with_free_network(sizes: Sizes, device: torch.device) -> Iterator[Row]:
    extractor = ForwardExtractor(free_forward, tile_px=sizes.tile_px, batch=sizes.batches[0], device=device)
    for setting in (
        {"copy_threads": 1},
        {"copy_threads": 4},
        {"copy_threads": 4, "reuse": True},
        {"copy_threads": 4, "reuse": True, "chunk": 256},
        {"copy_threads": 4, "readers": 0},
    ):
        yield {"model": "free", **run_pipeline(sizes, device, extractor, {"slots": 3, **setting})}


def with_network(sizes: Sizes, device: torch.device, model: str, settings: Sequence[dict[str, Any]]) -> Iterator[Row]:
    shape = (sizes.batches[0], sizes.tile_px, sizes.tile_px, 3)
    bare: dict[str, float] = {}
    extractors: dict[str, ForwardExtractor] = {}
    for setting in settings:
        way = setting["way"]
        if str(way) not in bare:
            extractors.clear()
            free()
            forward = forward_of(device, model, way)
            extractors[str(way)] = ForwardExtractor(forward, tile_px=shape[1], batch=shape[0], device=device)
            tiles = torch.randint(0, 255, shape, dtype=torch.uint8, device=device)
            shaped = at_shape(forward, way, shape, device)
            shaped(tiles)
            seconds = pass_s(lambda shaped=shaped, tiles=tiles: shaped(tiles), sizes.measure_s, device)
            bare[str(way)] = shape[0] / seconds
            del shaped, tiles
        share = {key: value for key, value in setting.items() if key != "way"}
        row = run_pipeline(sizes, device, extractors[str(way)], {**share, "graph": way.graph})
        yield {
            "model": model,
            "way": str(way),
            "bare_tiles_per_s": round(bare[str(way)], 1),
            "share_of_bare": round(row["tiles_per_s"] / bare[str(way)], 3),
            **row,
        }


def run_pipeline(sizes: Sizes, device: torch.device, extractor: TorchExtractor, setting: dict[str, Any]) -> Row:
    """Tiles/s from JPEG in memory to float16 rows on the host, and the microseconds a tile of the main thread."""
    stream = BatchStream(extractor)
    names = ("slots", "copy_threads", "graph")
    if device.type == "cuda":
        stream._pipeline = CudaPipeline(
            extractor, stream.batch_tiles, **{name: setting[name] for name in names if name in setting}
        )
    clock = Clock(stream._pipeline)
    readers, chunk = setting.get("readers", sizes.readers[-1]), setting.get("chunk", 64)
    tiles = setting.get("tiles", sizes.tiles)
    speeds, parts, cpu_us = [], {}, 0.0
    for turn in range(1 + sizes.rounds):  # the first warms up
        count = min(tiles, 8 * stream.batch_tiles) if turn == 0 else tiles
        clock.seconds.clear()
        synchronize(device)
        began, cpu_began, rows = time.perf_counter(), time.process_time(), 0
        for pixels in clock.waiting(chunks(sizes, count, readers, chunk, setting.get("reuse", False))):
            rows += len(stream.push(pixels))
        rows += len(stream.flush())
        took, cpu = time.perf_counter() - began, time.process_time() - cpu_began
        if rows != count:
            raise RuntimeError(f"the pipeline gave {rows} rows for {count} tiles")
        if turn > 0:
            speeds.append(count / took)
            parts = {f"{name}_us": round(seconds / count * 1e6, 1) for name, seconds in clock.seconds.items()}
            cpu_us = cpu / count * 1e6
    speed = float(np.median(speeds))
    return {
        **setting,
        "readers": readers,
        "tiles_per_s": round(speed, 1),
        "spread": round((max(speeds) - min(speeds)) / speed, 3),
        "us_per_tile": round(1e6 / speed, 1),
        **parts,
        "cpu_us_per_tile": round(cpu_us, 1),
    }


def chunks(sizes: Sizes, tiles: int, readers: int, chunk: int, reuse: bool) -> Iterator[np.ndarray]:
    """Decoded chunks, or with no readers the same chunk again and again."""
    if readers:
        room = room_of(sizes, readers, chunk) if reuse else None
        yield from ReaderThreads(jpegs_of(sizes), tiles=tiles, readers=readers, chunk_tiles=chunk, room=room)
        return
    same = np.random.default_rng(0).integers(0, 255, (chunk, sizes.tile_px, sizes.tile_px, 3), np.uint8)
    for start in range(0, tiles, chunk):
        yield same[: tiles - start]


class Clock:
    """Seconds of the main thread: waiting for readers, filling, starting batches, waiting for their rows."""

    def __init__(self, pipeline: Any) -> None:
        self.seconds: dict[str, float] = {}
        pipeline.fill = self._timed(pipeline.fill, "fill")
        if hasattr(pipeline, "_collect"):
            pipeline._collect = self._timed(pipeline._collect, "collect")
            pipeline._forward = self._timed(pipeline._forward, "start")
        else:
            pipeline.submit = self._timed(pipeline.submit, "start")

    def waiting(self, chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        while True:
            began = time.perf_counter()
            chunk = next(chunks, None)
            self._add("wait", began)
            if chunk is None:
                return
            yield chunk

    def _timed(self, function: Any, name: str) -> Any:
        def timed(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self._add(name, began)

        return timed

    def _add(self, name: str, began: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
