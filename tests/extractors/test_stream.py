"""`BatchStream`: first in first out, bounded, and every batch of one shape."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedstore.errors import ExtractorError
from embedstore.extractors import BatchStream, Extractor


class Recorder(Extractor):
    """Embeds a tile as the value of its first pixel, and remembers the shapes that it was given."""

    name, dim, tile_px, mpp, digest, batch_tiles = "recorder", 2, 4, None, "sha256:" + "0" * 64, 5

    def __init__(self):
        self.shapes = []
        self.buffers = set()

    def embed(self, pixels):
        self.shapes.append(pixels.shape)
        self.buffers.add(pixels.__array_interface__["data"][0])
        return pixels[:, 0, 0, :2].astype(np.float16)


def numbered(start: int, count: int) -> np.ndarray:
    values = np.arange(start, start + count) % 256
    return np.broadcast_to(values[:, None, None, None], (count, 4, 4, 3)).astype(np.uint8)


@given(st.lists(st.integers(0, 17), max_size=12), st.integers(1, 9))
def test_order_count_and_shape(groups, batch_tiles):
    extractor = Recorder()
    stream = BatchStream(extractor, batch_tiles)
    got, start = [], 0
    for count in groups:
        got.append(stream.push(numbered(start, count)))
        start += count
        assert sum(map(len, got)) == start // batch_tiles * batch_tiles  # nothing waits that could be done
    got.append(stream.flush())
    rows = np.concatenate(got)
    assert rows.shape == (start, 2) and rows.dtype == np.float16
    np.testing.assert_array_equal(rows[:, 0], np.arange(start) % 256)
    assert set(extractor.shapes) <= {(batch_tiles, 4, 4, 3)}
    assert len(extractor.buffers) <= 1  # one staging buffer, reused
    assert len(stream.flush()) == 0


def test_it_goes_on_after_a_flush():
    stream = BatchStream(Recorder())
    assert stream.batch_tiles == 5
    assert len(stream.push(numbered(0, 3))) == 0
    assert stream.flush()[:, 0].tolist() == [0, 1, 2]
    assert len(stream.push(numbered(7, 5))) == 5


def test_rows_that_were_returned_are_not_overwritten():
    stream = BatchStream(Recorder(), 2)
    first = stream.push(numbered(1, 2))
    stream.push(numbered(9, 2))
    assert first[:, 0].tolist() == [1, 2]


def test_the_callers_array_may_be_reused():
    stream = BatchStream(Recorder(), 4)
    pixels = numbered(1, 2).copy()
    stream.push(pixels)
    pixels[:] = 99
    assert stream.flush()[:, 0].tolist() == [1, 2]


def test_infinite_rows_are_an_error():
    class Overflowing(Recorder):
        def embed(self, pixels):
            return np.full((len(pixels), 2), np.inf, np.float16)

    with pytest.raises(ExtractorError, match="float16 cannot hold"):
        BatchStream(Overflowing(), 1).push(numbered(0, 1))
