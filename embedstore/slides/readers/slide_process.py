"""A slide that is read in a process of its own.

Slides are decoded by C libraries, which a damaged file can crash, keep busy for ever, or make fill the memory. In a
process of its own such a file costs its slide; the run goes on. A region of 512² px takes 0.1 to 0.2 ms longer.
"""

import contextlib
import math
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

import embedstore.errors
from embedstore.errors import RegionReadError, RunError, SlideError, SlideFormatError, SlideNotFoundError
from embedstore.slides.slide import Pixels, Slide, SlideHeader

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
#: Processes that wait for their next slide: a start takes 0.3 s.
MOST_IDLE = 4
#: No answer for so long is none. Only a file system that hangs is so slow: decoding has a limit of its own.
ANSWER_S = 600.0
#: The same of fastslide, whose threads wait for each other for ever on some damaged files, without taking CPU time.
FASTSLIDE_ANSWER_S = 60.0
#: The same for closing a slide, which takes no time.
CLOSE_S = 5.0
WHAT_NEXT = "the file is damaged, or a decoder has a bug; copy the file again, or try another --reader"
#: Libraries start a thread a core otherwise, with address space for each.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class OpenedSlide(NamedTuple):
    """What the other process needs to know of a slide that was opened."""

    reader: str
    header: SlideHeader
    warnings: list[str]
    passed_over: dict[str, str]


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
    process = _take()
    process.answer_s = ANSWER_S if answer_s is None else answer_s
    is_sent = isinstance(source, bytes)
    try:
        return process.decode(source if isinstance(source, bytes) else str(source), most_px)
    except _ProcessEndedError as error:
        what = "the image" if is_sent else f"image {str(source)!r}"
        raise RegionReadError(f"{what}: the process that decoded it {error}; save it again") from error
    finally:
        if is_sent:
            process.end()
        else:
            _give_back(process)


def check_file(path: str | Path) -> str:
    """Check that a path may be a slide, and return it as a string.

    Raises:
        SlideNotFoundError: there is no file.
        SlideFormatError: it is a folder, a pipe or a device, empty, or not readable.
    """
    file = Path(path)
    try:
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


class _ProcessEndedError(Exception):
    """The process ended, or was ended, before it answered; the message says how."""


class _SlideProcess:
    """A process that reads one slide at a time."""

    def __init__(self) -> None:
        ours, theirs = Pipe()
        self._fd = _shared_memory()
        root = str(Path(embedstore.errors.__file__).parent.parent)
        arguments = [str(theirs.fileno()), str(self._fd), *(path for path in sys.path if path), root]
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", CODE, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # where C libraries write what they think of a file
                pass_fds=(theirs.fileno(), self._fd),
                env=os.environ | ONE_THREAD,
            )
        except OSError as error:
            os.close(self._fd)
            ours.close()
            raise RunError(f"no process to read slides in can be started: {error.strerror or error}") from error
        finally:
            theirs.close()
        self._connection, self._process, self._pid = ours, process, os.getpid()
        self._buffer: mmap.mmap | None = None
        self._reserved: Pixels | None = None
        self._lock = threading.Lock()
        self.answer_s = ANSWER_S
        self._how = ""  # it ended
        self.end = weakref.finalize(self, _end, ours, process, self._fd)

    @property
    def usable(self) -> bool:
        """Whether it can be asked: it has not ended, and this process is no fork of the one that started it."""
        return self._pid == os.getpid() and self.end.alive and self._process.poll() is None

    def kill(self) -> None:
        """End it at once; whoever waits for its answer is told that it was killed."""
        self._process.kill()

    def ask(self, method: str, *arguments: Any) -> Any:
        """The result of a method of the server; raises its error, or _ProcessEndedError."""
        with self._lock:
            return self._ask(method, arguments)

    def reserve(self, shape: tuple[int, int, int]) -> Pixels:
        """An array that `fill` fills without a copy."""
        self._reserved = self._shared(0, shape)
        return self._reserved

    def fill(self, level: int, x: int, y: int, out: Pixels) -> None:
        """Fill an array with pixels of a level; errors as in `ask`."""
        height, width = out.shape[:2]
        with self._lock:
            reserved = self._reserved
            offset = 0 if reserved is None or out is reserved else reserved.size
            if not self.end.alive:  # while this thread waited; its memory is gone
                raise _ProcessEndedError(self._how)
            pixels = out if out is reserved else self._shared(offset, out.shape)
            self._ask("fill", (level, x, y, width, height, offset))
            if out is not reserved:
                out[:] = pixels

    def decode(self, source: str | bytes, most_px: int | None) -> Pixels:
        """The pixels of an image: a file, or its bytes."""
        with self._lock:
            if isinstance(source, bytes):
                self._shared(0, (len(source),))[:] = np.frombuffer(source, np.uint8)
            shape = self._ask("decode", (len(source) if isinstance(source, bytes) else source, most_px))
            return self._shared(0, shape).copy()

    def _shared(self, offset: int, shape: tuple[int, ...]) -> Pixels:
        """A part of the shared memory, which grows as needed; older parts stay where they are."""
        size = math.prod(shape)
        if self._buffer is None or len(self._buffer) < offset + size:
            os.ftruncate(self._fd, offset + size)
            self._buffer = mmap.mmap(self._fd, 0)
        return np.frombuffer(self._buffer, np.uint8, size, offset).reshape(shape)

    def _ask(self, method: str, arguments: tuple[Any, ...]) -> Any:
        try:
            self._connection.send((method, arguments))
            if not self._connection.poll(self.answer_s):
                self.end()
                self._how = f"gave no answer within {self.answer_s:g} s"
                raise _ProcessEndedError(self._how)
            result, error = self._connection.recv()
        except (EOFError, OSError) as error:
            self.end()
            self._how = self._how or _how(self._process.returncode)
            raise _ProcessEndedError(self._how) from error
        except BaseException:  # Ctrl-C, say: its answer would be taken for that to the next request
            self.end()
            raise
        if error is not None:
            raise error
        return result


