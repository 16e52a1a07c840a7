"""Rows of HDF5 files, read by their positions where each is a chunk."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from embedstore.errors import FeatureFileError
from embedstore.layouts.hdf5 import Hdf5Features, Rows

VALUES = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)


def _write(path: Path, values: np.ndarray = VALUES, **options: Any) -> Path:
    """Vectors and places that grow in turns, as TRIDENT writes them batch after batch."""
    file_options = {"userblock_size": options.pop("userblock_size")} if "userblock_size" in options else {}
    options = {"chunks": (1, values.shape[1]), "maxshape": (None, values.shape[1])} | options
    with h5py.File(path, "w", **file_options) as file:
        features = file.create_dataset("features", shape=(0, values.shape[1]), dtype=values.dtype, **options)
        coords = file.create_dataset("coords", shape=(0, 2), maxshape=(None, 2), chunks=(1, 2), dtype=np.int64)
        for start in range(0, len(values), 7):
            part = values[start : start + 7]
            features.resize(start + len(part), axis=0)
            features[start:] = part
            coords.resize(start + len(part), axis=0)
            coords[start:] = np.arange(start, start + len(part))[:, None]
    return path


@pytest.mark.parametrize(
    "values", [VALUES, VALUES.astype(np.float16), VALUES.astype(">f8")], ids=["f4", "f2", "big-endian"]
)
def test_rows_that_are_chunks_are_read_by_their_positions(tmp_path: Path, values: np.ndarray) -> None:
    with h5py.File(_write(tmp_path / "a.h5", values)) as file:
        rows = Rows(file["features"])
        assert rows.by_position
        for start, stop in ((0, 50), (3, 29), (49, 50), (5, 5)):
            assert np.array_equal(rows.read(start, stop), values[start:stop])
        places = Rows(file["coords"])
        assert places.by_position
        assert np.array_equal(places.read(0, 50), file["coords"][:])


@pytest.mark.parametrize(
    "options",
    [{"compression": "gzip"}, {"chunks": (4, 8)}, {"chunks": (1, 4)}, {"shuffle": True}, {"userblock_size": 512}],
    ids=str,
)
def test_other_rows_are_read_by_hdf5(tmp_path: Path, options: dict[str, Any]) -> None:
    with h5py.File(_write(tmp_path / "a.h5", **options)) as file:
        rows = Rows(file["features"])
        assert not rows.by_position
        assert np.array_equal(rows.read(3, 50), VALUES[3:])


def test_rows_that_were_never_written_are_the_fill_value(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.h5", fillvalue=7)
    with h5py.File(path, "a") as file:
        file["features"].resize(60, axis=0)
    with h5py.File(path) as file:
        rows = Rows(file["features"])
        assert not rows.by_position
        assert np.array_equal(rows.read(45, 60), file["features"][45:60])


def test_a_file_that_is_cut_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.h5")
    with h5py.File(path) as file:
        features = Hdf5Features(path, file, "features")
        assert np.array_equal(features.read(0, 2), VALUES[:2])
        with path.open("r+b") as cut:
            cut.truncate(4096)
        with pytest.raises(FeatureFileError, match="cut short"):
            features.read(0, 50)
