"""The extractors of collections, which stay loaded to embed the images and words that clients send."""

import threading
from collections import OrderedDict

from embedstore.cores import cores
from embedstore.extractors import Extractor, TextTower, release_memory
from embedstore.extractors.torch_runtime import set_threads
from embedstore.search.queries.image_query import load_own_extractor
from embedstore.search.queries.text_query import own_text_tower, require_text_tower
from embedstore.store import Collection

#: Extractors that stay loaded: a large network takes 1 to 5 GB.
MOST_LOADED = 2


class OwnExtractors:
    """The extractors that were asked for last, each loaded once."""

    def __init__(self, *, trusted: bool = False, most: int = MOST_LOADED, on_cluster: bool = False):
        """Load none yet.

        Args:
            trusted: The functions that collections name may be run.
            most: Extractors that stay loaded.
            on_cluster: Load them on the Ray cluster that this process has joined.
        """
        self._trusted, self._most, self._on_cluster = trusted, most, on_cluster
        self._loaded: OrderedDict[str, Extractor] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, collection: Collection) -> Extractor:
        """The extractor that made a collection. Errors as of `load_own_extractor`."""
        key = collection.record().extractor.ref.digest
        with self._lock:
            extractor = self._loaded.get(key)
            if extractor is None:
                extractor = self._loaded[key] = self._load(collection)
            self._loaded.move_to_end(key)
            if len(self._loaded) > self._most:
                _unload(self._loaded.popitem(last=False)[1])
            return extractor

    def text_tower(self, collection: Collection) -> TextTower:
        """The text tower of the extractor that made a collection. Errors as of `load_text_tower`."""
        record = collection.record()
        require_text_tower(collection.name, record)
        return own_text_tower(collection.name, record, self.get(collection))

    def _load(self, collection: Collection) -> Extractor:
        if self._on_cluster:
            from embedstore.service.cluster_extractors import ClusterExtractor

            return ClusterExtractor(collection, trusted=self._trusted)
        extractor = load_own_extractor(collection.name, collection.record(), trusted=self._trusted)
        set_threads(max(1, cores() // 2))  # the other cores are for searches and pictures
        return extractor


def _unload(extractor: Extractor) -> None:
    if close := getattr(extractor, "close", None):
        close()
    else:
        release_memory()
