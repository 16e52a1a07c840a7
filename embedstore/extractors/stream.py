"""Embed a stream of tiles in batches of one fixed shape, first in, first out."""

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import ConfigError
from embedstore.extractors.extractor import Extractor

if TYPE_CHECKING:
    from embedstore.extractors.torch_extractor import TorchExtractor

Pixels = NDArray[np.uint8]
Rows = NDArray[np.float16]


class BatchStream:
    """Groups tiles into batches for an extractor; embeddings are returned in the order of the tiles.

    Every forward pass has the same shape, `batch_tiles`; the last one is padded. So, beyond the rounding of float16,
    an embedding depends neither on how many tiles were pushed at once nor on which tiles share its batch. (Kernels are
    chosen by shape; a smaller last batch would use others.)

    On CUDA two pinned staging buffers take turns: while the caller's thread fills one, the other is copied to the
    device on a stream of its own, during the forward pass of the batch before. Rows come back by an asynchronous copy
    into pinned memory, and are returned by a later `push`, or by `flush`.

    Memory is bounded: two batches of pixels in staging, two on the device, and the rows of three.
    """

    def __init__(self, extractor: Extractor, batch_tiles: int | None = None) -> None:
        if batch_tiles is not None and batch_tiles < 1:
            raise ConfigError(f"batch_tiles is {batch_tiles}; expected 1 or more")
        self.extractor = extractor
        self.batch_tiles = batch_tiles or extractor.batch_tiles
        self._pipeline = _make_pipeline(extractor, self.batch_tiles)
        self._shape = (self.batch_tiles, extractor.tile_px, extractor.tile_px, 3)
        self._staging: Pixels | None = None
        self._filled = 0

    def push(self, pixels: Pixels) -> Rows:
        """Add tiles, (n, tile_px, tile_px, 3) uint8; they are copied, so the caller may reuse the array.

        Returns:
            (m, dim) float16: rows that are ready and were not yet returned, oldest first; m may be 0.
        """
        self.extractor.check_pixels(pixels)
        ready: list[Rows] = []
        start = 0
        while start < len(pixels):
            if self._staging is None:
                self._staging = self._pipeline.staging(self._shape)
            taken = min(len(pixels) - start, self.batch_tiles - self._filled)
            self._staging[self._filled : self._filled + taken] = pixels[start : start + taken]
            self._filled += taken
            start += taken
            if self._filled == self.batch_tiles:
                ready += self._submit()
        return self._rows(ready)

    def flush(self) -> Rows:
        """Embed the remaining tiles, and return all rows that were not yet returned."""
        ready = self._submit() if self._filled else []
        return self._rows(ready + self._pipeline.drain())

    def _submit(self) -> list[Rows]:
        assert self._staging is not None
        self._staging[self._filled :] = 0  # blank padding, so that no tile of an older batch is computed again
        ready = self._pipeline.submit(self._staging, self._filled)
        self._staging, self._filled = None, 0
        return ready

    def _rows(self, ready: list[Rows]) -> Rows:
        if not ready:
            return np.empty((0, self.extractor.dim), np.float16)
        return self.extractor.check_embeddings(ready[0] if len(ready) == 1 else np.concatenate(ready))


def _make_pipeline(extractor: Extractor, batch_tiles: int) -> "_HostPipeline | _CudaPipeline":
    if extractor.device.startswith("cuda"):  # then torch is already imported
        from embedstore.extractors.torch_extractor import TorchExtractor

        if isinstance(extractor, TorchExtractor):
            return _CudaPipeline(extractor, batch_tiles)
    return _HostPipeline(extractor)


class _HostPipeline:
    """Runs each batch immediately, in the caller's thread, with one staging buffer."""

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor
        self._buffer: Pixels | None = None

    def staging(self, shape: tuple[int, ...]) -> Pixels:
        if self._buffer is None:
            self._buffer = np.empty(shape, np.uint8)
        return self._buffer

    def submit(self, batch: Pixels, filled: int) -> list[Rows]:
        return [self._extractor.embed(batch)[:filled]]

    def drain(self) -> list[Rows]:
        return []


class _CudaPipeline:
    """Overlaps filling, copying and computing, with two of each buffer, used in turn."""

    SLOTS = 2

    def __init__(self, extractor: "TorchExtractor", batch_tiles: int) -> None:
        import torch

        self._torch = torch
        self._extractor = extractor
        self._device = extractor.torch_device
        self._copy_stream = torch.cuda.Stream(self._device)
        shape = (batch_tiles, extractor.tile_px, extractor.tile_px, 3)
        slots = range(self.SLOTS)
        self._pinned = [torch.empty(shape, dtype=torch.uint8, pin_memory=True) for _ in slots]
        self._tiles = [torch.empty(shape, dtype=torch.uint8, device=self._device) for _ in slots]
        rows_shape = (batch_tiles, extractor.dim)
        self._rows = [torch.empty(rows_shape, dtype=torch.float16, pin_memory=True) for _ in slots]
        self._computed = [torch.cuda.Event() for _ in slots]
        self._running: deque[tuple[int, int]] = deque()  # (slot, filled), oldest first
        self._next = 0

    def staging(self, shape: tuple[int, ...]) -> Pixels:
        return self._pinned[self._next].numpy()

    def submit(self, batch: Pixels, filled: int) -> list[Rows]:
        torch, slot = self._torch, self._next
        compute = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._copy_stream):
            # The slot's earlier forward pass has ended: its rows were collected before the slot is used again.
            self._tiles[slot].copy_(self._pinned[slot], non_blocking=True)
        compute.wait_stream(self._copy_stream)
        with torch.cuda.device(self._device):
            self._rows[slot].copy_(self._extractor.forward(self._tiles[slot]), non_blocking=True)
        self._computed[slot].record(compute)
        self._running.append((slot, filled))
        self._next = (slot + 1) % self.SLOTS
        # One batch stays in flight while the caller fills the other slot; that slot must be free by then.
        return [self._collect()] if len(self._running) == self.SLOTS else []

    def drain(self) -> list[Rows]:
        return [self._collect() for _ in range(len(self._running))]

    def _collect(self) -> Rows:
        slot, filled = self._running.popleft()
        self._computed[slot].synchronize()
        return self._rows[slot][:filled].numpy().copy()
