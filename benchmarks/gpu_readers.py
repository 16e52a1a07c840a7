"""Readers that decode JPEG tiles from memory, for benchmarks on a GPU: as processes, or as threads of this one.

A run reads slides in processes of their own, so the processes are what is to be measured; chunks come through shared
memory. Threads of the process that feeds the card are the worst case: they and it take turns with the interpreter lock.
"""

import ctypes
import multiprocessing
import queue
import signal
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

CHUNK_TILES = 64
#: Chunks of a reader that are decoded ahead.
AHEAD = 3
_PR_SET_PDEATHSIG = 1

Pixels = NDArray[np.uint8]


def jpeg_tiles(number: int, tile_px: int) -> list[bytes]:
    """Distinct JPEG tiles of about 15-25 kB."""
    rng = np.random.default_rng(0)
    tiles = []
    for _ in range(number):
        blobs = cv2.resize(rng.integers(90, 255, (14, 14, 3), dtype=np.uint8), (tile_px, tile_px), interpolation=3)
        grain = cv2.GaussianBlur(rng.normal(0, 40, (tile_px, tile_px, 3)).astype(np.float32), (0, 0), 0.8)
        tile = np.clip(blobs + grain, 0, 255).astype(np.uint8)
        tiles.append(cv2.imencode(".jpg", tile, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes())
    return tiles


def decode(jpeg: bytes) -> Pixels:
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)  # type: ignore[return-value]


class ReaderProcesses:
    """Processes that decode chunks of tiles into shared memory, a few ahead each. They are started once.

    Args:
        readers: Processes.
    """

    def __init__(self, jpegs: list[bytes], *, tile_px: int, readers: int, chunk_tiles: int = CHUNK_TILES) -> None:
        context = multiprocessing.get_context("spawn")
        self._chunk_tiles, self.cpu_s = chunk_tiles, 0.0
        shape = (readers, AHEAD, chunk_tiles, tile_px, tile_px, 3)
        memory = context.RawArray(ctypes.c_uint8, int(np.prod(shape)))
        self._chunks = np.frombuffer(memory, np.uint8).reshape(shape)
        self._next, self._ready = context.Value("q", 0), context.SimpleQueue()
        self._go = [context.SimpleQueue() for _ in range(readers)]
        self._free = [context.Semaphore(AHEAD) for _ in range(readers)]
        self._processes = [
            context.Process(
                target=_read,
                args=(number, jpegs, memory, shape, self._next, self._go[number], self._free[number], self._ready),
                daemon=True,
            )
            for number in range(readers)
        ]
        for process in self._processes:
            process.start()
        for _ in self._processes:
            self._ready.get()

    def chunks(self, tiles: int, readers: int | None = None) -> Iterator[Pixels]:
        """Chunks of so many tiles in all, in the order in which they are ready; an array is free with the next one.

        Args:
            readers: How many of the processes take part; all when None.
        """
        taking = self._go[:readers]
        self._next.value, self.cpu_s = 0, 0.0
        for go in taking:
            go.put(tiles)
        left = len(taking)
        while left:
            number, slot, filled, cpu_s = self._ready.get()
            if not filled:
                left, self.cpu_s = left - 1, self.cpu_s + cpu_s
                continue
            yield self._chunks[number, slot, :filled]
            self._free[number].release()

    def close(self) -> None:
        for go in self._go:
            go.put(0)
        for process in self._processes:
            process.join(10)


def _read(number, jpegs, memory, shape, following, go, free, ready) -> None:  # type: ignore[no-untyped-def]
    """A reader: for each number of tiles, chunks of them as long as there are any, then a word that it has ended."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # it does not outlive who reads from it
    cv2.setNumThreads(1)
    own = np.frombuffer(memory, np.uint8).reshape(shape)[number]
    chunk_tiles, turn = shape[2], 0
    ready.put((number, 0, 0, 0.0))
    while tiles := go.get():
        began = time.process_time()
        while True:
            with following.get_lock():
                start = following.value
                following.value = start + chunk_tiles
            if start >= tiles:
                break
            filled = min(chunk_tiles, tiles - start)
            free.acquire()
            for i in range(filled):
                own[turn, i] = decode(jpegs[(start + i) % len(jpegs)])
            ready.put((number, turn, filled, 0.0))
            turn = (turn + 1) % AHEAD
        ready.put((number, 0, 0, time.process_time() - began))


class ReaderThreads:
    """Decodes chunks of tiles in threads (OpenCV lets go of the interpreter lock), at most two chunks ahead each."""

    def __init__(self, jpegs: list[bytes], *, tiles: int, readers: int, chunk_tiles: int = CHUNK_TILES) -> None:
        self._jpegs = jpegs
        starts = range(0, tiles, chunk_tiles)
        self._todo = iter([(start, min(start + chunk_tiles, tiles)) for start in starts])
        self._chunks = len(starts)
        self._lock = threading.Lock()
        self._ready: queue.Queue[Pixels | Exception] = queue.Queue(maxsize=2 * readers)
        for _ in range(readers):
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            while True:
                with self._lock:
                    span = next(self._todo, None)
                if span is None:
                    return
                self._ready.put(np.stack([decode(self._jpegs[i % len(self._jpegs)]) for i in range(*span)]))
        except Exception as error:  # handed to the main thread, which raises it
            self._ready.put(error)

    def __iter__(self) -> Iterator[Pixels]:
        for _ in range(self._chunks):
            chunk = self._ready.get()
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk
