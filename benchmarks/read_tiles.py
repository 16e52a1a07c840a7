"""One side of `readers.py`: reads the tiles of a slide by one reader, and nothing more.

    python benchmarks/read_tiles.py READER SLIDE EDGE_PX TILES THREADS SAMPLE.npy

Run by the Python of an environment that has the reader; only `embedstore` and its variants need this project. Tiles are
squares of level 0, row by row from a whole tile on, and each thread has a part of the rows and an open slide of its
own, unless the reader has threads itself. The last line of stdout is JSON: CPU and wall milliseconds a tile, of the
reading alone. The first tiles' pixels go to a file, to be compared.

- `embedstore` reads as a run does: in a process for each open slide, a batch of tiles a request. `embedstore-here` is
  the reader without that process.
- `microtome` gives tiles as they are stored, in batches, by threads of its own. Larger squares are put together here.
- `openslide`, `tiffslide`, `fastslide` and `lazyslide` (the reader that it chooses, OpenSlide's for most slides) are
  asked for a region at a time, as their users do.
"""

import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

Read = Callable[[np.ndarray], np.ndarray]  # (n, 2) corners to (n, edge, edge, 3) RGB
BATCH = 32
SAMPLE = 96  # tiles that are compared, from the middle on


def embedstore(path: str, edge: int) -> Read:
    from embedstore.slides import open_slide

    return _squares(open_slide(path), edge)


def embedstore_here(path: str, edge: int) -> Read:
    from embedstore.slides.readers.opening import open_here

    return _squares(open_here(path), edge)


def _squares(slide: Any, edge: int) -> Read:
    slide.expect_stride(edge)

    def read(corners: np.ndarray) -> np.ndarray:
        out = np.empty((len(corners), edge, edge, 3), np.uint8)
        errors = slide.read_squares(corners, 0, edge_l0=edge, out=out)
        assert not any(errors), errors
        return out

    return read


def microtome(path: str, edge: int, threads: int) -> Read:
    import microtome

    slide = microtome.open(path)
    level = slide.levels[0]
    stored, across = level["tile_width"], level["tiles_across"]
    side, rest = divmod(edge, stored)
    if rest:
        raise SystemExit(f"microtome gives tiles of {stored} px; squares of {edge} px do not end with them")
    down, right = np.mgrid[:side, :side]

    def read(corners: np.ndarray) -> np.ndarray:
        column, row = (corners // stored).T
        index = (row[:, None, None] + down) * across + column[:, None, None] + right
        tiles = slide.read_batch(0, index.ravel().tolist(), threads)
        if side == 1:
            return tiles
        parts = tiles.reshape(-1, side, side, stored, stored, 3)
        return parts.transpose(0, 1, 3, 2, 4, 5).reshape(-1, edge, edge, 3)

    return read


def openslide(path: str, edge: int) -> Read:
    from openslide import OpenSlide

    slide = OpenSlide(path)
    return _each(lambda xy: np.asarray(slide.read_region(xy, 0, (edge, edge)))[..., :3])


def tiffslide(path: str, edge: int) -> Read:
    from tiffslide import TiffSlide

    slide = TiffSlide(path)
    return _each(lambda xy: slide.read_region(xy, 0, (edge, edge), as_array=True))


def fastslide(path: str, edge: int) -> Read:
    from fastslide import FastSlide

    slide = FastSlide.from_file_path(path)
    return _each(lambda xy: np.asarray(slide.read_region(xy, 0, (edge, edge)).numpy())[..., :3])


def lazyslide(path: str, edge: int) -> Read:
    from wsidata import open_wsi

    reader = open_wsi(path).reader
    return _each(lambda xy: np.asarray(reader.get_region(*xy, edge, edge, level=0))[..., :3])


def _each(one: Callable[[tuple[int, int]], np.ndarray]) -> Read:
    return lambda corners: np.stack([one((int(x), int(y))) for x, y in corners])


def grid(path: str, edge: int, tiles: int) -> np.ndarray:
    """(n, 2) corners of whole tiles, row by row from an eighth of the slide on, in rows of six eighths of its width."""
    from openslide import OpenSlide

    with OpenSlide(path) as slide:
        width, height = slide.dimensions
    xs, ys = (np.arange(length // 8 // edge * edge, length * 7 // 8 - edge, edge) for length in (width, height))
    return np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)[:tiles]


def cpu_s() -> float:
    """User and system seconds of this process and its children, of those that live as well."""
    import psutil

    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return sum(each.user + each.system for each in times)


def main() -> None:
    reader, path, edge, tiles, threads, sample = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6]), sys.argv[6]
    corners = grid(path, edge, tiles)
    if reader == "microtome":
        readers, parts = [microtome(path, edge, threads)], [corners]
    else:
        make = {"embedstore-here": embedstore_here}.get(reader) or globals()[reader]
        readers, parts = [make(path, edge) for _ in range(threads)], np.array_split(corners, threads)
    np.save(sample, readers[0](corners[len(corners) // 2 :][:SAMPLE]))

    def work(which: int) -> None:
        part = parts[which]
        for start in range(0, len(part), BATCH):
            readers[which](part[start : start + BATCH])

    began, used = time.monotonic(), cpu_s()
    with ThreadPoolExecutor(len(readers)) as pool:
        list(pool.map(work, range(len(readers))))
    wall, used = time.monotonic() - began, cpu_s() - used
    name = {"microtome": "microtome-wsi", "openslide": "openslide-python"}.get(reader, reader.removesuffix("-here"))
    version = importlib.metadata.version(name)
    each = {"cpu_ms": 1000 * used / len(corners), "wall_ms": 1000 * wall / len(corners)}
    print(json.dumps({"tiles": len(corners), "version": version, **each}))


if __name__ == "__main__":
    main()
