"""Warm collections: their hot indexes, kept up to date by a thread each."""

import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from embedstore.access_errors import access_error
from embedstore.cache_folder import cache_folder
from embedstore.cores import cores
from embedstore.errors import EmbedStoreError
from embedstore.progress import Progress, no_progress
from embedstore.search.hot.changes import Work, brought_to, is_worn
from embedstore.search.hot.codes import Codes, load_faiss
from embedstore.search.hot.hot_index import Effort, HotIndex
from embedstore.search.hot.rows import GONE, HotRows
from embedstore.store import Collection, StoredTile
from embedstore.store.hot_folder import HotFolder

log = logging.getLogger(__name__)

FORMAT = 1
#: How often a thread looks for a new version by itself, seconds; a search that finds one wakes it.
LOOKED_S, LOOKED_REMOTE_S = 1.0, 10.0
#: After a change, it rests as long as the change took, up to so many seconds.
LONGEST_PAUSE_S = 5.0
#: After a failure, seconds until the next try.
RETRY_S = 30.0
#: The files of a changed index are written at most so often, unless something was removed, seconds.
SAVED_S = 60.0
#: A removed vector is wiped when nobody searches the old index any more, and at the latest after so many seconds.
WIPED_S = 60.0
LAST_STEP_S = 60.0


@dataclass(frozen=True, kw_only=True)
class WarmFacts:
    """What a warm collection is.

    Attributes:
        state: `building` until searches can use it; `ready`; `failed` with its `error`.
        version: Of the collection that it answers for; None while building.
        tiles: Tiles at that version.
        memory_bytes: Memory of this process that it takes.
        disk_bytes: Size of its folder.
        folder: Where its files are.
        reused: It was made from what an earlier process left in the folder.
        recall: Share of the 10 nearest tiles that are found, for a sample of the collection's own tiles.
        error: Why it failed, or why it could not be brought up to date; None if it did not.
    """

    state: Literal["building", "ready", "failed"]
    version: int | None = None
    tiles: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0
    folder: str = ""
    reused: bool = False
    recall: float | None = None
    error: str | None = None


