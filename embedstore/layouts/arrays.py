"""Vectors that are an array of NumPy, in memory or on the disk."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import FeatureFileError
from embedstore.layouts.layout import FeatureFacts, Features, check_shape


class ArrayFeatures(Features):
    """Vectors of an array, which may be mapped from a file.

    Args:
        path: The file that they are of.
    """

    def __init__(self, path: Path, vectors: NDArray[np.generic]):
        tiles, dim = check_shape(path, path.name, vectors.shape, vectors.dtype)
        self.path, self._vectors = path, vectors
        self.facts = FeatureFacts(dim=dim, tiles=tiles)

    def read(self, start: int, stop: int) -> NDArray[np.floating]:
        return np.array(self._vectors[start:stop])

    def close(self) -> None:
        self._vectors = self._vectors[:0]


def map_npy(path: Path) -> NDArray[np.generic]:
    """The array of a `.npy` file, which stays on the disk.

    Raises:
        FeatureFileError: there is no such file, or it holds objects, or is damaged.
    """
    if not path.is_file():
        raise FeatureFileError(f"there is no file {path}")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, TypeError, SyntaxError, MemoryError, OverflowError, KeyError) as error:
        raise FeatureFileError(
            f"{path} ({path.stat().st_size:,} bytes) cannot be read as an array of NumPy: it is cut short or damaged, "
            "or holds Python objects, which are not read; write it again with numpy.save"
        ) from error
