"""The interface of every slide encoder: the tiles of a slide in, block by block, one vector out."""

import hashlib
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.store import Collection


class Bag(ABC):
    """The tiles of one slide, as they are read."""

    @abstractmethod
    def add(self, vectors: NDArray[np.float16], xy_l0: NDArray[np.int32], edge_l0: int) -> None:
        """Add tiles.

        Args:
            vectors: (n, dim).
            xy_l0: (n, 2) top-left corners, level-0 pixels.
            edge_l0: Edge of the tiles, level-0 pixels.
        """

    @abstractmethod
    def finish(self) -> NDArray[np.float32]:
        """The slide's vector, (E,), once all tiles were added."""


class SlideEncoder(ABC):
    """Turns the tiles of a slide into a vector.

    Attributes:
        name: What its encoding is called by default.
        source: `builtin:NAME`, or the user's function.
        digest: `sha256:…` over all that decides a slide's vector but the vectors of its tiles; known after `prepare`.
        needs_places: Whether it uses where tiles lie; ready-made tiles have no place.
    """

    name: str
    source: str
    digest: str
    needs_places: bool = False

    def prepare(self, collection: Collection, fitted: bytes) -> tuple[str, ...]:
        """Get ready for the slides of a collection; returns notes for the user.

        Args:
            fitted: The `parameters` of the encoding that there is; empty where there is none, or none was fitted.
        Raises:
            EncoderMismatchError: it cannot encode the vectors of this collection.
        """
        return ()

    @abstractmethod
    def open_bag(self, tiles: int) -> Bag:
        """A bag for the tiles of a slide, so many."""

    def parameters(self) -> bytes:
        """What was fitted, as safetensors, to be kept with the encoding; empty where nothing was."""
        return b""

    def details(self) -> dict[str, Any]:
        """What else is recorded of it, as JSON values."""
        return {}


class MeanEncoder(SlideEncoder):
    """The mean of a slide's tile vectors."""

    name = "mean"
    source = "builtin:mean"
    digest = f"sha256:{hashlib.sha256(b'mean 1').hexdigest()}"

    def open_bag(self, tiles: int) -> Bag:
        return _MeanBag()


class _MeanBag(Bag):
    def __init__(self) -> None:
        self._sum: NDArray[np.float64] | float = 0.0
        self._tiles = 0

    def add(self, vectors: NDArray[np.float16], xy_l0: NDArray[np.int32], edge_l0: int) -> None:
        self._sum = self._sum + vectors.sum(axis=0, dtype=np.float64)
        self._tiles += len(vectors)

    def finish(self) -> NDArray[np.float32]:
        return np.asarray(self._sum / self._tiles, np.float32)