class WarmCollection:
    """Keeps the hot index of a collection; `close` ends it.

    Args:
        collection: Not pinned.
        root: Folder for its files; `cache_folder()` when None.
        threads: That the first index is made with.

    Attributes:
        turns: Held during a search. More threads than cores would hinder each other: a search takes Python's lock back
            a dozen times, and eight threads answered a third fewer queries a second than two.
    Raises:
        ConfigError: faiss is not installed, or the folder cannot be written to.
    """

    def __init__(self, collection: Collection, *, root: Path | None = None, threads: int = 1):
        load_faiss()
        self.turns = threading.BoundedSemaphore(cores())
        self._threads = threads
        self.collection = collection
        self._root = root or cache_folder()
        self._folder = HotFolder.take(self._root, collection.store_uri, collection.name)
        self._index: HotIndex | None = None
        self._error: EmbedStoreError | None = None
        self._reused = False
        self._wipes: list[tuple[float, Callable[[], HotIndex | None], HotFolder, Any]] = []
        self._unsaved_since: float | None = None
        self._wake, self._stop, self._settled = threading.Event(), threading.Event(), threading.Event()
        self._report: Callable[[Progress], None] = no_progress
        self._thread = threading.Thread(target=self._keep, name=f"warm-{collection.name}", daemon=True)
        self._thread.start()

    def index_at(self, version: int) -> HotIndex | None:
        """The hot index, if it is of this version; else None, and it is brought up to date meanwhile."""
        index = self._index
        if index is not None and index.version == version:
            return index
        self._wake.set()
        return None

    def tile(self, tile_id: int) -> StoredTile | None:
        """A tile of the newest version; None if it is not there, or the index is not of that version."""
        index = self.index_at(self.collection.dataset().version)
        return None if index is None else index.tile(tile_id, collection=self.collection.name)

    def wait(self, report: Callable[[Progress], None]) -> None:
        """Wait until it can answer.

        Raises:
            EmbedStoreError: it cannot be made.
        """
        latest: queue.SimpleQueue[Progress] = queue.SimpleQueue()
        self._report = latest.put
        while not self._settled.wait(0.1):
            while not latest.empty():
                report(latest.get())
        self._report = no_progress
        if self._index is None and self._error is not None:
            raise self._error

    def facts(self) -> WarmFacts:
        index, error = self._index, None if self._error is None else str(self._error)
        if index is None:
            return WarmFacts(
                state="building" if error is None else "failed", error=error, folder=str(self._folder.path)
            )
        return WarmFacts(
            state="ready", version=index.version, tiles=index.rows.living, memory_bytes=index.memory_bytes(),
            disk_bytes=self._folder.size_bytes(), folder=str(self._folder.path), reused=self._reused,
            recall=index.effort.recall, error=error,
        )  # fmt: skip

    def close(self) -> None:
        """End its thread, leave the folder to the next process, and free its memory."""
        self._stop.set()
        self._wake.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(LAST_STEP_S)
        if not self._thread.is_alive():
            self._index = None
            self._wipe(at_once=True)
            if self._folder.facts() is None:  # half made
                self._folder.delete()
            else:
                self._folder.release()

    # -- its thread -------------------------------------------------------------------------

    def _keep(self) -> None:
        """Bring the index up to date until the end.

        No thread may be inside Lance when Python ends: see `close`, which a finalizer of `WarmCollections` calls.
        """
        pause_s = LOOKED_REMOTE_S if "://" in self.collection.store_uri else LOOKED_S
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._advance()
                self._error = None
            except CancelledError:
                break
            except BaseException as error:  # Lance's panics are no Exceptions
                self._error = access_error(error) or EmbedStoreError(f"{type(error).__name__}: {error}")
                log.warning("collection %s could not be kept warm: %s", self.collection.name, self._error)
            self._settled.set()
            self._wipe()
            if self._error is not None:
                self._stop.wait(RETRY_S)
                continue
            self._stop.wait(min(time.monotonic() - began, LONGEST_PAUSE_S))  # others want the processors too
            self._wake.wait(pause_s)
            self._wake.clear()
        self._settled.set()
        if self._unsaved_since is not None:
            try:
                self._save()
            except OSError as error:  # the next process reads again what this one had not saved
                log.warning("what was kept warm of collection %s could not be saved: %s", self.collection.name, error)

    def _advance(self) -> None:
        collection = self.collection.pinned()
        if self._index is None:
            old = self._left(collection.dim)
            self._reused = old is not None
        else:
            old = self._index
        if old is self._index and old is not None and old.version == collection.dataset().version:
            if self._unsaved_since is not None and time.monotonic() - self._unsaved_since > SAVED_S:
                self._save()
            return
        folder = self._folder
        if old is not None and is_worn(old):
            old, folder = None, HotFolder.new(self._root, collection.store_uri, collection.name)
        work = Work(
            threads=self._threads if self._index is None else 1, stopped=self._stop.is_set,
            report=lambda progress: self._report(progress),
        )  # fmt: skip
        try:
            change = brought_to(old, collection, folder, work)
        except BaseException:
            if folder is not self._folder:
                folder.delete()
            raise
        if len(change.removed) and old is not None:
            self._wipes.append((time.monotonic(), weakref.ref(old), folder, change.removed))
        new = self._index is None or len(change.removed) or folder is not self._folder
        self._index = change.index
        del old
        if folder is not self._folder:
            self._folder.delete()
            self._folder = folder
        self._unsaved_since = self._unsaved_since or time.monotonic()
        if new:
            self._save()

    def _wipe(self, *, at_once: bool = False) -> None:
        """Wipe the vectors that were removed, once nobody reads them."""
        waiting = []
        for since, old, folder, rows in self._wipes:
            if not at_once and old() is not None and time.monotonic() - since < WIPED_S:
                waiting.append((since, old, folder, rows))
            elif folder is self._folder:  # another was deleted as a whole
                folder.wipe(rows, self.collection.dim)
        self._wipes = waiting

    # -- in its folder ----------------------------------------------------------------------

    def _save(self) -> None:
        index = self._index
        if index is None:
            return
        files = {kind: f"{kind}-{index.version}-{time.time_ns()}" for kind in ("rows", "codes")}
        index.rows.save(self._folder.path / files["rows"])
        index.codes.save(self._folder.path / files["codes"])
        facts = {
            "format": FORMAT, "dim": index.dim, "version": index.version, "fragments": list(index.fragments.items()),
            "slides": index.rows.slides, "coded_rows": index.coded_rows, "effort": vars(index.effort), "files": files,
        }  # fmt: skip
        self._folder.save(facts, keep=set(files.values()))
        self._unsaved_since = None

    def _left(self, dim: int) -> HotIndex | None:
        """The index that an earlier process left in the folder, perhaps of an older version; None if it is no use."""
        facts = self._folder.facts()
        if facts is None or facts.get("format") != FORMAT or facts.get("dim") != dim:
            return None
        try:
            files = facts["files"]
            rows = HotRows.load(self._folder.path / files["rows"], slides=tuple(facts["slides"]))
            self._folder.cut(len(rows), dim)  # a process that was killed may have written more, and not wiped all
            self._folder.wipe(np.flatnonzero(rows.address == GONE), dim)
            return HotIndex(
                version=facts["version"],
                fragments={number: (data, deleted) for number, (data, deleted) in facts["fragments"]},
                rows=rows,
                vectors=self._folder.vectors(len(rows), dim),
                codes=Codes.load(self._folder.path / files["codes"]),
                coded_rows=facts["coded_rows"],
                effort=Effort(**facts["effort"]),
            )
        except Exception as error:  # whatever is wrong with it, it is made anew
            log.info("what is left in %s cannot be read, and is made anew: %s", self._folder.path, error)
            return None


class WarmCollections:
    """The warm collections of a store, by name; they end with it."""

    def __init__(self) -> None:
        self._warm: dict[str, WarmCollection] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> WarmCollection | None:
        return self._warm.get(name)

    def warm(self, collection: Collection, *, root: Path | None = None, threads: int = 1) -> WarmCollection:
        """The warm collection, which is made if it is not there; arguments as of `WarmCollection`.

        Raises:
            ConfigError: faiss is not installed, or the folder cannot be written to.
        """
        with self._lock:
            known = self._warm.get(collection.name)
            if known is not None and known.facts().state == "failed":
                known.close()
                del self._warm[collection.name]
            if collection.name not in self._warm:
                made = self._warm[collection.name] = WarmCollection(collection, root=root, threads=threads)
                weakref.finalize(self, made.close)  # also at the end of the process, before Python takes threads apart
            return self._warm[collection.name]

    def cool(self, name: str) -> None:
        with self._lock:
            warm = self._warm.pop(name, None)
        if warm is not None:
            warm.close()
