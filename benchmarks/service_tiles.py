"""CPU time of the service's deep-zoom tiles, beside those of OpenSlide's generator and of large_image.

    python benchmarks/service_tiles.py tiles [SLIDE...] [--large-image PYTHON] [--tiles N]
    python benchmarks/service_tiles.py grid SLIDE...

`tiles` asks both for the same tiles of each slide and level, drawn at random and in the same order: 512 px an edge,
no overlap, JPEG of quality 85, of a slide that was opened for the level. The service's figure counts the process that
reads the slide as well as this one. The peer is `openslide.deepzoom.DeepZoomGenerator` with the tile as JPEG by
Pillow, as the examples of OpenSlide serve it. With `--large-image`, the source that large_image chooses for the file
is asked for its own tiles at the same places; their size is that of the file's, so compare milliseconds a megapixel.
`cached` is the time of a tile that was asked for before, in this process; a request adds what HTTP costs.

`grid` compares edges and overlaps of deep-zoom tiles on level 0, where most tiles of a slide are.

Rows: results/service_tiles.csv and results/service_tiles_grid.csv.
"""

import argparse
import functools
import io
import json
import math
import os
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import openslide
from measure import absolute_path, write_row
from openslide.deepzoom import DeepZoomGenerator

from embedstore.errors import SlideError
from embedstore.service.pictures import Pictures, SlideFile
from embedstore.service.pictures.deep_zoom import DeepZoomGrid
from embedstore.service.pictures.pictures import JPEG_QUALITY, jpeg
from embedstore.slides import Slide, open_slide, single_thread

SHARED = Path(os.environ.get("EMBEDSTORE_DATA", Path(__file__).parents[2] / "shared" / "data")) / "slides"
SLIDES = (
    "CMU-1-Small-Region.svs",
    "dicom-cmu-1-small-region/level-0-frames-0-30.dcm",
    "fluor-DAPI.ndpi",
    "tcga-cr-7395-01a-01-ts1.svs",
)
LEVELS = 8  # of each slide, from the finest on
#: Times large_image's tiles that lie at given pixels of levels, which are counted from the finest on.
LARGE_IMAGE = """
import json, sys, time
import large_image
source = large_image.open(sys.argv[1], encoding="JPEG", jpegQuality=85)
width, height, tile_w, tile_h = (source.getMetadata()[key] for key in ("sizeX", "sizeY", "tileWidth", "tileHeight"))
times, pixels = [], 0
for down, x, y in json.load(sys.stdin):
    if down >= source.levels:
        continue
    column, row = x // tile_w, y // tile_h
    began = time.process_time()
    source.getTile(column, row, source.levels - 1 - down)
    times.append(time.process_time() - began)
    pixels += min(tile_w, -(-width >> down) - column * tile_w) * min(tile_h, -(-height >> down) - row * tile_h)
print(json.dumps([1e3 * sum(times), pixels / 1e6]))
"""


def cpu_ns(pid: int) -> int:
    """CPU time that a process has used, by its CPU-time clock."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def process_of(slide: Slide) -> int:
    return slide._process._process.pid  # type: ignore[attr-defined]


def timed(work: Callable[[], object], *pids: int) -> float:
    """CPU milliseconds of a call in this process and in others."""
    began = sum(map(cpu_ns, pids)) + time.process_time_ns()
    work()
    return (sum(map(cpu_ns, pids)) + time.process_time_ns() - began) / 1e6


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def some_tiles(grid: DeepZoomGrid, level: int, most: int) -> list[tuple[int, int]]:
    columns, rows = grid.tiles(level)
    every = [(column, row) for row in range(rows) for column in range(columns)]
    return random.Random(level).sample(every, min(most, len(every)))


def measure_tiles(path: Path, large_image_python: Path | None, most: int) -> None:
    with open_slide(path) as slide:
        file = SlideFile(name=path.name, path=str(path), reader=slide.reader)
        grid = DeepZoomGrid(size_l0=slide.size_l0)
    for level in range(grid.max_level, max(grid.max_level - LEVELS, -1), -1):
        places = some_tiles(grid, level, most)
        megapixels = sum(math.prod(grid.tile(level, *place)[2:]) for place in places) / 1e6
        ours, cached = our_tiles(file, level, places)
        theirs = openslide_tiles(path, grid, level, places)
        row = {
            "slide": path.name,
            "reader": file.reader,
            "level": level,
            "factor": grid.factor(level),
            "tiles": len(places),
            "cpu_p50_ms": round(statistics.median(ours), 2),
            "cpu_p99_ms": round(percentile(ours, 0.99), 2),
            "cpu_ms_a_megapixel": round(sum(ours) / megapixels, 1),
            "cached_p50_ms": round(statistics.median(cached), 3),
            "openslide_p50_ms": round(statistics.median(theirs), 2) if theirs else "",
            "openslide_p99_ms": round(percentile(theirs, 0.99), 2) if theirs else "",
            "times_cheaper": round(sum(theirs) / sum(ours), 1) if theirs else "",
            "large_image_ms_a_megapixel": large_image(path, grid, level, places, large_image_python),
        }
        write_row("service_tiles", row)


def our_tiles(file: SlideFile, level: int, places: Sequence[tuple[int, int]]) -> tuple[list[float], list[float]]:
    """CPU milliseconds of each tile of a slide that was just opened, and of one that is cached."""
    pictures, cached = Pictures(cache_bytes=0), Pictures()
    with pictures.open_slides.use(file, file.stamp()) as deep_zoom:
        pid = process_of(deep_zoom.slide)
        made = [timed(pictures.deep_zoom_tile(file, level, *place).make, pid) for place in places]
    cached.deep_zoom_tile(file, level, *places[0]).make()
    again = [timed(lambda: cached.deep_zoom_tile(file, level, *places[0]).at_hand()) for _ in range(200)]
    pictures.close()
    cached.close()
    return made, again


def openslide_tiles(path: Path, grid: DeepZoomGrid, level: int, places: Sequence[tuple[int, int]]) -> list[float]:
    """The same of OpenSlide's generator; none where OpenSlide does not open the slide."""
    try:
        slide = openslide.OpenSlide(path)
    except openslide.OpenSlideError:
        return []
    generator = DeepZoomGenerator(slide, tile_size=grid.tile_px, overlap=0)

    def make(place: tuple[int, int]) -> None:
        generator.get_tile(level, place).save(io.BytesIO(), "jpeg", quality=JPEG_QUALITY)

    return [timed(functools.partial(make, place)) for place in places]


