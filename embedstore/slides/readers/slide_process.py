"""A slide that is read in a process of its own.

Slides are decoded by C libraries, which a damaged file can crash, keep busy for ever, or make fill the memory. In a
process of its own such a file costs its slide; the run goes on. A region of 512² px takes 0.1 to 0.2 ms longer.
"""

import contextlib
import math
import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from embedstore.child_process import ChildProcess, give_back, take
from embedstore.config import Downsample
from embedstore.errors import ProcessEndedError, RegionReadError, SlideError, SlideFormatError, SlideNotFoundError
from embedstore.slides.readers.zarr_image import find_images
from embedstore.slides.slide import Pixels, Slide, SlideHeader
from embedstore.zarr_files import is_zarr

CODE = """
import sys
sys.path[:] = sys.argv[3:]
from embedstore.slides.readers.slide_server import serve
serve(int(sys.argv[1]), int(sys.argv[2]))
"""
#: Beyond what the process has at its start. The readers' caches take 64 MB, the largest region that is asked for 200.
MOST_BYTES = 4 << 30
#: The same for an image that was sent: 64 million pixels take 200 MB as RGB, and decoders hold them several times.
MOST_IMAGE_BYTES = 2 << 30
#: Of CPU, for one request: a block of 16 million JPEG 2000 pixels, the most costly one known, takes 3.
MOST_CPU_S = 60
#: Pixels of a level that are read for the squares of one request, unless one square has more.
MOST_SQUARES_PX = 16_000_000
#: No answer for so long is none. Only a file system that hangs is so slow: decoding has a limit of its own.
ANSWER_S = 600.0
#: The same of fastslide, whose threads wait for each other for ever on some damaged files, without taking CPU time.
FASTSLIDE_ANSWER_S = 60.0
#: The same for closing a slide, which takes no time.
CLOSE_S = 5.0
WHAT_NEXT = "the file is damaged, or a decoder has a bug; copy the file again, or try another --reader"


class OpenedSlide(NamedTuple):
    """What the other process needs to know of a slide that was opened."""

    reader: str
    header: SlideHeader
    warnings: list[str]
    passed_over: dict[str, str]
    reductions: list[tuple[int, ...]]


def check_reader(reader: str) -> None:
    """Raise a ConfigError where the package of a reader that was given by name is not installed."""
    if reader == "fastslide":
        from embedstore.slides.readers.fastslide_reader import import_fastslide

        import_fastslide()


def single_thread() -> None:
    """Make OpenCV use only the calling thread; call it once in each process that reads many slides.

    Readers already run in parallel. A thread per core inside each of them multiplies the CPU cost of a tile without
    making it faster (by four, measured for the same mistake with torch's threads).
    """
    cv2.setNumThreads(1)


def open_slide(
    path: str | Path,
    *,
    reader: str = "auto",
    answer_s: float | None = None,
    niceness: int = 0,
    name: str | None = None,
    on_close: Callable[[], None] | None = None,
) -> Slide:
    """Open a slide, in a process of its own.

    `auto` opens the file with OpenSlide and with the reader that decodes its format directly. It takes the direct
    reader where a few seeded regions on every level equal OpenSlide's, and OpenSlide otherwise. A reader given by name
    is used without a comparison: workers open slides by the name in the plan.

    Args:
        path: The file.
        reader: `auto`, or the name of a reader.
        answer_s: Seconds after which a request without an answer ends the slide; ANSWER_S, or FASTSLIDE_ANSWER_S, when
            None. The first request may have to start the process, which takes 0.3 s.
        niceness: How far other processes go before the one that reads, 0 to 19; it keeps the highest that was asked.
        name: The `path` of the slide, which errors name, where the file is only a copy.
        on_close: Called once when the slide is closed.
    Raises:
        SlideNotFoundError: there is no file.
        SlideFormatError: no reader opens it, or the named one does not; the message lists what was tried.
        ConfigError: the named reader needs a package that is not installed.
    """
    file = check_file(path)
    if answer_s is None:
        answer_s = FASTSLIDE_ANSWER_S if reader == "fastslide" else ANSWER_S
    return _ProcessSlide(file, name or file, reader, answer_s, niceness, on_close)


