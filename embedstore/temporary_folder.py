"""Temporary folders that are deleted even where their process is killed: by the next one that makes such a folder."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = "embedstore-"
OWNER = ".owner"
#: What a process of another machine or container left, which cannot be seen from here, and of older versions, which
#: did not say whose it is: none works in one for so long.
OLD_S = 7 * 86400.0


@contextlib.contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """A folder among the system's temporary files, deleted at the end.

    Args:
        purpose: A word for its name.
    """
    folder = make_temporary_folder(purpose)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def make_temporary_folder(purpose: str) -> Path:
    """The same for whoever deletes it; what killed processes left is deleted first.

    The folder says in a file of its own which process made it, so that a later one knows whether that runs.
    """
    from embedstore.process_identity import this_process

    remove_left_folders()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{purpose}-"))
    # Until it is written the folder is new, and a new one is left alone.
    (folder / OWNER).write_text(this_process() or "", encoding="utf-8")
    return folder


def remove_left_folders() -> None:
    """Delete this user's temporary folders of processes that do not run any more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        with contextlib.suppress(OSError):  # another process deletes it, or it is not ours
            if _is_left(folder):
                shutil.rmtree(folder)


def _is_left(folder: Path) -> bool:
    from embedstore.process_identity import runs

    status = folder.lstat()
    if folder.is_symlink() or not folder.is_dir() or (hasattr(os, "getuid") and status.st_uid != os.getuid()):
        return False
    try:
        lives = runs((folder / OWNER).read_text(encoding="utf-8") or None)
    except (OSError, ValueError):
        lives = None
    return not lives if lives is not None else time.time() - status.st_mtime > OLD_S
