"""Tiles/s through readers and an extractor, beside the same network's bare forward pass.

Plain classes, no Ray, and no slide: it needs torch, timm, numpy, cv2 and this source, so that it runs on a bare GPU
machine. The tiles are JPEG images in memory (smooth blobs of colour with grain, at the size that H&E tiles have under
JPEG quality 80); readers decode them into chunks, in processes as in a run (`--threads`: in threads of this one), and
the main thread pushes the chunks through `BatchStream`. Networks have random weights, which take as long as trained
ones.

`bare` is the extractor's own forward pass on a batch that lies on the device already, recorded as in the pipeline:
normalisation, network, pooling, float16. `pipeline` is everything: decoding, staging, copying, computing, rows back on
the host. Both run in turn, `--rounds` times; the row has the medians, the spread and the share of the bare speed that
the pipeline keeps. `readers` is what they decode when nothing waits for them: where that is less than `bare`, they are
the bottleneck.

    python benchmarks/gpu_extract.py                                         # ResNet-50, ViT-S/16 and ViT-L/16
    python benchmarks/gpu_extract.py --device cpu --model resnet18 --tiles 256 --batch 16 --readers 1   # a small check
"""

import argparse
import csv
import datetime
import itertools
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from gpu_readers import ReaderProcesses, ReaderThreads, jpeg_tiles

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from embedstore.extractors import BatchStream, ExtractorConfig, load_extractor  # noqa: E402

MODELS = ("resnet50", "vit_small_patch16_224", "vit_large_patch16_224")
TILE_PX = 224
DISTINCT_TILES = 256
RESULTS = ROOT / "benchmarks" / "results" / "gpu_extract.csv"


class Bench:
    """One network on one device, with its tiles."""

    def __init__(
        self, model: str, *, device: str, batch: int | None, precision: str | None, readers: int, threads: bool
    ) -> None:
        config = ExtractorConfig(ref=model, weights="random", precision=precision, tile_px=TILE_PX)
        self.extractor = load_extractor(config, device=device)
        self.batch = batch or self.extractor.batch_tiles
        self.readers = readers
        self.jpegs = jpeg_tiles(DISTINCT_TILES, TILE_PX)
        self.processes = None if threads else ReaderProcesses(self.jpegs, tile_px=TILE_PX, readers=readers)

    def chunks(self, tiles: int) -> Iterable[np.ndarray]:
        """Decoded tiles."""
        if self.processes is None:
            return ReaderThreads(self.jpegs, tiles=tiles, readers=self.readers)
        return self.processes.chunks(tiles)

    def close(self) -> None:
        """Stop the readers."""
        if self.processes is not None:
            self.processes.close()

    def bare(self, tiles: int) -> float:
        """Tiles/s of the forward pass alone, on tiles that lie on the device."""
        import torch

        batch = torch.randint(0, 255, (self.batch, TILE_PX, TILE_PX, 3), dtype=torch.uint8)
        batch = batch.to(self.extractor.torch_device)  # type: ignore[attr-defined]
        passes, forward = max(1, tiles // self.batch), self.extractor.forward  # type: ignore[attr-defined]
        if self.extractor.recordable:  # type: ignore[attr-defined]
            from embedstore.extractors.cuda_pipeline import RecordedForward

            forward = RecordedForward(self.extractor, tuple(batch.shape))  # type: ignore[arg-type]
        self._synchronize()
        began = time.perf_counter()
        for _ in range(passes):
            rows = forward(batch)
        rows.cpu()
        self._synchronize()
        return passes * self.batch / (time.perf_counter() - began)

    def pipeline(self, tiles: int) -> float:
        """Tiles/s from JPEG in memory to float16 rows on the host."""
        stream = BatchStream(self.extractor, self.batch)
        began = time.perf_counter()
        rows = 0
        for chunk in self.chunks(tiles):
            rows += len(stream.push(chunk))
        rows += len(stream.flush())
        if rows != tiles:
            raise RuntimeError(f"the pipeline gave {rows} rows for {tiles} tiles")
        return tiles / (time.perf_counter() - began)

    def reading(self, tiles: int) -> float:
        """Tiles/s of the readers alone."""
        began = time.perf_counter()
        for _ in self.chunks(tiles):
            pass
        return tiles / (time.perf_counter() - began)

    def _synchronize(self) -> None:
        import torch

        if self.extractor.device.startswith("cuda"):
            torch.cuda.synchronize()


def measure(bench: Bench, model: str, tiles: int, rounds: int) -> dict[str, object]:
    """One row: bare and pipeline in turn, after a warm-up of each."""
    import timm
    import torch

    warm = 4 * bench.batch if bench.extractor.device.startswith("cuda") else bench.batch
    bench.bare(warm), bench.pipeline(warm)
    bare, pipeline = [], []
    for _ in range(rounds):
        bare.append(bench.bare(tiles))
        pipeline.append(bench.pipeline(tiles))
    on_gpu = bench.extractor.device.startswith("cuda")
    return {
        "date": datetime.date.today().isoformat(),
        "device": torch.cuda.get_device_name(bench.extractor.device) if on_gpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "model": model,
        "precision": bench.extractor.record()["precision"] if on_gpu else "fp32",
        "tile_px": TILE_PX,
        "batch": bench.batch,
        "tiles": tiles,
        "readers": f"{bench.readers} {'threads' if bench.processes is None else 'processes'}",
        "bare_tiles_per_s": round(statistics.median(bare), 1),
        "pipeline_tiles_per_s": round(statistics.median(pipeline), 1),
        "bare_spread": round((max(bare) - min(bare)) / statistics.median(bare), 3),
        "pipeline_spread": round((max(pipeline) - min(pipeline)) / statistics.median(pipeline), 3),
        "share_of_bare": round(statistics.median(pipeline) / statistics.median(bare), 3),
        "readers_tiles_per_s": round(bench.reading(tiles), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--model", action="append", help=f"timm name, may be repeated; default {', '.join(MODELS)}")
    parser.add_argument("--precision", action="append", choices=["fp32", "fp16", "bf16"], help="the default one")
    parser.add_argument("--tiles", type=int, default=16384, help="tiles a round")
    parser.add_argument("--batch", type=int, help="tiles a forward pass; the extractor's default")
    parser.add_argument("--readers", type=int, default=max(1, len(os.sched_getaffinity(0)) - 2))
    parser.add_argument("--threads", action="store_true", help="readers are threads of this process")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS, help="CSV to append to")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)  # a decoder thread each; more would only fight over the cores
    rows = []
    for model, precision in itertools.product(arguments.model or MODELS, arguments.precision or [None]):
        bench = Bench(
            model,
            device=arguments.device,
            batch=arguments.batch,
            precision=precision,
            readers=arguments.readers,
            threads=arguments.threads,
        )
        rows.append(measure(bench, model, arguments.tiles, arguments.rounds))
        bench.close()
        print(json.dumps(rows[-1]), flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    is_new = not arguments.out.exists()
    with arguments.out.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
