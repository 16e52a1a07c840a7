"""Embed a stream of tiles in batches of one fixed shape, first in, first out."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import ConfigError
from embedstore.extractors.extractor import Extractor

if TYPE_CHECKING:
    from embedstore.extractors.cuda_pipeline import CudaPipeline

Pixels = NDArray[np.uint8]
Rows = NDArray[np.float16]


class BatchStream:
    """Groups tiles into batches for an extractor; embeddings are returned in the order of the tiles.

    Every forward pass has the same shape, `batch_tiles`; the last one is padded. So, beyond the rounding of float16,
    an embedding depends neither on how many tiles were pushed at once nor on which tiles share its batch. (Kernels are
    chosen by shape; a smaller last batch would use others.)

    On CUDA three pinned staging buffers take turns: while one is filled, the next is copied to the device on a stream
    of its own, during the forward pass of the batch before. Rows come back by an asynchronous copy into pinned memory,
    and are returned by a later `push`, or by `flush`.

    Memory is bounded: three batches of pixels in staging, three on the device, and their rows.

    Args:
        checked: Raise ExtractorError for an embedding that float16 cannot hold; otherwise it comes as it is.
    """

    def __init__(self, extractor: Extractor, batch_tiles: int | None = None, *, checked: bool = True) -> None:
        if batch_tiles is not None and batch_tiles < 1:
            raise ConfigError(f"batch_tiles is {batch_tiles}; expected 1 or more")
        self.extractor = extractor
        self.batch_tiles = batch_tiles or extractor.batch_tiles
        self._checked = checked
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
            self._pipeline.fill(self._staging[self._filled : self._filled + taken], pixels[start : start + taken])
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
        rows = ready[0] if len(ready) == 1 else np.concatenate(ready)
        return self.extractor.check_embeddings(rows) if self._checked else rows


def _make_pipeline(extractor: Extractor, batch_tiles: int) -> "_HostPipeline | CudaPipeline":
    if extractor.device.startswith("cuda"):  # then torch is already imported
        from embedstore.extractors.cuda_pipeline import CudaPipeline
        from embedstore.extractors.torch_extractor import TorchExtractor

        if isinstance(extractor, TorchExtractor):
            return CudaPipeline(extractor, batch_tiles)
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

    def fill(self, target: Pixels, pixels: Pixels) -> None:
        target[:] = pixels

    def submit(self, batch: Pixels, filled: int) -> list[Rows]:
        return [self._extractor.embed_unchecked(batch)[:filled]]

    def drain(self) -> list[Rows]:
        return []
