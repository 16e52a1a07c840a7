"""The peer of `ingest.py cost`: the same work by LazySlide, as its users do it, with a model that costs nothing.

    python benchmarks/peer_lazyslide.py TILE_PX TILE_MPP SLIDE...

Run by the Python of an environment that has `lazyslide`; it needs nothing of embedstore. Opens each slide, finds and
tiles tissue, takes features of the tiles and writes LazySlide's zarr store into a temporary folder. The last line of
stdout is JSON: how many tiles in all, and LazySlide's version. Its imports take 7 to 10 seconds of CPU: on a slide of
a few hundred tiles they are most of the figure, so compare reading on a slide of thousands.

What is LazySlide's default stays: the reader (OpenSlide, for every format it knows; another one ends the run, because
its pixels cost something else), OpenSlide's cache, the tissue finder, batches of 32. What is set, and why:

- Tiles with half their area in tissue are kept, as by embedstore (LazySlide's default is 0.7): the two then cut nearly
  as many tiles, and start-up is spread over as many.
- The model is the mean of each channel over a 16th of the rows and columns, and there is no transform: pixels reach it
  as uint8. A network's users pay for the conversion to float and the normalisation besides.
- `num_workers=0`, the default: one process. With 1 and 2 workers the CPU time a tile was the same within noise.
- One thread for torch, OpenMP and OpenCV, and no progress bar.
"""

import json
import os
import sys
import tempfile
import warnings

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch and numpy are first imported, below

import cv2
import lazyslide as zs
import torch

MIN_TISSUE = 0.5  # embedstore's default
EVERY = 16


def channel_means(images: torch.Tensor) -> torch.Tensor:
    """(n, 3) means of (n, height, width, 3) uint8 pixels."""
    return images[:, ::EVERY, ::EVERY].float().mean((1, 2))


def main() -> None:
    tile_px, tile_mpp = int(sys.argv[1]), float(sys.argv[2])
    warnings.filterwarnings("ignore", message="zarr v3 autosharding")  # dozens of them, from the write
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    zs.settings.pbar = False
    zs.settings.device = "cpu"
    tiles = sum(tiles_of(slide, tile_px, tile_mpp) for slide in sys.argv[3:])
    print(json.dumps({"tiles": tiles, "lazyslide": zs.__version__}))


def tiles_of(slide: str, tile_px: int, tile_mpp: float) -> int:
    """Take a slide through LazySlide; how many tiles it had."""
    with tempfile.TemporaryDirectory() as folder:
        wsi = zs.open_wsi(slide, store=folder)
        if wsi.reader.name != "openslide":
            raise SystemExit(f"LazySlide read {slide} with {wsi.reader.name}; expected openslide")
        zs.pp.find_tissues(wsi)
        zs.pp.tile_tissues(wsi, tile_px, mpp=tile_mpp, background_fraction=1 - MIN_TISSUE)
        zs.tl.feature_extraction(wsi, channel_means, num_workers=0)
        wsi.write()
        return len(wsi.tables["channel_means_tiles"])


if __name__ == "__main__":
    main()
