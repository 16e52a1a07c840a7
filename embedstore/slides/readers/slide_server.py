"""The process in which one slide is read; `slide_process.py` starts it and talks to it."""

import contextlib
import mmap
import os
import resource
import signal
from multiprocessing.connection import Connection
from typing import Any

import cv2
import numpy as np

from embedstore.errors import EmbedStoreError, RegionReadError, SlideFormatError
from embedstore.slides.readers.opening import open_here
from embedstore.slides.readers.slide_process import MOST_BYTES, MOST_CPU_S, MOST_IMAGE_BYTES, OpenedSlide
from embedstore.slides.slide import Slide, SlideHeader


def serve(connection_fd: int, buffer_fd: int) -> None:
    """Answer requests, one at a time, until the other side hangs up.

    Args:
        connection_fd: Socket of requests, (method, arguments), and answers, (result, error).
        buffer_fd: Memory in which the pixels of a region are handed over.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the other process, which hangs up
    cv2.setNumThreads(1)
    _limit(resource.RLIMIT_AS, _address_space() + MOST_BYTES)
    connection, server = Connection(connection_fd), _Server(buffer_fd)
    while True:
        try:
            method, arguments = connection.recv()
        except (EOFError, OSError):
            return
        usage = resource.getrusage(resource.RUSAGE_SELF)
        _limit(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime) + MOST_CPU_S)
        try:
            answer: tuple[Any, EmbedStoreError | None] = getattr(server, method)(*arguments), None
        except EmbedStoreError as error:
            answer = None, error
        connection.send(answer)


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
        return OpenedSlide(slide.reader, header, slide.warnings, slide.passed_over)

    def expect_stride(self, stride_l0: int) -> None:
        self._opened().expect_stride(stride_l0)

    def fill(self, level: int, x: int, y: int, width: int, height: int, offset: int) -> None:
        slide, size = self._opened(), 3 * width * height
        if self._buffer is None or len(self._buffer) < offset + size:
            self._buffer = mmap.mmap(self._fd, 0)
        pixels = np.frombuffer(self._buffer, np.uint8, size, offset).reshape(height, width, 3)
        try:
            slide._fill(level, x, y, pixels)
        except EmbedStoreError:
            raise
        except Exception as error:
            raise RegionReadError(
                f"slide {slide.path!r}: {width}×{height} px at {x},{y} of level {level} cannot be read: {_named(error)}"
            ) from error

    def decode(self, source: str | int, most_px: int | None) -> tuple[int, ...]:
        """Decode an image: a file, or as many bytes of the shared memory; its pixels lie there afterwards."""
        from embedstore.slides.image_file import decode_image, read_image  # here: 0.05 s for Pillow

        if isinstance(source, str):
            pixels = read_image(source)
        else:
            _limit(resource.RLIMIT_AS, _address_space() + MOST_IMAGE_BYTES)
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


def _address_space() -> int:
    """Bytes of address space in use; 0 where the system does not tell."""
    with contextlib.suppress(OSError), open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
    return 0


def _limit(what: int, most: int) -> None:
    """Set a soft limit, where the system and the hard limit allow it."""
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(what)
        resource.setrlimit(what, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
