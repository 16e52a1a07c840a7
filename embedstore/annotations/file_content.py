"""The bytes of a file of annotations, and the error that says where such a file is wrong."""

import io
import lzma
import zipfile
import zlib
from pathlib import Path

from embedstore.errors import LabelFormatError
from embedstore.text_files import read_file

GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
# Text of coordinates shrinks to a quarter or a tenth; what grows a hundredfold is a bomb, or a file of zeros.
MOST_TIMES, ALWAYS_BYTES = 200, 64 << 20
SHOWN = 40  # characters of what a file holds


def read_bytes(path: Path) -> bytes:
    """The content of a file, unpacked if it is gzipped or the one file of a ZIP archive, whatever its name.

    Raises:
        LabelFormatError: it cannot be read, is empty, is cut, or unpacks to far more than annotations would.
    """
    try:
        data = read_file(path)
    except OSError as error:
        raise LabelFormatError(f"{path}: cannot be read: {error.strerror or error}") from error
    if data.startswith(GZIP):
        data = _unpacked(data, path)
    elif data.startswith(ZIP):
        data = _unzipped(data, path)
    if not data.strip():
        raise LabelFormatError(f"{path}: expected annotations, found an empty file; export them again")
    return data


def _unpacked(data: bytes, path: Path) -> bytes:
    most = max(ALWAYS_BYTES, MOST_TIMES * len(data))
    parts: list[bytes] = []
    try:
        while data:  # a file may hold several streams, one after the other
            stream = zlib.decompressobj(wbits=31)
            parts.append(stream.decompress(data, most + 1))
            if sum(map(len, parts)) > most:
                raise LabelFormatError(f"{path}: expected gzipped annotations, found more than {most:,} bytes unpacked")
            if not stream.eof:
                raise LabelFormatError(f"{path}: expected a whole gzip file, found one that was cut; copy it again")
            data = stream.unused_data.lstrip(b"\0")
    except zlib.error as error:
        raise LabelFormatError(f"{path}: expected a gzip file, found one that is damaged; copy it again") from error
    return b"".join(parts)


def _unzipped(data: bytes, path: Path) -> bytes:
    """The one file of an archive, as QuPath writes it with 'Compress data (zip)'."""
    most = max(ALWAYS_BYTES, MOST_TIMES * len(data))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if name.lower().endswith((".geojson", ".json", ".xml"))]
            if len(names) != 1:
                raise LabelFormatError(f"{path}: expected a ZIP file with one file of annotations, found {len(names)}")
            with archive.open(names[0]) as file:
                content = file.read(most + 1)
    except LabelFormatError:
        raise
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError, ValueError) as error:
        raise LabelFormatError(f"{path}: expected a ZIP file, found one that is damaged or encrypted") from error
    if len(content) > most:
        raise LabelFormatError(f"{path}: expected zipped annotations, found more than {most:,} bytes unpacked")
    return content


def shown(value: object) -> str:
    """A value of a file, shortened, as errors name it."""
    if isinstance(value, dict):
        return f"an object of type {shown(value['type'])}" if "type" in value else "an object without a type"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, int) and abs(value) >= 1 << 63:
        return "a number of many digits"
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
