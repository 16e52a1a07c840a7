"""Output files: written whole or not at all, and one for each slide."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from embedstore.errors import ExportError

#: The longest name of a file or folder, bytes, on Linux; on macOS and Windows as many characters.
NAME_BYTES = 255


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A temporary path to write to, which is renamed to `path` at the end, or deleted after an error.

    Missing folders are made.

    Raises:
        ExportError: nothing can be written there.
    """
    path = Path(path)
    part = _touch(path)
    try:
        yield part
        part.replace(path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(part)):  # of another file, which was read
            raise
        raise _cannot_write(path, f"{os.strerror(error.errno)}; free some space, or name another place") from error
    finally:
        part.unlink(missing_ok=True)


def require_file(path: str | Path) -> None:
    """Check that a file can be written, before some long work; missing folders are made.

    Raises:
        ExportError: nothing can be written there.
    """
    _touch(Path(path)).unlink()


def require_folder(path: str | Path) -> None:
    """Make a folder, and check that it can be written to, before some long work.

    Raises:
        ExportError: nothing can be written there.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{secrets.token_hex(8)}.part"
        part.touch(exist_ok=False)
        part.unlink()
    except FileExistsError as error:
        raise _cannot_write(path, "a file or device stands there; name a folder") from error
    except OSError as error:
        raise _cannot_write(path, f"{error.strerror or error}; name another place") from error


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


def _touch(path: Path) -> Path:
    """Make the empty file that is written to before it gets the name `path`."""
    # Some writers choose the format by the suffix. A name that others could tell, they could make a link elsewhere.
    part = path.with_name(f".{secrets.token_hex(8)}.part{path.suffix}")
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


def _cannot_write(path: str | Path, reason: str) -> ExportError:
    return ExportError(f"cannot write to {str(path)!r}: {reason}")
