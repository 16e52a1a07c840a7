"""Files of HDF5: opened with our own errors, and read a range at a time."""

import contextlib
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from embedstore.errors import FeatureFileError
from embedstore.layouts.layout import FeatureFacts, Features, check_places, check_shape, checked_places

SUFFIXES = (".h5", ".hdf5")


def open_hdf5(path: Path) -> h5py.File:
    """Open a file for reading.

    Raises:
        FeatureFileError: there is none, or it is damaged.
    """
    if not path.is_file():
        raise FeatureFileError(f"there is no file {path}")
    with reading(path):
        return h5py.File(path, "r")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Around whatever reads from a file: the library's errors become one that names the file.

    Raises:
        FeatureFileError: the file cannot be read, or what is asked for is not in it.
    """
    try:
        yield
    except FeatureFileError:
        raise
    except PermissionError as error:
        raise FeatureFileError(f"{path} cannot be read: {error.strerror or error}") from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError) as error:
        size = path.stat().st_size if path.exists() else 0
        raise FeatureFileError(
            f"{path} ({size:,} bytes) cannot be read as HDF5: it is cut short or damaged, or still being written; copy "
            "it again, or extract the slide again, then run the same command with --retry-failed"
        ) from error


def dataset(file: h5py.File, path: Path, name: str) -> h5py.Dataset:
    """A dataset by name, whose values are in the file itself.

    Raises:
        FeatureFileError: there is none, or it refers to other files.
    """
    with reading(path):
        link = file.get(name, getlink=True)
        found = None if isinstance(link, h5py.ExternalLink) else file.get(name)
        if isinstance(found, h5py.Dataset) and not found.is_virtual and not found.external:
            return found
        if link is not None:
            raise FeatureFileError(f"{path}: {name!r} is no dataset of this file; expected an array that it holds")
        raise FeatureFileError(f"{path} has no dataset {name!r}; it has {', '.join(map(repr, sorted(file))) or 'none'}")


def attribute(attributes: h5py.AttributeManager, name: str) -> Any:
    """An attribute as a plain value; None where there is none, or where it says 'None'."""
    try:
        value = attributes.get(name)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError):
        return None
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, np.ndarray):
        value = value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    return None if value in ("None", "") else value


def number(attributes: h5py.AttributeManager, name: str) -> float | None:
    """An attribute that is a positive finite number; None where it is none."""
    value = attribute(attributes, name)
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and np.isfinite(value) and value > 0 else None


def whole(attributes: h5py.AttributeManager, name: str) -> int | None:
    """An attribute that is a positive whole number; None where it is none."""
    value = number(attributes, name)
    return int(value) if value is not None and value.is_integer() and value < 1 << 31 else None


def read_places(file: h5py.File, path: Path, name: str, tiles: int, *, whole_numbers: bool = True) -> NDArray:
    """The (n, 2) places of tiles in a dataset; raises FeatureFileError where they do not go with the vectors."""
    places = dataset(file, path, name)
    with reading(path):
        check_places(path, name, places.shape, places.dtype, tiles)  # before anything of that size is read
        return checked_places(path, name, Rows(places).read(0, tiles), tiles, whole_numbers=whole_numbers)


class Rows:
    """Rows of a dataset, each a chunk of its own in most tools' files, which HDF5 looks up one by one.

    Where such chunks are stored as they are, they are read from the file by their positions: of 2,000 vectors of 768
    dimensions and their places, that takes 5 ms of CPU, and HDF5 17 ms.
    """

    def __init__(self, data: h5py.Dataset):
        self._data = data
        self._positions = _positions(data)

    @property
    def by_position(self) -> bool:
        return self._positions is not None

    def read(self, start: int, stop: int) -> NDArray:
        """Rows `start` to `stop`.

        Raises:
            OSError: the file ends before them; or any other error of h5py.
        """
        if self._positions is None or stop <= start:
            return self._data[start:stop]
        rows = np.empty((stop - start, *self._data.shape[1:]), self._data.dtype)
        positions, row = self._positions[start:stop], rows[0].nbytes
        begins = np.flatnonzero(np.diff(positions, prepend=positions[0] - row - 1) != row)  # of runs without a gap
        into, file = rows.reshape(-1).view(np.uint8).data, self._data.file.id.get_vfd_handle()
        for begin, end in zip(begins.tolist(), [*begins[1:].tolist(), len(positions)], strict=True):
            run = into[begin * row : end * row]
            if os.preadv(file, [run], int(positions[begin])) != len(run):
                raise OSError("the file is cut short")
        return rows


def _positions(data: h5py.Dataset) -> NDArray[np.int64] | None:
    """(n,) where in the file each row is; None where rows are no chunks of their own, or not stored as they are."""
    stored = data.id.get_type()
    if (
        not len(data)
        or data.chunks != (1, *data.shape[1:])
        or data.dtype.kind not in "iuf"
        or data.id.get_create_plist().get_nfilters()
        or h5py.h5t.py_create(data.dtype) != stored
        or data.file.userblock_size
        or data.file.driver != "sec2"
    ):
        return None
    positions, row = np.full(len(data), -1, np.int64), stored.get_size() * int(np.prod(data.shape[1:]))

    def note(chunk: Any) -> None:
        if chunk.size == row and chunk.chunk_offset[0] < len(positions):
            positions[chunk.chunk_offset[0]] = chunk.byte_offset

    data.id.chunk_iter(note)
    return positions if (positions >= 0).all() else None  # rows that were never written have no chunk


class Hdf5Features(Features):
    """Vectors in a dataset of an HDF5 file, which stays open.

    Args:
        name: Name of the dataset.
    """

    def __init__(self, path: Path, file: h5py.File, name: str):
        self.path, self._file = path, file
        self._vectors = dataset(file, path, name)
        with reading(path):
            tiles, dim = check_shape(path, name, self._vectors.shape, self._vectors.dtype)
        self.facts = FeatureFacts(dim=dim, tiles=tiles)

    @cached_property
    def _rows(self) -> Rows:
        return Rows(self._vectors)

    def read(self, start: int, stop: int) -> NDArray[np.floating]:
        with reading(self.path):
            return self._rows.read(start, stop)

    def close(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            self._file.close()
