"""Output files: written whole or not at all, and one for each slide."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from embedstore.errors import ExportError


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A temporary path to write to, which is renamed to `path` at the end, or deleted after an error.

    Missing folders are made.

    Raises:
        ExportError: nothing can be written there.
    """
    path = Path(path)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")  # some writers choose the format by suffix
    if path.is_dir():
        raise ExportError(f"cannot write to {str(path)!r}: it is a folder; name a file, or another place")
    _touch(part, path)
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def require_folder(path: str | Path) -> None:
    """Make a folder, and check that it can be written to, before some long work.

    Raises:
        ExportError: nothing can be written there.
    """
    part = Path(path) / f".{os.getpid()}.part"
    _touch(part, path)
    part.unlink()


def slide_path(out: Path, slide_id: str, suffix: str, *, single: bool) -> Path:
    """The path of a slide's file: in the folder `out`, by the slide's id; or `out` itself if it has the suffix.

    Raises:
        ExportError: `out` names one file, and there are several slides.
    """
    if out.suffix.lower() == suffix:
        if not single:
            raise ExportError(f"--out {out} is one file, and there are several slides; name a folder, or one --slide")
        return out
    parts = [part if part not in ("..", ".") else "_" for part in PurePosixPath(slide_id).parts if part != "/"]
    return out.joinpath(*parts[:-1], parts[-1] + suffix)


def _touch(part: Path, path: str | Path) -> None:
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
    except OSError as error:
        raise ExportError(f"cannot write to {str(path)!r}: {error.strerror or error}; name another place") from error
