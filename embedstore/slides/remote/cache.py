"""Fetched slides on the disk of this machine: a bounded folder that several processes share.

Each slide is a folder, named by what it is a copy of and by its size. Whoever uses it holds a lock on a file in it,
which ends with the process. So a copy that is not locked may be deleted, whatever became of the process that made it.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from embedstore.cache_folder import cache_folder
from embedstore.errors import AccessError, EmbedStoreError, SlideCacheFullError, SlideFetchError
from embedstore.quantities import human_bytes

#: A copy that nobody uses is kept so long for whoever asks next, seconds.
KEPT_S = 3600.0
_USED, _FETCHING, _WHOLE, _UNWANTED, _FILES = "used", "fetching", "whole", "unwanted", "files"


class Pin:
    """A copy that is in use, and so stays.

    Attributes:
        folder: Where its files lie, or are to be put.
    """

    def __init__(self, cache: "SlideCache", entry: Path, lock: int):
        self.entry, self.folder, self._cache, self._lock = entry, entry / _FILES, cache, lock

    @property
    def whole(self) -> bool:
        """Whether all its files are there."""
        return (self.entry / _WHOLE).exists()

    def finish(self) -> None:
        """Tell that all its files are there."""
        (self.entry / _WHOLE).touch()

    @contextlib.contextmanager
    def fetching(self) -> Iterator[None]:
        """Keep other threads and processes from fetching it as well; they wait."""
        lock = os.open(self.entry / _FETCHING, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def release(self) -> None:
        """Let it go; a second call does nothing."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            with contextlib.suppress(OSError):
                os.utime(lock)
            os.close(lock)
            if (self.entry / _UNWANTED).exists():
                self._cache.discard(self.entry)


class SlideCache:
    """The copies in the cache folder of this machine.

    Args:
        most_bytes: Bytes that all copies may take together.
    """

    def __init__(self, *, most_bytes: int):
        self.most_bytes = most_bytes

    @property
    def root(self) -> Path:
        """The folder."""
        return cache_folder() / "slides"

    def pin(self, what: str, size: int) -> Pin:
        """Take a copy into use; where there is none, make room and an empty folder for it.

        Args:
            what: What it is a copy of, with the version.
            size: Bytes.
        Raises:
            SlideCacheFullError: copies in use leave no room; there will be, later.
            SlideFetchError: it is larger than all that the cache may hold.
            AccessError: the folder cannot be written.
        """
        if size > self.most_bytes:
            raise SlideFetchError(
                f"{what.partition(' ')[0]} has {human_bytes(size)}, and the cache of fetched slides at {self.root} may "
                f"hold {human_bytes(self.most_bytes)}; raise --slide-cache-gb, or bring the slide to a disk"
            )
        entry = self.root / f"{hashlib.sha256(what.encode()).hexdigest()[:32]}-{size}"
        with self._alone():
            self._sweep()
            if not entry.is_dir():
                self._make_room(size)
                (entry / _FILES).mkdir(parents=True)
            lock = _lock(entry, fcntl.LOCK_SH)
            assert lock is not None  # only whoever is alone locks it for itself
            os.utime(lock)
            return Pin(self, entry, lock)

    def discard(self, entry: Path) -> None:
        """Delete a copy; where somebody uses it, whoever does so last will delete it."""
        with contextlib.suppress(AccessError, OSError), self._alone():
            if not self._delete(entry):
                (entry / _UNWANTED).touch()

    def _make_room(self, size: int) -> None:
        entries = self._entries()
        held = sum(map(_size, entries))
        for entry in sorted(entries, key=_last_used):
            if held + size <= self.most_bytes:
                return
            if self._delete(entry):
                held -= _size(entry)
        if held + size > self.most_bytes:
            raise SlideCacheFullError(
                f"slides in use take {human_bytes(held)} of the {human_bytes(self.most_bytes)} that the cache of "
                f"fetched slides at {self.root} may hold, and {human_bytes(size)} more are wanted; raise "
                "--slide-cache-gb, or read fewer slides at once (--readers)"
            )

    def _sweep(self) -> None:
        """Delete copies that were left, such as by a process that was killed."""
        oldest = time.time() - KEPT_S
        for entry in self._entries():
            if _last_used(entry) < oldest:
                self._delete(entry)

    def _delete(self, entry: Path) -> bool:
        if not entry.is_dir():
            return True
        lock = _lock(entry, fcntl.LOCK_EX)
        if lock is None:
            return False
        try:
            shutil.rmtree(entry, ignore_errors=True)
            return not entry.exists()
        finally:
            os.close(lock)

    def _entries(self) -> list[Path]:
        return [entry for entry in self.root.iterdir() if _size(entry) >= 0]

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep all other processes from making and deleting copies, for a moment."""
        lock = -1
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        except OSError as error:
            raise error if isinstance(error, EmbedStoreError) else self.not_written(error) from error
        finally:
            if lock >= 0:
                os.close(lock)

    def not_written(self, error: OSError) -> AccessError:
        """The error of a folder that takes nothing: every other slide would fail as well."""
        return AccessError(
            f"the folder {self.root} for fetched slides cannot be written: {error.strerror or error}; free some space "
            "there, lower --slide-cache-gb, or set EMBEDSTORE_CACHE to a folder on a disk of this machine"
        )


def _lock(entry: Path, kind: int) -> int | None:
    """A lock on a copy; None where others hold one that excludes it."""
    lock = os.open(entry / _USED, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _size(entry: Path) -> int:
    """Bytes of a copy, as its name tells; -1 where it is something else."""
    size = entry.name.rpartition("-")[2]
    return int(size) if size.isdigit() and entry.name.count("-") == 1 else -1


def _last_used(entry: Path) -> float:
    try:
        return (entry / _USED).stat().st_mtime
    except OSError:
        return 0.0  # its making was interrupted