def read_image_apart(
    source: str | Path | bytes, *, most_px: int | None = None, answer_s: float | None = None
) -> Pixels:
    """Decode an image in another process; bytes, which come from strangers, in one that ends with them.

    Args:
        source: A file, as for `read_image`, or the bytes of an image, as for `decode_image`.
        most_px: Most pixels of an image of bytes.
        answer_s: Seconds after which it is given up; ANSWER_S when None.
    Returns:
        (height, width, 3) uint8 RGB.
    Raises:
        RegionReadError: as of `read_image` and `decode_image`; or its decoder crashed, or took too long.
    """
    process = take(_idle, _SlideProcess)
    process.answer_s = ANSWER_S if answer_s is None else answer_s
    is_sent = isinstance(source, bytes)
    try:
        return process.decode(source if isinstance(source, bytes) else str(source), most_px)
    except ProcessEndedError as error:
        what = "the image" if is_sent else f"image {str(source)!r}"
        raise RegionReadError(f"{what}: the process that decoded it {error}; save it again") from error
    finally:
        if is_sent:
            process.end()
        else:
            give_back(_idle, process)


def check_file(path: str | Path) -> str:
    """Check that a path may be a slide, and return it as a string; of a Zarr folder, the file that names its image.

    Raises:
        SlideNotFoundError: there is no file.
        SlideFormatError: it is a folder, a pipe or a device, empty, or not readable.
    """
    file = Path(path)
    try:
        if is_zarr(file) and (images := find_images(file)):
            file = images[0]
        if not file.exists():
            raise SlideNotFoundError(f"slide {str(path)!r}: no such file")
        if file.is_dir():
            raise SlideFormatError(f"slide {str(path)!r} is a folder; expected a file (find_slides takes folders)")
        if not file.is_file():
            raise SlideFormatError(f"slide {str(path)!r} is a pipe or a device; expected a file")
        if file.stat().st_size == 0:
            raise SlideFormatError(f"slide {str(path)!r} is empty (0 bytes); was a copy interrupted?")
        with open(file, "rb"):
            pass
    except SlideError:
        raise
    except OSError as error:  # of the file, or of a folder above it
        raise SlideFormatError(f"slide {str(path)!r} cannot be read: {error.strerror or error}") from error
    return str(file)


class _SlideProcess(ChildProcess):
    """A process that reads one slide at a time."""

    def __init__(self) -> None:
        self._fd = _shared_memory()
        super().__init__(CODE, what="slides", most_cpu_s=MOST_CPU_S, descriptors=[self._fd])
        self._buffer: mmap.mmap | None = None
        self.answer_s = ANSWER_S

    def fill(self, method: str, out: Pixels, *arguments: Any) -> Any:
        """Fill an array by a method that takes its shape and puts pixels into the shared memory; errors as in `ask`."""
        with self._lock:
            if not self.end.alive:  # while this thread waited; its memory is gone
                raise ProcessEndedError(self._how)
            pixels = self._shared(out.shape)
            answer = self._ask(method, out.shape, *arguments, answer_s=self.answer_s)
            out[:] = pixels
            return answer

    def decode(self, source: str | bytes, most_px: int | None) -> Pixels:
        """The pixels of an image: a file, or its bytes."""
        with self._lock:
            if isinstance(source, bytes):
                self._shared((len(source),))[:] = np.frombuffer(source, np.uint8)
            sent = len(source) if isinstance(source, bytes) else source
            shape = self._ask("decode", sent, most_px, answer_s=self.answer_s)
            return self._shared(shape).copy()

    def _shared(self, shape: tuple[int, ...]) -> Pixels:
        """The shared memory, which grows as needed, as an array."""
        size = math.prod(shape)
        if self._buffer is None or len(self._buffer) < size:
            os.ftruncate(self._fd, size)
            self._buffer = mmap.mmap(self._fd, 0)
        return np.frombuffer(self._buffer, np.uint8, size).reshape(shape)


