"""Batches on a CUDA device: filling, copying and computing at the same time. Imported only where torch is."""

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from embedstore.extractors.torch_extractor import TorchExtractor

log = logging.getLogger(__name__)

Forward = Callable[[torch.Tensor], torch.Tensor]
Pixels = NDArray[np.uint8]
Rows = NDArray[np.float16]

#: Batches that are filled, copied, or computed at a time.
SLOTS = 3
#: One thread copies 5 to 10 GB/s into pinned memory, which 20,000 tiles/s of 224 px (3 GB/s) keep half busy.
COPY_THREADS = 4
#: Fewer bytes than this are copied by the caller's thread: a thread's start takes as long.
COPY_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class _Slot:
    """The buffers of one batch.

    Attributes:
        pinned: Pixels on the host, which the device copies by itself.
        tiles: Pixels on the device.
        rows: Embeddings, pinned on the host.
        done: Recorded when the rows are there.
    """

    pinned: torch.Tensor
    tiles: torch.Tensor
    rows: torch.Tensor
    done: "torch.cuda.Event"


class RecordedForward:
    """The forward pass of one shape as a CUDA graph: one call starts its hundreds of kernels."""

    WARM_UP = 3  # passes before recording, in which libraries choose kernels and allocate what they keep

    def __init__(self, extractor: TorchExtractor, shape: tuple[int, ...]) -> None:
        device = extractor.torch_device
        self._tiles = torch.zeros(shape, dtype=torch.uint8, device=device)
        self._graph = torch.cuda.CUDAGraph()
        current, aside = torch.cuda.current_stream(device), torch.cuda.Stream(device)
        aside.wait_stream(current)
        with torch.cuda.stream(aside):
            for _ in range(self.WARM_UP):
                extractor.forward(self._tiles)
        current.wait_stream(aside)
        with torch.cuda.device(device), torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._rows = extractor.forward(self._tiles)

    def __call__(self, tiles: torch.Tensor) -> torch.Tensor:
        """The embeddings, which the next call overwrites."""
        self._tiles.copy_(tiles, non_blocking=True)
        self._graph.replay()
        return self._rows


class CudaPipeline:
    """Overlaps filling, copying and computing, with a few slots used in turn.

    While the caller fills one slot, the pixels of the one before are copied on a stream of their own, and the batch
    before that is computed.

    Args:
        batch_tiles: Tiles in every batch.
        slots: Batches in flight, 2 or more.
        copy_threads: Threads that fill a slot together; 1 leaves it to the caller's.
        graph: Whether the forward pass is recorded once and started as a whole from then on; where the extractor allows
            it when None.
    """

    def __init__(
        self,
        extractor: TorchExtractor,
        batch_tiles: int,
        *,
        slots: int = SLOTS,
        copy_threads: int = COPY_THREADS,
        graph: bool | None = None,
    ) -> None:
        self._device = extractor.torch_device
        self._copy_stream = torch.cuda.Stream(self._device)
        shape = (batch_tiles, extractor.tile_px, extractor.tile_px, 3)
        self._slots = [
            _Slot(
                pinned=torch.empty(shape, dtype=torch.uint8, pin_memory=True),
                tiles=torch.empty(shape, dtype=torch.uint8, device=self._device),
                rows=torch.empty((batch_tiles, extractor.dim), dtype=torch.float16, pin_memory=True),
                done=torch.cuda.Event(),
            )
            for _ in range(slots)
        ]
        # The allocator may have handed out memory that work of the current stream, not yet done, still uses.
        self._copy_stream.wait_stream(torch.cuda.current_stream(self._device))
        self._extractor = extractor
        self._forward = _make_forward(extractor, shape, extractor.recordable if graph is None else graph)
        self._running: deque[tuple[_Slot, int]] = deque()  # with the number of its tiles; oldest first
        self._next = 0
        self._copy_threads = copy_threads
        self._threads = ThreadPoolExecutor(copy_threads, thread_name_prefix="stage") if copy_threads > 1 else None

    def staging(self, shape: tuple[int, ...]) -> Pixels:
        """The pinned pixels of the next batch."""
        return self._slots[self._next].pinned.numpy()

    def fill(self, target: Pixels, pixels: Pixels) -> None:
        """Copy tiles into staging; several threads do it together, for numpy copies without the interpreter's lock."""
        if self._threads is None or target.nbytes < COPY_BYTES:
            target[:] = pixels
            return
        parts = (np.array_split(tiles, self._copy_threads) for tiles in (target, pixels))
        list(self._threads.map(np.copyto, *parts))

    def submit(self, batch: Pixels, filled: int) -> list[Rows]:
        """Start the batch that lies in staging; returns the rows of the oldest one where every slot is taken."""
        slot = self._slots[self._next]
        compute = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._copy_stream):
            # The slot's earlier forward pass has ended: its rows were collected before the slot is used again.
            slot.tiles.copy_(slot.pinned, non_blocking=True)
        compute.wait_stream(self._copy_stream)
        with torch.cuda.device(self._device):
            slot.rows.copy_(self._forward(slot.tiles), non_blocking=True)
        slot.done.record(compute)
        self._running.append((slot, filled))
        self._next = (self._next + 1) % len(self._slots)
        # The slot that the caller fills next must be free.
        return [self._collect()] if len(self._running) == len(self._slots) else []

    def drain(self) -> list[Rows]:
        """Wait for all batches; returns their rows, oldest first."""
        return [self._collect() for _ in range(len(self._running))]

    def _collect(self) -> Rows:
        slot, filled = self._running.popleft()
        slot.done.synchronize()
        # The tiles of the slot stay as they are until it is filled again.
        return self._extractor.finite(slot.rows.numpy(), slot.tiles)[:filled].copy()


def _make_forward(extractor: TorchExtractor, shape: tuple[int, ...], graph: bool) -> Forward:
    """The forward pass as a graph, or kernel by kernel where it is not to be recorded or cannot be."""
    if graph:
        try:
            return RecordedForward(extractor, shape)
        except RuntimeError as error:  # of a full memory too, which `forward_in_parts` goes on with
            log.info("%s: its forward pass is not recorded as a CUDA graph: %s", extractor.name, error)
    return extractor.forward_in_parts
