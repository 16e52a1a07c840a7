"""Output files: written whole or not at all, and one for each slide."""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from embedstore.errors import ExportError
from embedstore.quantities import human_bytes

#: The longest name of a file or folder, bytes, on Linux; on macOS and Windows as many characters.
NAME_BYTES = 255
#: What is written to has changed within this time, seconds.
LEFTOVER_S = 3600.0
#: What is written of a tile beside its vector, and of a file beside its tiles, at most, bytes.
ROW_BYTES, FILE_BYTES = 400, 1_000_000
#: Endings of files: a folder of such a name is meant as a file by whoever names it.
FILE_ENDINGS = frozenset({
    ".arrow", ".avro", ".bmp", ".csv", ".dcm", ".feather", ".geojson", ".gif", ".gz", ".h5", ".h5ad", ".hdf5", ".htm",
    ".html", ".jpeg", ".jpg", ".json", ".jsonl", ".log", ".md", ".npy", ".npz", ".parquet", ".pdf", ".pkl", ".png",
    ".pt", ".svg", ".tif", ".tiff", ".toml", ".tsv", ".txt", ".webp", ".xls", ".xlsx", ".xml", ".yaml", ".yml", ".zip",
})  # fmt: skip
_PART = re.compile(r"\.[0-9a-f]{16}\.part")


@contextlib.contextmanager
def atomic_write(path: str | Path, *, keep_suffix: bool = True) -> Iterator[Path]:
    """A temporary path to write to, which is renamed to `path` at the end, or deleted after an error.

    Missing folders are made.

    Args:
        keep_suffix: The temporary path has the suffix of `path`, by which some writers choose the format. Without it,
            what a killed process left is taken for a file of that kind by nobody.
    Raises:
        ExportError: nothing can be written there.
    """
    path = Path(path)
    part = _touch(path, path.suffix if keep_suffix else "")
    try:
        yield part
        part.replace(path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(part)):  # of another file, which was read
            raise
        raise _cannot_write(path, f"{os.strerror(error.errno)}; free some space, or name another place") from error
    finally:
        part.unlink(missing_ok=True)


