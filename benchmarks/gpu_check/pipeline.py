"""Part a: readers, staging and extractor together, beside the best bare forward pass, and what each of them takes."""

import atexit
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from forward import forward_of, free, pass_s, synchronize
from gpu_readers import CHUNK_TILES, ReaderProcesses, ReaderThreads, jpeg_tiles
from networks import Forward, Way, at_shape
from report import Row, Step
from sizes import Sizes

from embedstore.extractors import BatchStream, ExtractorConfig, load_extractor
from embedstore.extractors.cuda_pipeline import CudaPipeline
from embedstore.extractors.torch_extractor import TorchExtractor

_jpegs: dict[int, list[bytes]] = {}
_processes: dict[int, ReaderProcesses] = {}

#: Ways whose fastest is the best bare forward pass.
BARE = (Way(dtype="fp16", weights="all", graph=True), Way(weights="all", graph=True))
#: Settings of readers and of `CudaPipeline`; what is not there is as an ingest has it.
SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"copy_threads": 1},
    {"copy_threads": 2},
    {"slots": 5},
    {"readers": 12},
    {"readers": 8},
    {"readers": 4},
    {"readers": 0},
    {"threads": True},
    {"precision": "bf16"},
    {"precision": "fp32"},
)
OF_LARGE = ({}, {"readers": 4}, {"readers": 2}, {"readers": 0})


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
    on_cpu = device.type == "cpu"
    networks = [
        Step(
            part="pipeline",
            name=model,
            about_s=1 if on_cpu else 25 if number < 2 else 15,
            run=lambda model=model, number=number: with_network(  # type: ignore[misc]
                sizes, device, model, SETTINGS if number < 2 else OF_LARGE
            ),
        )
        for number, model in enumerate(sizes.models)
    ]
    about_s = 1 if on_cpu else 6
    return [
        Step(part="pipeline", name="readers alone", about_s=about_s, run=lambda: readers_alone(sizes)),
        *networks,
        Step(part="pipeline", name="free network", about_s=about_s, run=lambda: with_free_network(sizes, device)),
    ]


def jpegs_of(sizes: Sizes) -> list[bytes]:
    if sizes.tile_px not in _jpegs:
        _jpegs[sizes.tile_px] = jpeg_tiles(sizes.distinct, sizes.tile_px)
    return _jpegs[sizes.tile_px]


def processes_of(sizes: Sizes) -> ReaderProcesses:
    """As many readers as there ever are, which are started once."""
    readers = max(sizes.readers)
    if readers not in _processes:
        _processes[readers] = ReaderProcesses(jpegs_of(sizes), tile_px=sizes.tile_px, readers=readers)
        atexit.register(_processes[readers].close)
    return _processes[readers]


def readers_alone(sizes: Sizes) -> Iterator[Row]:
    """What readers decode when nothing waits for them."""
    tiles, processes = sizes.tiles // 2, processes_of(sizes)
    for readers in sizes.readers:
        for threads in (False, True):
            began, cpu_began = time.perf_counter(), time.process_time()
            for _ in chunks(sizes, tiles, readers, threads):
                pass
            took, cpu = time.perf_counter() - began, time.process_time() - cpu_began
            yield {
                "readers": readers,
                "threads": threads,
                "tiles_per_s": round(tiles / took, 1),
                "cpu_us_per_tile": round((cpu if threads else processes.cpu_s) / tiles * 1e6, 1),
            }


def with_free_network(sizes: Sizes, device: torch.device) -> Iterator[Row]:
    extractor = ForwardExtractor(free_forward, tile_px=sizes.tile_px, batch=sizes.batches[0], device=device)
    for setting in ({}, {"copy_threads": 1}, {"readers": 0}):
        yield {"model": "free", **run_pipeline(sizes, device, extractor, setting)}