def large_image(
    path: Path, grid: DeepZoomGrid, level: int, places: list[tuple[int, int]], python: Path | None
) -> object:
    """CPU milliseconds a megapixel of large_image's tiles at the corners of the same tiles."""
    if python is None:
        return ""
    down = grid.max_level - level
    asked = [(down, column * grid.tile_px, row * grid.tile_px) for column, row in places]
    done = subprocess.run(
        [str(python), "-c", LARGE_IMAGE, str(path)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return ""
    milliseconds, megapixels = json.loads(done.stdout.splitlines()[-1])
    return round(milliseconds / megapixels, 1) if megapixels else ""


def measure_grid(path: Path) -> None:
    """CPU time of a megapixel of level 0 in tiles of several edges and overlaps, all tiles of a window in order."""
    for edge in (256, 512, 1024):
        for overlap in (0, 1):
            with open_slide(path) as slide:
                pid, tiles = process_of(slide), list(window(slide, edge))

                def read(slide: Slide = slide, tiles: list = tiles, overlap: int = overlap) -> None:
                    for x, y, width, height in tiles:
                        size = (width + 2 * overlap, height + 2 * overlap)
                        jpeg(slide.read_region((x - overlap, y - overlap), 0, size), JPEG_QUALITY)

                megapixels = sum(tile[2] * tile[3] for tile in tiles) / 1e6
                cost = min(timed(read, pid) for _ in range(3))
                row = {
                    "slide": path.name, "reader": slide.reader, "edge_px": edge, "overlap_px": overlap,
                    "cpu_ms_a_megapixel": round(cost / megapixels, 2), "cpu_ms_a_tile": round(cost / len(tiles), 2),
                    "requests_a_screen": (-(-1920 // edge) + 1) * (-(-1080 // edge) + 1),
                }  # fmt: skip
            write_row("service_tiles_grid", row)


def window(slide: Slide, edge: int) -> Iterator[tuple[int, int, int, int]]:
    width, height = (min(2048, length) for length in slide.size_l0)
    for y in range(0, height, edge):
        for x in range(0, width, edge):
            yield x, y, min(edge, width - x), min(edge, height - y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    tiles = commands.add_parser("tiles")
    tiles.add_argument("slides", nargs="*", type=absolute_path, help="Slides; those of the shared data by default.")
    tiles.add_argument("--large-image", type=absolute_path, help="Python of an environment that has large_image.")
    tiles.add_argument("--tiles", type=int, default=60, help="Most tiles of a level.")
    commands.add_parser("grid").add_argument("slides", nargs="+", type=absolute_path)
    args = parser.parse_args()
    single_thread()
    for path in args.slides or [SHARED / name for name in SLIDES]:
        try:
            if args.command == "grid":
                measure_grid(path)
            else:
                measure_tiles(path, args.large_image, args.tiles)
        except SlideError as error:
            print(f"{path.name}: {error}")


if __name__ == "__main__":
    main()
