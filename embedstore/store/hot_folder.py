"""A folder of the cache, outside the store, with what a warm collection keeps on the disk."""

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.cache_folder import cache_folder
from embedstore.errors import ConfigError
from embedstore.quantities import human_bytes
from embedstore.store.location import local_path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Folders that nobody used for so long are deleted, seconds: 30 days.
KEPT_S = 30 * 86400.0
NO_LOCK = -1
_LOCK, _ABOUT, _VECTORS = "lock", "about.json", "vectors.f16"


def forget_copies(store_uri: str, collection: str) -> None:
    """Delete the copies of a collection that no process uses, in this user's cache of this machine.

    A process that uses one wipes what was removed from it by itself.
    """
    with contextlib.suppress(OSError):
        for path in _folders(cache_folder(), store_uri, collection):
            if folder := _lock(path):
                folder.delete()


class HotFolder:
    """A folder that one process uses at a time, for the vectors of one collection and what is known of them.

    It is locked for as long as the process lives. Vectors are only appended, or overwritten by zeros; the facts that
    say how many there are are replaced at once. So whatever is interrupted leaves a folder that is right, or none.
    """

    def __init__(self, path: Path, lock: int):
        self.path, self._lock = path, lock

    @classmethod
    def take(cls, root: Path, store_uri: str, collection: str) -> "HotFolder":
        """A folder for a collection: one that a process left, else a new one. Others that were left are deleted.

        Raises:
            ConfigError: the folder cannot be written to.
        """
        try:
            _sweep(root)
            kept = None
            for path in _folders(root, store_uri, collection):
                folder = _lock(path)
                if folder is not None and kept is None and folder.facts() is not None:
                    kept = folder
                elif folder is not None:
                    folder.delete()
            return kept or cls.new(root, store_uri, collection)
        except OSError as error:
            raise ConfigError(
                f"the folder {root} for a copy of the vectors cannot be written to: {error.strerror or error}; "
                "pass folder=, or set EMBEDSTORE_CACHE"
            ) from error

    @classmethod
    def new(cls, root: Path, store_uri: str, collection: str) -> "HotFolder":
        above = root / "hot" / _key(store_uri, collection)
        above.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            path = above / uuid.uuid4().hex
            path.mkdir(mode=0o700)
            if fcntl is None:
                return cls(path, NO_LOCK)
            if folder := _lock(path):  # else another process tidied up at this moment
                return folder

    def facts(self) -> dict[str, Any] | None:
        """What was saved last; None if nothing was."""
        try:
            facts = json.loads((self.path / _ABOUT).read_text())
            os.utime(self.path / _ABOUT)  # in use
        except (OSError, ValueError):
            return None
        return facts if isinstance(facts, dict) else None

    def save(self, facts: Mapping[str, Any], *, keep: set[str]) -> None:
        """Replace the facts, and delete files that are none of `keep`."""
        new = self.path / f"{_ABOUT}.new"
        with new.open("w") as file:
            json.dump(facts, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path / _ABOUT)
        for path in self.path.iterdir():
            if path.name not in {_LOCK, _ABOUT, _VECTORS} | keep:
                path.unlink(missing_ok=True)

    def require_room(self, rows: int, dim: int) -> None:
        """Raise ConfigError if the disk has no room for so many more vectors."""
        need, free = rows * dim * 2 * 5 // 4, shutil.disk_usage(self.path).free
        if need > free:
            raise ConfigError(
                f"a copy of the vectors in {self.path.parents[2]} needs {human_bytes(need)}, and {human_bytes(free)} "
                "are free; free some space there, pass folder=, or set EMBEDSTORE_CACHE"
            )

    def append(self, at: int, block: NDArray[np.float16]) -> None:
        """Write vectors from row `at` on."""
        with (self.path / _VECTORS).open("r+b" if (self.path / _VECTORS).exists() else "w+b") as file:
            file.seek(at * block.shape[1] * 2)
            block.tofile(file)

    def vectors(self, rows: int, dim: int) -> NDArray[np.float16]:
        """(rows, dim) vectors, mapped from the file."""
        if not rows:
            return np.empty((0, dim), np.float16)
        mapped = np.memmap(self.path / _VECTORS, np.float16, "r", shape=(rows, dim))
        return np.asarray(mapped)  # every slice of a memmap costs 5 µs more

    def cut(self, rows: int, dim: int) -> None:
        """Drop what was written after the first rows.

        Raises:
            ValueError: there are fewer.
        """
        path = self.path / _VECTORS
        there = path.stat().st_size if path.exists() else 0
        if there < 2 * rows * dim:
            raise ValueError(f"{path} has {there} bytes; expected {rows} vectors of {dim} values")
        if there > 2 * rows * dim:
            os.truncate(path, 2 * rows * dim)

    def wipe(self, rows: NDArray[np.int64], dim: int) -> None:
        """Overwrite vectors by zeros: of slides that were taken out, nothing stays."""
        if len(rows):
            mapped = np.memmap(self.path / _VECTORS, np.float16, "r+")
            mapped.reshape(-1, dim)[rows] = 0
            mapped.flush()

    def size_bytes(self) -> int:
        size = 0
        with contextlib.suppress(OSError):  # files are being replaced
            for path in self.path.iterdir():
                size += path.stat().st_size
        return size

    def release(self) -> None:
        """Leave the folder to other processes; without locks, none could tell that it is free."""
        if fcntl is None:
            shutil.rmtree(self.path, ignore_errors=True)
        if self._lock != NO_LOCK:
            os.close(self._lock)
            self._lock = NO_LOCK

    def delete(self) -> None:
        """Delete the folder; what is mapped from it stays readable."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()


def _key(store_uri: str, collection: str) -> str:
    local = local_path(store_uri)
    place = store_uri if local is None else local.resolve()
    return hashlib.blake2b(f"{place}\n{collection}".encode(), digest_size=16).hexdigest()


def _folders(root: Path, store_uri: str, collection: str) -> list[Path]:
    above = root / "hot" / _key(store_uri, collection)
    return sorted(above.iterdir()) if above.is_dir() else []


def _lock(path: Path) -> HotFolder | None:
    """The folder, if no process uses it."""
    if fcntl is None:
        return None
    try:
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:  # deleted meanwhile
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return HotFolder(path, lock)


def _sweep(root: Path) -> None:
    """Delete folders of any collection that nobody used for `KEPT_S`."""
    for path in (root / "hot").glob("*/*"):
        with contextlib.suppress(OSError):
            used = max(path.stat().st_mtime, (path / _ABOUT).stat().st_mtime if (path / _ABOUT).exists() else 0)
            if time.time() - used > KEPT_S and (folder := _lock(path)):
                folder.delete()
