"""The pipeline of a CUDA device, on the CPU: streams that run at once, in the order of what they are given."""

import contextlib

import numpy as np
import pytest
import torch

from embedstore.errors import DeviceError
from embedstore.extractors import BatchStream, cuda_pipeline
from embedstore.extractors.torch_extractor import TorchExtractor


class Stream:
    """Work on the CPU is done when it is given: nothing is to be waited for."""

    def __init__(self, device=None):
        self.device = device

    def wait_stream(self, other):
        pass


class Event:
    def record(self, stream):
        pass

    def synchronize(self):
        pass


@pytest.fixture
def cuda(monkeypatch):
    """`torch.cuda` without a device; whether a tensor is pinned makes no difference."""
    empty = torch.empty
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
    monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
    monkeypatch.setattr(torch, "empty", lambda *args, pin_memory=False, **kwargs: empty(*args, **kwargs))


class Sums(TorchExtractor):
    """A tile's first value and the sum of all; refuses more than `room` tiles, as a small memory does."""

    name, dim, tile_px, mpp, digest, batch_tiles, device = "sums", 2, 4, None, "sha256:" + "0" * 64, 8, "cuda:0"

    def __init__(self, room=1000):
        self.room, self.shapes = room, []

    def forward(self, tiles):
        self.shapes.append(len(tiles))
        if len(tiles) > self.room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB. More words.")
        values = tiles.reshape(len(tiles), -1)
        return torch.stack([values[:, 0], values.sum(dim=1) % 2048], dim=1).to(torch.float16)


def pixels(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 4, 4, 3), np.uint8)


def expected(tiles: np.ndarray) -> np.ndarray:
    values = tiles.reshape(len(tiles), -1)
    return np.stack([values[:, 0], values.sum(axis=1, dtype=np.int64) % 2048], axis=1).astype(np.float16)


@pytest.mark.parametrize("copy_bytes", [1 << 20, 1])  # by the caller's thread, and by several
@pytest.mark.parametrize("slots", [2, 3])
def test_rows_come_in_the_order_of_the_tiles(cuda, monkeypatch, copy_bytes, slots):
    monkeypatch.setattr(cuda_pipeline, "COPY_BYTES", copy_bytes)
    monkeypatch.setitem(cuda_pipeline.CudaPipeline.__init__.__kwdefaults__, "slots", slots)
    stream = BatchStream(Sums())
    assert isinstance(stream._pipeline, cuda_pipeline.CudaPipeline)
    for seed in range(2):  # it goes on after a flush
        tiles = pixels(8 * 7 + 3, seed)
        sizes = np.cumsum([0, 1, 30, 2, 8, 16])
        got = [stream.push(tiles[start:stop].copy()) for start, stop in zip(sizes, [*sizes[1:], None], strict=True)]
        got.append(stream.flush())
        np.testing.assert_array_equal(np.concatenate(got), expected(tiles))
        assert len(stream.flush()) == 0


def test_the_last_batch_is_padded_with_blank_tiles(cuda):
    extractor = Sums()
    stream = BatchStream(extractor)
    stream.push(pixels(11))
    assert len(stream.flush()) == 11 and extractor.shapes == [8, 8]


@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_a_batch_too_large_for_the_memory_is_halved_from_then_on(cuda, monkeypatch, caplog, device):
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    extractor = Sums(room=2)
    extractor.device = device
    stream, tiles = BatchStream(extractor), pixels(20)
    rows = np.concatenate([stream.push(tiles), stream.flush()])
    np.testing.assert_array_equal(rows, expected(tiles))
    assert extractor.shapes == [8, 4, *[2] * 12]
    assert "does not fit into the memory" in caplog.text and "4 parts" in caplog.text


def test_a_tile_too_large_for_the_memory(cuda, monkeypatch):
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    with pytest.raises(
        DeviceError, match=r"does not hold one tile of 4 px in extractor 'sums': CUDA out of memory; free"
    ):
        BatchStream(Sums(room=0)).push(pixels(8))


@pytest.mark.parametrize("asked", [None, True])
def test_a_forward_pass_that_cannot_be_recorded_is_started_kernel_by_kernel(cuda, monkeypatch, caplog, asked):
    def refused():
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", refused, raising=False)
    extractor, tiles = Sums(), pixels(20)
    extractor.recordable, extractor.torch_device = asked is None, torch.device("cpu")
    with caplog.at_level("INFO"):
        pipeline = cuda_pipeline.CudaPipeline(extractor, 8, graph=asked)
    assert "not recorded as a CUDA graph: operation not permitted" in caplog.text
    stream = BatchStream(extractor)
    stream._pipeline = pipeline
    np.testing.assert_array_equal(np.concatenate([stream.push(tiles), stream.flush()]), expected(tiles))


def test_rows_that_are_not_finite_are_computed_again_from_their_own_tiles(cuda):
    class Mended(Sums):
        def finite(self, rows, tiles):
            bad = ~np.isfinite(rows).all(axis=1)
            rows = rows.copy()
            rows[bad] = Sums.forward(self, tiles).numpy()[bad]
            return rows

        def forward(self, tiles):
            rows = super().forward(tiles)
            rows[rows[:, 0] > 128] = torch.inf
            return rows

    stream, tiles = BatchStream(Mended()), pixels(45)
    rows = np.concatenate([stream.push(tiles[:30]), stream.push(tiles[30:]), stream.flush()])
    np.testing.assert_array_equal(rows, expected(tiles))
