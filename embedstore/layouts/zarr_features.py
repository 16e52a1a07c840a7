"""Vectors that are an array of a Zarr folder."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import EmbedStoreError, FeatureFileError
from embedstore.layouts.layout import MOST_TILES, FeatureFacts, Features, check_shape
from embedstore.zarr_files import READING_ERRORS, ChunkFiles, open_array, reason

#: Of decoded chunks, which often hold more tiles than are asked for at once.
CACHE_BYTES = 128 << 20


class ZarrFeatures(Features):
    """Vectors of a Zarr folder.

    Args:
        path: The folder, in errors.
        array: The folder of the array.
    """

    def __init__(self, path: Path, array: Path):
        self.path, self._array = path, array
        self._vectors = open_array(array, str(array), FeatureFileError, cache_bytes=CACHE_BYTES)
        self._files = ChunkFiles(array, self._vectors, FeatureFileError)
        tiles, dim = check_shape(array, array.name, self._vectors.shape, self._vectors.dtype.numpy_dtype)
        self.facts = FeatureFacts(dim=dim, tiles=tiles)

    def read(self, start: int, stop: int) -> NDArray[np.floating]:
        try:
            self._files.check((start, 0), (stop, self.facts.dim))
            return np.asarray(self._vectors[start:stop].read().result())
        except READING_ERRORS as error:
            raise FeatureFileError(
                f"{self._array}: vectors {start:,} to {stop:,} cannot be read ({reason(error)}); copy the folder "
                "again, or extract the slide again, then run the same command with --retry-failed"
            ) from error


def read_array(folder: Path, error: type[EmbedStoreError]) -> NDArray:
    """All of a small array of numbers, such as the places of tiles.

    Raises:
        error: it cannot be read, or claims more values than tiles can have.
    """
    array = open_array(folder, str(folder), error)
    size = 1.0
    for edge in array.shape:
        size *= edge
    if size > 4 * MOST_TILES:
        raise error(f"{folder} claims the shape {tuple(array.shape)}, as no slide has; it is damaged")
    try:
        ChunkFiles(folder, array, error).check((0,) * array.rank, array.shape)
        return np.asarray(array.read().result())
    except READING_ERRORS as cause:
        raise error(f"{folder} cannot be read ({reason(cause)}); copy it again") from cause
