"""Lays vectors out in two dimensions: principal components, then PaCMAP. The only home of pacmap."""

import importlib.metadata
import logging
import warnings

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import ConfigError
from embedstore.map_config import MapConfig

#: Principal components that a method is given, and by which later tiles find their neighbours.
COMPONENTS = 50
#: Fewer tiles are laid out by their first two components: PaCMAP wants 35 others for each, and has hung on a handful.
FEWEST_PACMAP = 100
_BLOCK_ROWS = 20_000


class Components:
    """The principal components of unit vectors.

    Args:
        vectors: (n, dim) float32.
    """

    def __init__(self, vectors: NDArray[np.float32]):
        self._mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        dim = vectors.shape[1]
        spread = np.zeros((dim, dim))
        for start in range(0, len(vectors), _BLOCK_ROWS):
            centred = (vectors[start : start + _BLOCK_ROWS] - self._mean).astype(np.float64)
            spread += centred.T @ centred
        _, axes = np.linalg.eigh(spread)
        axes = axes[:, ::-1][:, :COMPONENTS]
        strongest = np.abs(axes).argmax(axis=0)
        axes *= np.sign(axes[strongest, np.arange(axes.shape[1])])  # of the two directions of an axis always the same
        self._axes = axes.astype(np.float32)

    def of(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, components) of (n, dim) unit vectors."""
        return np.ascontiguousarray((vectors - self._mean) @ self._axes)


def method_for(config: MapConfig, tiles: int) -> str:
    """What lays out so many tiles."""
    return "pca" if tiles < FEWEST_PACMAP else config.method


def library_of(method: str) -> str | None:
    """Package and version of a method; None where it needs none.

    Raises:
        ConfigError: the package is not installed.
    """
    if method == "pca":
        return None
    try:
        return f"pacmap {importlib.metadata.version('pacmap')}"
    except importlib.metadata.PackageNotFoundError:
        raise ConfigError(
            "a map by PaCMAP needs the package pacmap, which is not installed; `pip install 'embedstore[map]'`, or "
            "take method pca, which needs none"
        ) from None


def lay_out(components: NDArray[np.float32], config: MapConfig) -> NDArray[np.float32]:
    """Places on the map.

    Args:
        components: (n, c), as of `Components`.
    Returns:
        (n, 2) float32 from -1 to 1 about the middle of the map, at the same scale on both axes.
    """
    if method_for(config, len(components)) == "pca":
        places = np.zeros((len(components), 2), np.float32)
        places[:, : components.shape[1]] = components[:, :2]
    else:
        places = _pacmap(components, config)
    middle = (places.max(axis=0) + places.min(axis=0)) / 2
    reach = np.abs(places - middle).max()
    return ((places - middle) / (reach or 1.0)).astype(np.float32)


def _pacmap(components: NDArray[np.float32], config: MapConfig) -> NDArray[np.float32]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("pacmap").setLevel(logging.ERROR)  # it warns of every seed
        from pacmap.pacmap import PaCMAP, faiss

        model = PaCMAP(
            n_components=2, n_neighbors=config.neighbours, random_state=config.seed, apply_pca=False, save_tree=False
        )
        threads = faiss.omp_get_max_threads()
        try:
            places: NDArray[np.float32] = model.fit_transform(components, init="pca", save_pairs=False)
        finally:
            faiss.omp_set_num_threads(threads)  # with a seed it takes one, and would leave one to the searches
        return places