def with_network(sizes: Sizes, device: torch.device, model: str, settings: Sequence[dict[str, Any]]) -> Iterator[Row]:
    """The extractor as an ingest loads it."""
    best = 0.0
    for way in BARE:
        for batch in sizes.batches[:2]:
            shape = (batch, sizes.tile_px, sizes.tile_px, 3)
            tiles = torch.randint(0, 255, shape, dtype=torch.uint8, device=device)
            forward = at_shape(forward_of(device, model, way), way, shape, device)
            forward(tiles)
            speed = batch / pass_s(lambda forward=forward, tiles=tiles: forward(tiles), sizes.measure_s, device)  # type: ignore[misc]
            best = max(best, speed)
            yield {"model": model, "bare": str(way), "batch": batch, "tiles_per_s": round(speed, 1)}
            del forward, tiles
    free()
    extractors: dict[str | None, TorchExtractor] = {}
    for setting in settings:
        precision = setting.get("precision")
        if precision not in extractors:
            extractors.clear()
            free()
            config = ExtractorConfig(ref=model, weights="random", precision=precision, tile_px=sizes.tile_px)
            extractors[precision] = loaded = load_extractor(config, device=str(device))  # type: ignore[assignment]
            loaded.batch_tiles = sizes.batches[0]
        row = run_pipeline(sizes, device, extractors[precision], setting, tiles=tiles_for(sizes, best))
        yield {
            "model": model,
            "best_bare_tiles_per_s": round(best, 1),
            "share_of_best_bare": round(row["tiles_per_s"] / best, 3),
            **row,
        }


def tiles_for(sizes: Sizes, speed: float) -> int:
    """Tiles of a run: a slow network needs fewer for as many seconds."""
    batch = sizes.batches[0]
    return min(sizes.tiles, max(8 * batch, int(speed) // batch * batch)) if sizes.tiles > 100 else sizes.tiles


def run_pipeline(
    sizes: Sizes, device: torch.device, extractor: TorchExtractor, setting: dict[str, Any], tiles: int = 0
) -> Row:
    """Tiles/s from JPEG in memory to float16 rows on the host, and the microseconds a tile of the main thread."""
    stream, tiles = BatchStream(extractor), tiles or sizes.tiles
    given = {name: setting[name] for name in ("slots", "copy_threads") if name in setting}
    if given and device.type == "cuda":
        stream._pipeline = CudaPipeline(extractor, stream.batch_tiles, **given)
    clock = Clock(stream._pipeline)
    readers, threads = setting.get("readers", sizes.readers[-1]), setting.get("threads", False)
    speeds, parts, cpu_us = [], {}, 0.0
    for turn in range(1 + sizes.rounds):  # the first warms up
        count = min(tiles, 8 * stream.batch_tiles) if turn == 0 else tiles
        clock.seconds.clear()
        synchronize(device)
        source = chunks(sizes, count, readers, threads)
        began, cpu_began, rows = time.perf_counter(), time.process_time(), 0
        for pixels in clock.waiting(source):
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
        "batch": stream.batch_tiles,
        "tiles": tiles,
        "tiles_per_s": round(speed, 1),
        "spread": round((max(speeds) - min(speeds)) / speed, 3),
        **parts,
        "main_cpu_us": round(cpu_us, 1),
    }


_same: dict[int, np.ndarray] = {}


def chunks(sizes: Sizes, tiles: int, readers: int, threads: bool = False) -> Iterator[np.ndarray]:
    """Decoded chunks, or with no readers the same chunk again and again."""
    if threads and readers:
        return iter(ReaderThreads(jpegs_of(sizes), tiles=tiles, readers=readers))
    if readers:
        return processes_of(sizes).chunks(tiles, readers)
    if sizes.tile_px not in _same:
        shape = (CHUNK_TILES, sizes.tile_px, sizes.tile_px, 3)
        _same[sizes.tile_px] = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    return (_same[sizes.tile_px][: tiles - start] for start in range(0, tiles, CHUNK_TILES))


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
