"""HDF5 files of vectors, written a block at a time."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike

from embedstore.layouts.writing.mark import KEY, make_mark
from embedstore.layouts.writing.slide_tiles import SlideTiles
from embedstore.output_files import atomic_write


@contextlib.contextmanager
def new_hdf5(path: Path, mark: Mapping[str, str]) -> Iterator[h5py.File]:
    """A new file, which gets its name when all is in it."""
    with atomic_write(path, keep_suffix=False) as part, h5py.File(part, "w") as file:
        file.attrs[KEY] = json.dumps(dict(mark))
        yield file


def write_vectors(file: h5py.File, name: str, tiles: SlideTiles, dtype: DTypeLike) -> h5py.Dataset:
    """Write the vectors of a slide as a dataset (n, dim), in one piece, which readers map or read fastest."""
    vectors = file.create_dataset(name, (len(tiles), tiles.dim), dtype)
    at = 0
    for block in tiles.blocks():
        vectors[at : at + len(block)] = block.astype(dtype, copy=False)
        at += len(block)
    assert at == len(tiles), f"{at} of {len(tiles)} vectors of {tiles.slide_id} were read"
    return vectors


def places_mark(tiles: SlideTiles, **content: Any) -> dict[str, str]:
    """The mark of a file of places; collections with the same tiles share it."""
    digest = hashlib.blake2b(np.ascontiguousarray(tiles.xy_l0).tobytes(), digest_size=16)
    digest.update(np.ascontiguousarray(tiles.edges_l0).tobytes())
    ref = tiles.extractor.ref
    return make_mark(collection=tiles.collection, extractor=ref.digest, places=digest.hexdigest(), **content)
