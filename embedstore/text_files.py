"""Text that people and their programs wrote, whatever the editor put before it."""

import codecs
import errno
from pathlib import Path

#: The longer ones first: the UTF-32 mark begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


def read_text(path: str | Path, *, limit_bytes: int | None = None) -> str:
    """The text of a file: UTF-8, or what its byte order mark says (Notepad writes one, and Excel).

    Raises:
        OSError: it cannot be read; it is a folder, a device or a named pipe, which might never end; or it is too large.
        UnicodeDecodeError: it is no text in that encoding.
    """
    return decode_text(read_file(path, limit_bytes=limit_bytes))


def read_file(path: str | Path, *, limit_bytes: int | None = None) -> bytes:
    """The bytes of a file, or of the pipe of a shell's `<(…)`; errors as of `read_text`."""
    path = Path(path)
    if "\0" in str(path):
        raise OSError(errno.EINVAL, "a path has no NUL")
    if not path.is_file() and path.resolve().exists():
        raise OSError(errno.EINVAL, "it is a folder" if path.is_dir() else "it is a device or pipe, not a file")
    if limit_bytes is not None and path.stat().st_size > limit_bytes:
        raise OSError(errno.EFBIG, f"it has more than {limit_bytes:,} bytes")
    return path.read_bytes()


def split_mark(data: bytes) -> tuple[str | None, bytes]:
    """The encoding that a byte order mark says, None without one, and the bytes after the mark."""
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return encoding, data[len(mark) :]
    return None, data


def decode_text(data: bytes) -> str:
    """Text of bytes, in UTF-8 or what their byte order mark says."""
    encoding, text = split_mark(data)
    return text.decode(encoding or "utf-8")
