"""Tiles/s of a network's bare forward pass, on batches and threads as `embedstore ingest` uses them.

python benchmarks/bare_forward.py MODEL TILE_PX [SECONDS]
"""

import json
import os
import sys
import time

import numpy as np

from embedstore.extractors import ExtractorConfig, load_extractor
from embedstore.extractors.torch_runtime import set_threads


def main() -> None:
    model, tile_px, seconds = sys.argv[1], int(sys.argv[2]), float((sys.argv[3:] or ["20"])[0])
    set_threads(os.cpu_count() or 1)
    extractor = load_extractor(ExtractorConfig(ref=model, weights="random", tile_px=tile_px))
    pixels = np.random.default_rng(0).integers(0, 255, (extractor.batch_tiles, tile_px, tile_px, 3), np.uint8)
    extractor.embed(pixels)
    began, batches = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        extractor.embed(pixels)
        batches += 1
    print(json.dumps({"tiles_per_s": batches * len(pixels) / (time.perf_counter() - began)}))


if __name__ == "__main__":
    main()
