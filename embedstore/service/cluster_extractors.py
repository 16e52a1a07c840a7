"""Extractors that embed on a cluster the images that clients send to this machine."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actors.replicas import Replicas
from embedstore.extractors import Extractor, TextTower
from embedstore.search.queries.image_query import load_own_extractor
from embedstore.store import Collection, CollectionRecord

#: What of an extractor is known here.
_FACTS = ("name", "dim", "tile_px", "mpp", "device", "digest", "batch_tiles")
_TEXT_FACTS = ("dim", "digest", "logit_scale", "context_tokens")


class ClusterExtractor(Extractor):
    """The extractor of a collection, on replicas of a cluster.

    Args:
        collection: The collection.
        trusted: The function that the collection names may be run.
    """

    def __init__(self, collection: Collection, *, trusted: bool):
        make = functools.partial(_Loaded, collection.name, collection.record(), trusted)
        self._replicas = Replicas(make, name=f"extractor-{collection.name}")
        for name, value in self._replicas.call("facts").items():
            setattr(self, name, value)
        if (facts := self._replicas.call("text_facts")) is not None:
            self.text_tower = _ClusterTextTower(self._replicas, facts)

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
        """As of `Extractor.embed`.

        Raises:
            WorkerDiedError: the replicas died of these pixels.
        """
        vectors: NDArray[np.float16] = self._replicas.call("embed", pixels)
        return vectors

    def close(self) -> None:
        """End the replicas."""
        self._replicas.stop()


class _ClusterTextTower(TextTower):
    """The text tower of an extractor on replicas of a cluster."""

    def __init__(self, replicas: Replicas, facts: dict[str, Any]):
        self._replicas = replicas
        for name, value in facts.items():
            setattr(self, name, value)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = self._replicas.call("embed_text", list(texts))
        return rows


class _Loaded:
    """The extractor in its process on the cluster."""

    def __init__(self, name: str, record: CollectionRecord, trusted: bool):
        self._extractor = load_own_extractor(name, record, trusted=trusted)

    def facts(self) -> dict[str, Any]:
        return {name: getattr(self._extractor, name) for name in _FACTS}

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float16]:
        return self._extractor.embed(pixels)

    def text_facts(self) -> dict[str, Any] | None:
        tower = self._extractor.text_tower
        return None if tower is None else {name: getattr(tower, name) for name in _TEXT_FACTS}

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        assert self._extractor.text_tower is not None
        return self._extractor.text_tower.embed_text(texts)