def _shared_memory() -> int:
    """Descriptor of memory that a child process can inherit."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("embedstore-slide")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _end(connection: Connection, process: "subprocess.Popen[bytes]", fd: int) -> None:
    connection.close()
    os.close(fd)
    try:
        process.wait(0.2)  # it ends by itself when the connection is closed, unless it is decoding
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _how(code: int) -> str:
    if code == -signal.SIGXCPU:
        return f"took more than {MOST_CPU_S} s of CPU time"
    if code == -signal.SIGKILL:
        return "was killed, as systems do when memory runs out"
    if code < 0:
        return f"crashed ({signal.strsignal(-code)})"
    return f"ended with exit code {code}"


_idle: list[_SlideProcess] = []


def _take() -> _SlideProcess:
    with contextlib.suppress(IndexError):
        while True:
            process = _idle.pop()
            if process.usable:
                return process
    return _SlideProcess()


def _give_back(process: _SlideProcess) -> None:
    if process.usable and len(_idle) < MOST_IDLE:
        _idle.append(process)
    else:
        process.end()


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
        process = _take()
        process.answer_s = answer_s
        self._file, self._on_close = file, on_close
        try:
            with _called(file, name):
                opened: OpenedSlide = process.ask("open", file, reader, niceness)
        except _ProcessEndedError as error:
            raise SlideFormatError(f"slide {name!r}: the process that opened it {error}; {WHAT_NEXT}") from error
        except BaseException:
            _give_back(process)
            raise
        super().__init__(name, opened.header)
        self.reader = opened.reader
        self.warnings = [warning.replace(file, name) for warning in opened.warnings]
        self.passed_over = {reader: why.replace(file, name) for reader, why in opened.passed_over.items()}
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
            self._process.ask("expect_stride", stride_l0)

    def region_buffer(self, width: int, height: int) -> Pixels:
        return (
            super().region_buffer(width, height) if self._process is None else self._process.reserve((height, width, 3))
        )

    def _fill(self, level: int, x: int, y: int, out: Pixels) -> None:
        process = self._process
        if process is None:
            raise RegionReadError(self._ended or f"slide {self.path!r} is closed")
        try:
            with _called(self._file, self.path):
                process.fill(level, x, y, out)
        except _ProcessEndedError as error:
            self._process = None
            self._ended = (
                f"slide {self.path!r}: the process that read {out.shape[1]}×{out.shape[0]} px at {x},{y} of level "
                f"{level} {error}; {WHAT_NEXT}"
            )
            raise RegionReadError(self._ended) from error

    def close(self) -> None:
        process, self._process = self._process, None
        on_close, self._on_close = self._on_close, None
        try:
            if process is None:
                return
            process.answer_s = CLOSE_S
            try:
                process.ask("close")
            except _ProcessEndedError:
                return
            _give_back(process)
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