def require_room(folder: Path, size: int, *, then: str) -> None:
    """Check that a file has room before it is written: libhdf5 2.0 crashes where the disk is full at its end.

    Args:
        folder: Where it is written.
        size: What it takes at most, bytes.
        then: What to do once there is space.
    Raises:
        ExportError: it has none.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise ExportError(
            f"cannot write to {str(folder)!r}: the next file takes up to {human_bytes(size)}, and {human_bytes(free)} "
            f"are free; free some space, {then}"
        )


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder to write to, which is renamed to `path` at the end, or deleted after an error.

    A folder that stands at `path` is replaced. Missing folders are made.

    Raises:
        ExportError: nothing can be written there.
    """
    path = Path(path)
    part, old = (path.with_name(f".{secrets.token_hex(8)}.part") for _ in range(2))
    try:
        part.mkdir(parents=True)
        yield part
        if path.is_dir():
            path.replace(old)
        part.replace(path)
    except OSError as error:
        raise _cannot_write(path, f"{error.strerror or error}; free some space, or name another place") from error
    finally:
        for each in (part, old):
            shutil.rmtree(each, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what killed processes began to write, in a folder and those in it: what has not changed for an hour."""
    old = time.time() - LEFTOVER_S
    for part in folder.rglob(".*.part"):
        with contextlib.suppress(OSError):  # another process deletes or renames it
            if _PART.fullmatch(part.name) and part.stat().st_mtime < old:
                shutil.rmtree(part) if part.is_dir() else part.unlink()


def require_file(path: str | Path) -> None:
    """Check that a file can be written, before some long work; missing folders are made.

    Raises:
        ExportError: nothing can be written there.
    """
    _touch(Path(path), "").unlink()


def require_picture(path: str | Path, *, option: str) -> None:
    """Check that a picture can be written to a file, before it is drawn; missing folders are made.

    Args:
        path: The file; its ending is the picture's format.
        option: Which of the user's words named it, for errors, such as "montage".
    Raises:
        ExportError: the ending is of no picture that can be written, or nothing can be written there.
    """
    from PIL import Image

    path = Path(path)
    Image.init()
    if Image.EXTENSION.get(path.suffix.lower()) not in Image.SAVE:
        found = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
        raise ExportError(f"{option} {path} {found}; expected a picture, such as {path.with_suffix('.png')}")
    require_file(path)


def require_folder(path: str | Path, *, or_file: str = "") -> None:
    """Make a folder, and check that it can be written to, before some long work.

    Args:
        path: The folder. One whose name ends as a file's does is not made; it may stand there.
        or_file: What may be named instead, for errors, such as "a .png file".
    Raises:
        ExportError: nothing can be written there, or a file is named.
    """
    folder = Path(path)
    _require_no_table(folder)
    try:
        if folder.suffix.lower() in FILE_ENDINGS and not folder.exists():
            other = f", or {or_file}" if or_file else ""
            raise _cannot_write(
                path, f"it ends in {folder.suffix}, as a file does, and a folder is written; name a folder{other}"
            )
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{secrets.token_hex(8)}.part"
        part.touch(exist_ok=False)
        part.unlink()
    except FileExistsError as error:
        raise _cannot_write(path, "a file or device stands there; name a folder") from error
    except OSError as error:
        raise _cannot_write(path, f"{error.strerror or error}; name another place") from error


def require_own(path: Path, is_own: Callable[[bytes], bool], *, problem: str) -> None:
    """Check that no file of somebody else stands at a path; an empty one is nobody's.

    Args:
        path: The file that is to be written.
        is_own: Whether embedstore wrote a file that begins with this line, or with these 1,000 bytes of it.
        problem: What the message says of another one, with the next step.
    Raises:
        ExportError: one does.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        begins = file.readline(1000)
    if begins and not is_own(begins):
        raise _cannot_write(path, problem)


def slide_path(out: Path, slide_id: str, suffix: str, *, single: bool) -> Path:
    """The path of a slide's file: in the folder `out`, by the slide's id; or `out` itself if it has the suffix.

    Raises:
        ExportError: `out` names one file, and there are several slides.
    """
    if out.suffix.lower() == suffix:
        if not single:
            raise ExportError(f"--out {out} is one file, and there are several slides; name a folder, or one --slide")
        return out
    # Not PurePosixPath: of '//etc/a' it makes the parts '//', 'etc' and 'a', and joined to a folder '//' leaves it.
    parts = ["_" if part == ".." else part for part in slide_id.split("/") if part not in ("", ".")] or ["_"]
    return out.joinpath(*(file_name(part) for part in parts[:-1]), file_name(parts[-1], suffix))


def file_name(name: str, suffix: str = "") -> str:
    """`name` with a suffix, as the name of a file; one that is too long ends with a hash of the whole instead.

    Characters that would move a cursor or turn the direction of text are underscores; bytes that are no text stay.
    """
    name = "".join(letter if letter.isprintable() or "\udc80" <= letter <= "\udcff" else "_" for letter in name)
    encoded = os.fsencode(name)
    room = NAME_BYTES - len(os.fsencode(suffix))
    if len(encoded) > room:
        digest = hashlib.blake2b(encoded, digest_size=4).hexdigest()
        name = f"{encoded[: room - 1 - len(digest)].decode(errors='ignore')}-{digest}"
    return name + suffix


def _touch(path: Path, suffix: str) -> Path:
    """Make the empty file that is written to before it gets the name `path`."""
    _require_no_table(path)
    # A name that others could tell, they could make a link elsewhere.
    part = path.with_name(f".{secrets.token_hex(8)}.part{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():  # a name that is too long raises here
            raise _cannot_write(path, "it is a folder; name a file, or another place")
        if path.exists() and not path.is_file():
            raise _cannot_write(path, "it is a device or a pipe; name a file")
        part.touch(exist_ok=False)
    except OSError as error:
        raise _cannot_write(path, f"{error.strerror or error}; name another place") from error
    return part


def _require_no_table(path: Path) -> None:
    """Raise ExportError where a path lies in the folder of a store's table."""
    for folder in (path, *path.parents):
        if folder.suffix == ".lance" and (folder / "_versions").is_dir():
            raise _cannot_write(path, f"{folder} is a table of a store; name another place")


def _cannot_write(path: str | Path, reason: str) -> ExportError:
    return ExportError(f"cannot write to {str(path)!r}: {reason}")
