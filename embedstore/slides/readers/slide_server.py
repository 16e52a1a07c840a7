"""The process in which one slide is read; `slide_process.py` starts it and talks to it."""

import math
import mmap
import os
import resource

import cv2
import numpy as np
from numpy.typing import NDArray

from embedstore.child_server import address_space, answer_requests, limit
from embedstore.config import Downsample
from embedstore.errors import EmbedStoreError, RegionReadError, SlideFormatError
from embedstore.slides.readers.opening import open_here
from embedstore.slides.readers.slide_process import MOST_BYTES, MOST_CPU_S, MOST_IMAGE_BYTES, OpenedSlide
from embedstore.slides.slide import Pixels, Slide, SlideHeader


def serve(connection_fd: int, buffer_fd: int) -> None:
    """Answer requests, one at a time, until the other side hangs up.

    Args:
        connection_fd: Socket of requests, (method, arguments), and answers, (result, error).
        buffer_fd: Memory in which the pixels of a region are handed over.
    """
    cv2.setNumThreads(1)
    answer_requests(connection_fd, _Server(buffer_fd), most_bytes=MOST_BYTES, most_cpu_s=MOST_CPU_S)


class _Server:
    """The slide and the memory that is shared with the other process."""

    def __init__(self, buffer_fd: int) -> None:
        self._fd = buffer_fd
        self._buffer: mmap.mmap | None = None
        self._slide: Slide | None = None

    def open(self, path: str, reader: str, niceness: int) -> OpenedSlide:
        if niceness > os.getpriority(os.PRIO_PROCESS, 0):
            os.setpriority(os.PRIO_PROCESS, 0, niceness)
        try:
            slide = self._slide = open_here(path, reader=reader)
        except EmbedStoreError:
            raise
        except Exception as error:  # of a library, on a file that it does not understand
            raise SlideFormatError(f"slide {path!r} cannot be opened: {_named(error)}") from error
        header = SlideHeader(
            level_sizes=slide.level_sizes,
            level_downsamples=slide.level_downsamples,
            mpp_xy=slide.mpp_xy,
            vendor=slide.vendor,
            properties=slide.properties,
        )
        return OpenedSlide(slide.reader, header, slide.warnings, slide.passed_over, slide.reductions)

    def expect_stride(self, stride_l0: int) -> None:
        self._opened().expect_stride(stride_l0)

    def fill(self, shape: tuple[int, int, int], level: int, reduce: int, x: int, y: int) -> None:
        slide = self._opened()
        try:
            slide._fill_at(level, reduce, x, y, self._pixels(shape))
        except EmbedStoreError:
            raise
        except Exception as error:
            raise RegionReadError(
                f"slide {slide.path!r}: {shape[1]}×{shape[0]} px at {x},{y} of level {level} cannot be read: "
                f"{_named(error)}"
            ) from error

    def squares(
        self, shape: tuple[int, ...], xy_l0: NDArray[np.integer], level: int, edge_l0: int, downsample: Downsample
    ) -> list[RegionReadError | None]:
        slide = self._opened()
        try:
            return slide.read_squares(xy_l0, level, edge_l0=edge_l0, out=self._pixels(shape), downsample=downsample)
        except EmbedStoreError:
            raise
        except Exception as error:
            raise RegionReadError(
                f"slide {slide.path!r}: squares of {edge_l0} px of level {level} cannot be read: {_named(error)}"
            ) from error

    def _pixels(self, shape: tuple[int, ...]) -> Pixels:
        size = math.prod(shape)
        if self._buffer is None or len(self._buffer) < size:
            self._buffer = mmap.mmap(self._fd, 0)
        return np.frombuffer(self._buffer, np.uint8, size).reshape(shape)

    def decode(self, source: str | int, most_px: int | None) -> tuple[int, ...]:
        """Decode an image: a file, or as many bytes of the shared memory; its pixels lie there afterwards."""
        from embedstore.slides.image_file import decode_image, read_image  # here: 0.05 s for Pillow

        if isinstance(source, str):
            pixels = read_image(source)
        else:
            limit(resource.RLIMIT_AS, address_space() + MOST_IMAGE_BYTES)
            with mmap.mmap(self._fd, 0) as buffer:
                data = buffer[:source]
            pixels = decode_image(data) if most_px is None else decode_image(data, most_px=most_px)
        if os.fstat(self._fd).st_size < pixels.size:
            os.ftruncate(self._fd, pixels.size)
        with mmap.mmap(self._fd, 0) as buffer:
            buffer[: pixels.size] = pixels.tobytes()
        return pixels.shape

    def close(self) -> None:
        slide, self._slide = self._slide, None
        if slide is not None:
            slide.close()

    def _opened(self) -> Slide:
        assert self._slide is not None
        return self._slide


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
