"""A slide of an object store, fetched whole before it is read, or read by ranges of bytes: seconds, CPU and bytes.

    python benchmarks/remote_slides.py SLIDE.svs [--latency-ms 30] [--mb-per-s 100] [--slides 3]

SLIDE is a tiled JPEG TIFF, such as `mosaic_slide.py` makes. A server in a process of its own serves it under several
names, waits for the latency before each answer and shares the bandwidth among all. Each way reads these slides one
after another with one reader, row by row as ingest does, from a share of the slide that lies together as tissue does:

- `file`: from this disk, what reading alone takes.
- `fetched`: whole, by the product's own code; the next slide is fetched while one is read.
- `ranges`: only the parts that the tiles need, coalesced by obstore (gaps below 1 MB are read too), 64 tiles at a
  time, the next 128 ahead. Its index of the file is free here, so the figures are in favour of ranges.

Seconds are a slide's share of the whole, with the first fetch. CPU is that of this process. Rows:
results/remote_slides.csv.
"""

import argparse
import http.server
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import obstore
from measure import absolute_path, write_row

from embedstore.slides import best_level, discard_copy, fetch_ahead, local_copy, single_thread
from embedstore.slides.readers.tiff_reader import TiffSlide

TILE_PX, BATCH, AHEAD = 256, 64, 2
PIECE = 1 << 18