def _shared_memory() -> int:
    """Descriptor of memory that a child process can inherit."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("embedstore-slide")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


_idle: list[_SlideProcess] = []


class _ProcessSlide(Slide):
    """A slide that is open in another process."""

    def __init__(
        self,
        file: str,
        name: str,
        reader: str,
        answer_s: float,
        niceness: int,
        on_close: Callable[[], None] | None,
    ) -> None:
        process = take(_idle, _SlideProcess)
        process.answer_s = answer_s
        self._file, self._on_close = file, on_close
        try:
            with _called(file, name):
                opened: OpenedSlide = process.ask("open", file, reader, niceness, answer_s=answer_s)
        except ProcessEndedError as error:
            raise SlideFormatError(f"slide {name!r}: the process that opened it {error}; {WHAT_NEXT}") from error
        except BaseException:
            give_back(_idle, process)
            raise
        super().__init__(name, opened.header)
        self.reader = opened.reader
        self.warnings = [warning.replace(file, name) for warning in opened.warnings]
        self.passed_over = {reader: why.replace(file, name) for reader, why in opened.passed_over.items()}
        self.reductions = opened.reductions
        self._process: _SlideProcess | None = process
        self._ended: str | None = None

    @property
    def usable(self) -> bool:
        return self._process is not None and self._process.usable

    def abort(self) -> None:
        if (process := self._process) is not None:
            process.kill()

    def expect_stride(self, stride_l0: int) -> None:
        if self._process is not None:
            self._process.ask("expect_stride", stride_l0, answer_s=self._process.answer_s)

    def read_squares(
        self,
        xy_l0: NDArray[np.integer],
        level: int,
        *,
        edge_l0: int,
        out: Pixels,
        downsample: Downsample = "area",
    ) -> list[RegionReadError | None]:
        errors: list[RegionReadError | None] = []
        most = max(1, MOST_SQUARES_PX // max(1, round(edge_l0 / self.level_downsamples[level])) ** 2)
        for start in range(0, len(out), most):
            some, tiles = xy_l0[start : start + most], out[start : start + most]
            what = f"{len(tiles)} square(s) of {edge_l0} px from {some[0].tolist()} of level {level} on"
            try:
                errors += self._ask_to_fill("squares", tiles, what, some, level, edge_l0, downsample)
            except RegionReadError as error:
                tiles[:] = 0
                errors += [error] * len(tiles)
        return [error and RegionReadError(str(error).replace(self._file, self.path)) for error in errors]

    def _fill(self, level: int, x: int, y: int, out: Pixels) -> None:
        self._fill_reduced(level, 1, x, y, out)

    def _fill_reduced(self, level: int, reduce: int, x: int, y: int, out: Pixels) -> None:
        what = f"{out.shape[1]}×{out.shape[0]} px at {x},{y} of level {level}"
        self._ask_to_fill("fill", out, what, level, reduce, x, y)

    def _ask_to_fill(self, method: str, out: Pixels, what: str, *arguments: Any) -> Any:
        process = self._process
        if process is None:
            raise RegionReadError(self._ended or f"slide {self.path!r} is closed")
        try:
            with _called(self._file, self.path):
                return process.fill(method, out, *arguments)
        except ProcessEndedError as error:
            self._process = None
            self._ended = f"slide {self.path!r}: the process that read {what} {error}; {WHAT_NEXT}"
            raise RegionReadError(self._ended) from error

    def close(self) -> None:
        process, self._process = self._process, None
        on_close, self._on_close = self._on_close, None
        try:
            if process is None:
                return
            try:
                process.ask("close", answer_s=CLOSE_S)
            except ProcessEndedError:
                return
            give_back(_idle, process)
        finally:
            if on_close is not None:
                on_close()


@contextlib.contextmanager
def _called(file: str, name: str) -> Iterator[None]:
    """Errors of a slide tell its name in the place of its file."""
    try:
        yield
    except SlideError as error:
        if name == file or file not in str(error):
            raise
        raise type(error)(str(error).replace(file, name)) from error
