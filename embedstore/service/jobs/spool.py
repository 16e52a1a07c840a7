"""The spool: a folder outside the store where exports wait to be downloaded, for a time and up to a size."""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from embedstore.cache_folder import cache_folder
from embedstore.errors import JobNotFoundError
from embedstore.store import Job, Store

log = logging.getLogger(__name__)

#: Beside an export: ids of the slides in it, so that none of a slide that was removed since is handed out.
_SLIDES = ".slides.json"
#: Folders of temporary files of workers: this and the id of the server's process.
_SCRATCH = "scratch-"


@dataclass(frozen=True, kw_only=True)
class SpooledFile:
    """What an export wrote.

    Attributes:
        path: Where it is.
        name: What it is to be called by those who download it.
        media_type: Of its content.
        bytes: Its size.
        slides: Ids of the slides in it.
    """

    path: Path
    name: str
    media_type: str
    bytes: int
    slides: tuple[str, ...]


class Spool:
    """The folders of jobs, a folder each.

    Args:
        folder: Made where there is none, for the server's own user alone.
        most_bytes: Of all files; the oldest are deleted beyond it.
        keep_s: How long a file is kept, seconds.
    """

    def __init__(self, folder: Path, *, most_bytes: int, keep_s: float):
        self._folder, self._most_bytes, self._keep_s = folder, most_bytes, keep_s

    def make(self, job_id: str) -> Path:
        """An empty folder for a job."""
        self.discard(job_id)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = self._folder / job_id
        folder.mkdir(mode=0o700)
        return folder

    @property
    def scratch(self) -> Path:
        """The folder for this process's temporary files."""
        return self._folder / f"{_SCRATCH}{os.getpid()}"

    def clear_scratch(self) -> None:
        """Delete the temporary files that killed servers left."""
        for folder in self._folder.glob(f"{_SCRATCH}*"):
            if not psutil.pid_exists(int(folder.name.removeprefix(_SCRATCH))):
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Delete temporary files, and the folder where nothing is in it."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        with contextlib.suppress(OSError):  # it holds exports, or was never made
            self._folder.rmdir()

    def discard(self, job_id: str) -> None:
        """Delete what a job has written."""
        shutil.rmtree(self._folder / job_id, ignore_errors=True)

    def discard_if_empty(self, job_id: str) -> None:
        """Delete a job's folder where nothing is in it to be downloaded."""
        folder = self._folder / job_id
        if folder.is_dir() and not any(path.name != _SLIDES for path in folder.iterdir()):
            self.discard(job_id)

    def file(self, job: Job, store: Store) -> SpooledFile:
        """The file that a job wrote.

        Raises:
            JobNotFoundError: it wrote none, it is no longer kept, or one of its slides is no longer in the store.
        """
        about = (job.result or {}).get("file")
        if about is None:
            why = f"it is {job.state}" if job.state != "done" else f"a job {job.kind!r} writes none"
            raise JobNotFoundError(f"job {job.id} has no file to download: {why}")
        path = self._folder / job.id / about["name"]
        try:
            slides = json.loads(path.with_name(_SLIDES).read_text(encoding="utf-8"))
            size = path.stat().st_size
        except FileNotFoundError:
            raise JobNotFoundError(f"the file of job {job.id} is no longer kept; export again") from None
        if not set(slides) <= store.ledger.patients().keys():
            self.discard(job.id)
            raise JobNotFoundError(
                f"the file of job {job.id} was deleted: a slide in it has been removed from the store; export again"
            )
        return SpooledFile(
            path=path, name=about["name"], media_type=about["media_type"], bytes=size, slides=tuple(slides)
        )

    def bytes(self, job_id: str | None = None) -> int:
        """Size of all files, or of those of one job."""
        return _size(self._folder if job_id is None else self._folder / job_id)

    def is_too_large(self, job_id: str) -> bool:
        """Whether a job alone has written more than the spool may hold."""
        return self.bytes(job_id) > self._most_bytes

    def tidy(self, *, running: Iterable[str] = ()) -> None:
        """Delete what is too old, and the oldest beyond the size; nothing of jobs that run."""
        spared, total, now = set(running), 0, time.time()
        if not self._folder.is_dir():
            return
        jobs = [folder for folder in self._folder.iterdir() if not folder.name.startswith(_SCRATCH)]
        folders = [(folder.stat().st_mtime, folder) for folder in jobs]
        for made, folder in sorted(folders, reverse=True):
            total += _size(folder)
            if folder.name not in spared and (now - made > self._keep_s or total > self._most_bytes):
                log.info("the export of job %s is deleted", folder.name)
                shutil.rmtree(folder, ignore_errors=True)


def spool_folder(given: str | None, store_uri: str) -> Path:
    """The folder of a store's exports: in the one that was given, or in the user's cache."""
    folder = cache_folder() / "service" if given is None else Path(given).absolute()
    return folder / hashlib.blake2b(store_uri.encode(), digest_size=8).hexdigest()


def keep_slides(folder: Path, slide_ids: Iterable[str]) -> None:
    """Note which slides an export has."""
    (folder / _SLIDES).write_text(json.dumps(list(slide_ids)), encoding="utf-8")


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # a file that was written under another name
            continue
    return total