class Ranged(TiffSlide):
    """A slide whose stored tiles come from memory, where they were put before they are asked for."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.stored: dict[tuple[int, int], bytes] = {}
        self._memory = os.memfd_create("tile")

    def needed(self, tiles: np.ndarray, edge_l0: int, level: int) -> list[tuple[int, int, int]]:
        """(index, first byte, byte after the last) of the stored tiles that some tiles lie on."""
        layout, stored = self._layouts[level], self._levels[level]
        down = self.level_downsamples[level]
        found: set[int] = set()
        for x, y in tiles / down:
            columns = range(int(x) // layout.tile_w, int(x + edge_l0 / down - 1) // layout.tile_w + 1)
            rows = range(int(y) // layout.tile_h, int(y + edge_l0 / down - 1) // layout.tile_h + 1)
            found |= {row * layout.columns + column for row in rows for column in columns}
        starts, counts = stored.offsets, stored.byte_counts
        return [(i, int(starts[i]), int(starts[i] + counts[i])) for i in sorted(found) if counts[i]]

    def _decode(self, level: int, column: int, row: int) -> Any:
        index = row * self._layouts[level].columns + column
        data = self.stored[level, index]
        os.pwrite(self._memory, data, 0)
        offsets, file = self._levels[level].offsets, self._file
        kept, offsets[index], self._file = offsets[index], 0, self._memory
        try:
            return super()._decode(level, column, row)
        finally:
            offsets[index], self._file = kept, file


def places(slide: TiffSlide, mpp: float, share: float) -> tuple[np.ndarray, int, int]:
    """Corners of the tiles in the middle of a slide, row by row; their edge in level-0 pixels; the level."""
    assert slide.mpp is not None
    edge = round(TILE_PX * mpp / slide.mpp)
    size = (np.array(slide.size_l0) * share**0.5).astype(int)
    origin = (np.array(slide.size_l0) - size) // 2
    columns, rows = np.maximum(1, size // edge)
    corners = [(origin[0] + edge * c, origin[1] + edge * r) for r in range(rows) for c in range(columns)]
    return np.array(corners), edge, best_level(slide.level_downsamples, mpp=slide.mpp, target_mpp=mpp)


def read(slide: TiffSlide, corners: np.ndarray, edge: int, level: int) -> None:
    out = np.empty((TILE_PX, TILE_PX, 3), np.uint8)
    slide.expect_stride(edge)
    for x, y in corners.tolist():
        slide.read_square((x, y), level, edge_l0=edge, out=out)


def overview(slide: TiffSlide) -> None:
    """What tissue is found on: the coarsest level."""
    slide.read_region((0, 0), len(slide.level_sizes) - 1, slide.level_sizes[-1])


def read_files(path: Path, uris: list[str], mpp: float, share: float) -> int:
    for _ in uris:
        slide = TiffSlide(str(path))
        overview(slide)
        corners, edge, level = places(slide, mpp, share)
        read(slide, corners, edge, level)
        slide.close()
    return len(uris) * len(corners)


def read_fetched(path: Path, uris: list[str], mpp: float, share: float) -> int:
    for uri, following in itertools.zip_longest(uris, uris[1:]):
        with local_copy(uri) as copy:
            if following:
                fetch_ahead(following)
            slide = TiffSlide(copy.path)
            overview(slide)
            corners, edge, level = places(slide, mpp, share)
            read(slide, corners, edge, level)
            slide.close()
        discard_copy(uri)
    return len(uris) * len(corners)


def read_ranges(path: Path, uris: list[str], mpp: float, share: float) -> int:
    with ThreadPoolExecutor(AHEAD) as threads:

        def parts() -> Iterator[tuple[Ranged, np.ndarray, int, int]]:
            for _ in uris:
                slide = Ranged(str(path))
                last = len(slide.level_sizes) - 1
                yield slide, np.zeros((1, 2), int), max(slide.size_l0), last
                corners, edge, level = places(slide, mpp, share)
                for start in range(0, len(corners), BATCH):
                    yield slide, corners[start : start + BATCH], edge, level

        def fetch(part: tuple[Ranged, np.ndarray, int, int]) -> dict[tuple[int, int], bytes]:
            slide, corners, edge, level = part
            needed = slide.needed(corners, edge, level)
            found = obstore.get_ranges(
                store, name, starts=[start for _, start, _ in needed], ends=[end for _, _, end in needed]
            )
            return {(level, index): bytes(data) for (index, _, _), data in zip(needed, found, strict=True)}

        root, name = uris[0].rsplit("/", 1)
        store = obstore.store.from_url(root, client_options={"allow_http": True})
        coming: list[tuple[Any, Future[Any]]] = []
        tiles, waiting = 0, parts()
        while True:
            while len(coming) <= AHEAD and (part := next(waiting, None)) is not None:
                coming.append((part, threads.submit(fetch, part)))
            if not coming:
                return tiles
            (slide, corners, edge, level), found = coming.pop(0)
            slide.stored = found.result()
            if len(corners) == 1 and edge == max(slide.size_l0):
                overview(slide)
                continue
            read(slide, corners, edge, level)
            tiles += len(corners)


WAYS = {"file": read_files, "fetched": read_fetched, "ranges": read_ranges}


# -- the server ------------------------------------------------------------------------------


def serve(path: str, latency_s: float, bytes_per_s: float) -> None:
    content, lock = Path(path).read_bytes(), threading.Lock()
    state = {"free_at": 0.0, "bytes": 0, "requests": 0}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            time.sleep(latency_s)
            self._head(200, len(content))

        def do_GET(self) -> None:
            if self.path == "/counts":
                body = json.dumps(state).encode()
                self._head(200, len(body))
                self.wfile.write(body)
                return
            time.sleep(latency_s)
            start, _, last = (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")
            stop = min(len(content), int(last) + 1 if last else len(content))
            with lock:
                state["requests"] += 1
            extra = {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
            self._head(206, stop - int(start), **extra)
            for at in range(int(start), stop, PIECE):
                piece = memoryview(content)[at : min(at + PIECE, stop)]
                with lock:
                    state["bytes"] += len(piece)
                    state["free_at"] = max(state["free_at"], time.monotonic()) + len(piece) / bytes_per_s
                    wait_s = state["free_at"] - time.monotonic()
                if wait_s > 0:
                    time.sleep(wait_s)
                self.wfile.write(piece)

        def _head(self, status: int, length: int, **headers: str) -> None:
            self.send_response(status)
            fixed = {"ETag": '"one"', "Last-Modified": "Sat, 28 Nov 2026 10:00:00 GMT", "Accept-Ranges": "bytes"}
            for name, value in {**fixed, **headers, "Content-Length": str(length)}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


def counts(root: str) -> dict[str, float]:
    with urllib.request.urlopen(f"{root}/counts") as answer:
        return json.load(answer)  # type: ignore[no-any-return]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=absolute_path)
    parser.add_argument("--latency-ms", type=float, default=30.0)
    parser.add_argument("--mb-per-s", type=float, default=100.0)
    parser.add_argument("--slides", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(str(given.slide), given.latency_ms / 1e3, given.mb_per_s * 1e6)
        return
    single_thread()
    options = [str(given.slide), "--latency-ms", str(given.latency_ms), "--mb-per-s", str(given.mb_per_s)]
    command = [sys.executable, __file__, *options, "--serve"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    root = f"http://127.0.0.1:{int(server.stdout.readline())}"
    uris = [f"{root}/{number}.svs" for number in range(given.slides)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["EMBEDSTORE_CACHE"] = folder
            for mpp, share, (way, run) in itertools.product((0.5, 2.0), (1.0, 0.3), WAYS.items()):
                before, cpu_s, began = counts(root), time.process_time(), time.perf_counter()
                tiles = run(given.slide, uris, mpp, share)
                seconds, cpu_s, after = time.perf_counter() - began, time.process_time() - cpu_s, counts(root)
                row = {
                    "way": way, "tile_mpp": mpp, "share_read": share, "tiles_a_slide": tiles // given.slides,
                    "slide_mb": round(given.slide.stat().st_size / 1e6), "latency_ms": given.latency_ms,
                    "mb_per_s": given.mb_per_s, "seconds_a_slide": round(seconds / given.slides, 2),
                    "cpu_ms_a_tile": round(1e3 * cpu_s / tiles, 2),
                    "mb_moved_a_slide": round((after["bytes"] - before["bytes"]) / 1e6 / given.slides, 1),
                    "requests_a_slide": round((after["requests"] - before["requests"]) / given.slides),
                }  # fmt: skip
                write_row("remote_slides", row)
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
