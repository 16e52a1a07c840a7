"""Folders of Zarr 2 and 3: their metadata, and their arrays, which TensorStore reads."""

import itertools
import json
import math
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedstore.errors import EmbedStoreError
from embedstore.text_files import read_text

if TYPE_CHECKING:
    from tensorstore import TensorStore as ZarrArray

#: The metadata of a group in Zarr 3, and its attributes in Zarr 2.
V3, V2 = "zarr.json", ".zattrs"
_MARKERS = (V3, ".zgroup")
#: SpatialData keeps a copy of all metadata in that of its root; slides have some kilobytes.
MOST_METADATA_BYTES = 16 << 20
#: Whoever reads decodes for one range at a time.
_ONE_THREAD = {"data_copy_concurrency": {"limit": 1}, "file_io_concurrency": {"limit": 1}}


def is_zarr(folder: str | Path) -> bool:
    """Whether a folder is a Zarr group, or an array of Zarr 3, by the files in it."""
    return any(Path(folder, name).is_file() for name in _MARKERS)


def is_zarr_3(folder: Path) -> bool:
    """Whether an array or group is of Zarr 3; else it is of Zarr 2."""
    return (folder / V3).is_file()


def metadata_file(folder: Path) -> Path:
    """The file of a group's attributes; one of Zarr 2 may not be there."""
    return folder / (V3 if is_zarr_3(folder) else V2)


def zarr_attributes(folder: Path, error: type[EmbedStoreError]) -> Mapping[str, Any]:
    """The attributes of a group.

    Raises:
        error: they cannot be read.
    """
    file = metadata_file(folder)
    if file.name == V2 and not file.exists() and is_zarr(folder):
        return {}
    content = read_json(file, error)
    attributes = content.get("attributes") or {} if file.name == V3 else content
    if not isinstance(attributes, Mapping):
        raise error(f"{str(file)!r}: its attributes are no table of names; it is damaged: copy it again")
    return attributes


def read_json(file: Path, error: type[EmbedStoreError]) -> Mapping[str, Any]:
    """An object in a file of metadata.

    Raises:
        error: it cannot be read, or is something else.
    """
    try:
        content = json.loads(read_text(file, limit_bytes=MOST_METADATA_BYTES))
    except (OSError, ValueError, RecursionError) as cause:
        why = cause.strerror if isinstance(cause, OSError) else type(cause).__name__
        raise error(f"{str(file)!r}: this metadata cannot be read ({why}); was a copy interrupted?") from cause
    if not isinstance(content, Mapping):
        raise error(f"{str(file)!r}: expected an object of JSON; it is damaged: copy it again")
    return content


def open_array(
    folder: Path, what: str, error: type[EmbedStoreError], *, most_chunk_bytes: int = 1 << 29, cache_bytes: int = 0
) -> "ZarrArray":
    """Open an array for reading; reading from it raises READING_ERRORS.

    Args:
        what: What it is, in errors.
        most_chunk_bytes: Most that a chunk may have, which is decoded as a whole.
        cache_bytes: Of decoded chunks that are kept.
    Raises:
        error: it cannot be opened, or its chunks are too large.
    """
    import tensorstore  # here: 0.1 s, which whoever has no such files would pay

    spec = {
        "driver": "zarr3" if is_zarr_3(folder) else "zarr",
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        "context": {"cache_pool": {"total_bytes_limit": cache_bytes}, **_ONE_THREAD},
    }
    metadata = folder / (V3 if is_zarr_3(folder) else ".zarray")
    if metadata.exists() and not metadata.is_file():
        raise error(f"{what} cannot be opened: {metadata} is a device or pipe, not a file")
    try:
        array = tensorstore.open(spec, open=True, read=True).result()
    except READING_ERRORS as cause:
        raise error(f"{what} cannot be opened: {reason(cause)}") from cause
    chunk, item = chunk_shape(array), array.dtype.numpy_dtype.itemsize
    if math.prod(chunk) * item > most_chunk_bytes:
        raise error(
            f"{what} is stored in chunks of {'×'.join(map(str, chunk))}; expected at most "
            f"{most_chunk_bytes >> 20} MB a chunk; save it with smaller ones"
        )
    return array


class ChunkFiles:
    """The files of an array's chunks: one that is a pipe or a device would never answer who reads it.

    Args:
        folder: The array's.
        array: The array, with all its axes in their order.
    Raises:
        error: its metadata cannot be read.
    """

    def __init__(self, folder: Path, array: "ZarrArray", error: type[EmbedStoreError]):
        self._folder, self._shape = folder, tuple(array.shape)
        self._stored = tuple(int(edge or 1) for edge in array.chunk_layout.write_chunk.shape or ())  # a shard is a file
        self._before, self._between = "", "."
        if is_zarr_3(folder):
            encoding = read_json(folder / V3, error).get("chunk_key_encoding") or {}
            is_default = encoding.get("name", "default") == "default"
            self._between = (encoding.get("configuration") or {}).get("separator", "/" if is_default else ".")
            self._before = f"c{self._between}" if is_default else ""
        else:
            self._between = read_json(folder / ".zarray", error).get("dimension_separator", ".")

    def check(self, start: Sequence[int], stop: Sequence[int]) -> None:
        """Look at the files of the chunks from one corner of the array to another; a chunk may be without a file.

        Raises:
            ValueError: one is no file; among READING_ERRORS.
        """
        ranges = [
            range(first // edge, -(-min(last, length) // edge))
            for first, last, edge, length in zip(start, stop, self._stored, self._shape, strict=True)
        ]
        for index in itertools.product(*ranges):
            file = self._folder / f"{self._before}{self._between.join(map(str, index))}"
            try:
                kind = file.stat().st_mode
            except OSError:
                continue  # the library says what is wrong, or takes the stated value
            if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
                raise ValueError(f"{file} is a device or pipe, not a file; copy the folder again")


def chunk_shape(array: "ZarrArray") -> tuple[int, ...]:
    """The shape of what is decoded as a whole."""
    return tuple(int(edge or 0) for edge in array.chunk_layout.read_chunk.shape or ())


#: What TensorStore raises for data that it cannot read.
READING_ERRORS = (ValueError, OSError, MemoryError, RuntimeError, NotImplementedError, KeyError, TypeError)


def reason(error: BaseException) -> str:
    """The first sentence of TensorStore's, without its code and its record of where it was in its source."""
    text = str(error).split(" [")[0]
    return text.split(": ", 1)[-1] if text.split(": ", 1)[0].isupper() else text
