"""Slides of object stores as files of this machine: fetched into the cache of slides before they are opened."""

import atexit
import functools
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

from embedstore.config import GB, RunConfig
from embedstore.errors import EmbedStoreError, SlideCacheFullError, SlideFetchError
from embedstore.slides.remote.cache import Pin, SlideCache
from embedstore.slides.remote.objects import RemoteObject, changed, lease, read_part
from embedstore.slides.remote.slide_objects import PARALLEL, SlideObjects, slide_objects
from embedstore.uris import checked_uri, is_uri

Kind = Literal["wsi", "tiles"]
#: Bytes of one request, and requests of one object at a time: 100 MB/s at 30 ms, measured with 4 of 8 MB.
PART_BYTES, PARTS = 8 << 20, 4
#: How long whoever wants a slide waits for others to let theirs go, seconds.
WAIT_S = 60.0
#: Slides that are fetched before they are asked for, at a time.
AHEAD = 2

_cache = SlideCache(most_bytes=int(RunConfig.slide_cache_gb * GB))
_wait_s = WAIT_S
_fetched: dict[str, set[Path]] = {}  # the copies that this process made of each address
_ahead: dict[str, "Future[None]"] = {}
_lock = threading.Lock()


def limit_slide_cache(most_gb: float, *, wait_s: float = WAIT_S) -> None:
    """Set how much fetched slides may take on the disk of this machine, for this process.

    Args:
        most_gb: Most that all may take, GB.
        wait_s: How long whoever wants a slide waits where slides in use fill it, seconds.
    """
    global _cache, _wait_s
    _cache, _wait_s = SlideCache(most_bytes=int(most_gb * GB)), wait_s


class LocalCopy:
    """A slide on a disk of this machine, which stays there until it is closed.

    Attributes:
        name: What it is a copy of.
        path: Its file, or the folder of its tiles.
        version: Of the objects that it is a copy of; None of a file.
    """

    def __init__(self, name: str, path: str, version: str | None = None, pin: Pin | None = None):
        self.name, self.path, self.version, self._pin = name, path, version, pin

    def close(self) -> None:
        """Let the copy go; it is deleted when room is needed, when the process ends, or by `discard_copy`."""
        if self._pin is not None:
            self._pin.release()

    def __enter__(self) -> "LocalCopy":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if isinstance(error, EmbedStoreError) and self.path != self.name and self.path in str(error):
            raise type(error)(str(error).replace(self.path, self.name)) from error


def local_copy(path: str, *, kind: Kind = "wsi", version: str | None = None) -> LocalCopy:
    """A slide as files of this machine; one that is there already is left where it is.

    Args:
        path: Its file or address.
        kind: `tiles` for a folder of ready-made tiles.
        version: That the objects must have.
    Raises:
        SlideNotFoundError: there is no object at the address.
        SlideCacheFullError: slides in use fill the cache.
        SlideFetchError: it does not come, is larger than the cache, or changed.
        AccessError: the store refuses the credentials.
    """
    if not is_uri(path):
        return LocalCopy(path, path)
    path = checked_uri(path)
    found = slide_objects(path, kind)
    if version is not None and found.version != version:
        raise changed(path)
    pin = _pin(f"{path} {found.version}", found.size)
    try:
        with _lock:
            _fetched.setdefault(path, set()).add(pin.entry)
        with pin.fetching():
            if not pin.whole:
                _fetch(found, pin.folder)
                pin.finish()
    except BaseException:
        pin.release()
        raise
    opened = pin.folder if kind == "tiles" else pin.folder / found.name(found.objects[0])
    return LocalCopy(path, str(opened), found.version, pin)


def _pin(what: str, size: int) -> Pin:
    deadline = time.monotonic() + _wait_s
    while True:
        try:
            return _cache.pin(what, size)
        except SlideCacheFullError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def fetch_ahead(path: str, *, kind: Kind = "wsi") -> None:
    """Begin to fetch a slide that will be asked for next; what goes wrong is told to whoever then opens it."""
    with _lock:
        _ahead.update({other: future for other, future in _ahead.items() if not future.done()})
        if is_uri(path) and path not in _ahead and len(_ahead) < AHEAD:
            _ahead[path] = _threads().submit(_fetch_quietly, path, kind)


def _fetch_quietly(path: str, kind: Kind) -> None:
    try:
        local_copy(path, kind=kind).close()
    except Exception:
        pass
    finally:
        with _lock:
            _ahead.pop(path, None)


def discard_copy(path: str) -> None:
    """Delete the copies that this process made of a slide, except where somebody uses them."""
    with _lock:
        entries = _fetched.pop(path, set())
    for entry in entries:
        _cache.discard(entry)


@atexit.register
def _discard_all() -> None:
    for path in list(_fetched):
        discard_copy(path)


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AHEAD, thread_name_prefix="fetch-ahead")


def _fetch(found: SlideObjects, folder: Path) -> None:
    """Fetch the objects of a slide; what an earlier try left of them is kept, as it is of the same version."""
    may_go_on, parts = lease(), PARTS if len(found.objects) == 1 else 1
    try:
        with ThreadPoolExecutor(min(PARALLEL, len(found.objects))) as threads:
            files = [folder / found.name(each) for each in found.objects]
            list(threads.map(lambda each, file: _fetch_object(each, file, parts, may_go_on), found.objects, files))
    except OSError as error:
        if isinstance(error, EmbedStoreError):
            raise
        raise _cache.not_written(error) from error


def _fetch_object(found: RemoteObject, file: Path, parts: int, may_go_on: Callable[..., bool]) -> None:
    """Write an object to a file, in order, so that its length tells how far an earlier try came."""
    if not may_go_on():
        raise _ended(found)
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "ab") as stream:
        if stream.tell() > found.size:
            stream.truncate(0)
        starts = list(range(stream.tell(), found.size, PART_BYTES))
        if len(starts) == 1:
            stream.write(read_part(found, starts[0], found.size, may_go_on=may_go_on))
        elif starts:
            _fetch_parts(found, starts, stream, parts, may_go_on)
    if os.stat(file).st_size != found.size:  # noqa: PTH116
        raise SlideFetchError(f"{found.uri}: {os.stat(file).st_size} bytes of {found.size} are in {file}")  # noqa: PTH116


def _fetch_parts(
    found: RemoteObject, starts: list[int], stream: BinaryIO, parts: int, may_go_on: Callable[..., bool]
) -> None:
    with ThreadPoolExecutor(parts) as threads:
        coming: deque[Future[Any]] = deque()
        try:
            for start in starts:
                stop = min(start + PART_BYTES, found.size)
                coming.append(threads.submit(read_part, found, start, stop, may_go_on=may_go_on))
                if len(coming) == parts:
                    stream.write(coming.popleft().result())
                if not may_go_on():
                    raise _ended(found)
            while coming:
                stream.write(coming.popleft().result())
        finally:
            for future in coming:
                future.cancel()


def _ended(found: RemoteObject) -> SlideFetchError:
    return SlideFetchError(f"{found.uri} was not fetched: the run ends")
