"""The engines of the search benchmark: how each builds its index and answers. `search_peers.py` has other libraries."""

import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from search_data import COLLECTION, TUNED, Bench, K, recall

from embedstore.search import SearchConfig, search, vector_query
from embedstore.store import IndexSearchConfig, nearest_tiles

ALL = "all"


class Engine(ABC):
    """A search library with its index; opened once, then queried from many threads."""

    def __init__(self, bench: Bench):
        self.bench = bench

    @abstractmethod
    def build(self) -> dict[str, Any]:
        """Build the index on disk. Returns `build_s` and `build_cpu_s`, without reading vectors, and `index_bytes`."""

    @abstractmethod
    def open(self) -> None:
        """Load what was built."""

    @abstractmethod
    def search(self, query: NDArray[np.float32], kept: str) -> NDArray[np.int64]:
        """Tile ids of the K nearest rows that pass a filter; `kept` is ALL or one of COHORTS."""

    def tune(self, kept: str) -> str:
        """Choose the settings of the search on the first TUNED queries. Returns them as text, for the row."""
        raise NotImplementedError

    def tuned_recall(self, kept: str) -> float:
        near = self.bench.truths[f"near_{kept}"][:TUNED]
        return recall([self.search(query, kept) for query in self.bench.queries[:TUNED]], near)


class EmbedStoreEngine(Engine):
    """Search as a notebook has it: the filter is SQL over the slides, the settings are the defaults."""

    def build(self) -> dict[str, Any]:
        from embedstore.store.index import build_index

        clock = Clock()
        with self.bench.store().lease(COLLECTION):
            facts = build_index(self.bench.collection())
        spent = clock.spent()
        everything = sum(path.stat().st_size for path in Path(self.bench.collection().table.uri).rglob("*.*"))
        indices = Path(self.bench.collection().table.uri) / "_indices"
        return {
            **spent,
            "index": f"{facts.kind}, {facts.partitions} partitions, {facts.bits} bit",
            "partitions": facts.partitions,
            "index_bytes": facts.size_bytes,
            "disk_bytes": everything - sum(p.stat().st_size for p in indices.rglob("*.*")) + facts.size_bytes,
        }

    def open(self) -> None:
        self.store = self.bench.store()
        self.collection = self.store.collection(COLLECTION)

    def search(self, query: NDArray[np.float32], kept: str) -> NDArray[np.int64]:
        config = SearchConfig(k=K, where=None if kept == ALL else f"cohort = '{kept}'")
        hits = search(self.store, self.collection, vector_query(self.collection, query), config)
        return hits.table.column("tile_id").to_numpy()

    def tune(self, kept: str) -> str:
        defaults = IndexSearchConfig()
        return f"defaults: nprobes {defaults.nprobes}, refine_factor {defaults.refine_factor}"

    def search_index(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        """The same of all rows, without what `search` adds: the slides' metadata and the checks."""
        return nearest_tiles(self.collection, query, k=K).column("tile_id").to_numpy()


class Clock:
    """Wall and CPU seconds of this process since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def spent(self) -> dict[str, float]:
        return {"build_s": time.perf_counter() - self._wall, "build_cpu_s": time.process_time() - self._cpu}
