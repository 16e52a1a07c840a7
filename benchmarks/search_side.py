"""The sides of the benchmark of search: what each builds and how it is asked. Embedstore's is here, the others' in
`search_peers.py`."""

import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from search_data import COLLECTION, TUNED, Bench, K, recall

from embedstore.search import SearchConfig, search, vector_query
from embedstore.store import EffortConfig, nearest_tiles

ALL = "all"


class Side(ABC):
    """A way to search; opened once, then asked from many threads."""

    def __init__(self, bench: Bench):
        self.bench = bench

    @abstractmethod
    def build(self) -> dict[str, Any]:
        """Build the index and leave it on disk. Returns `build_s`, `build_cpu_s` and `index_bytes`, reading apart."""

    @abstractmethod
    def open(self) -> None:
        """Load what was built."""

    @abstractmethod
    def ask(self, query: NDArray[np.float32], kept: str) -> NDArray[np.int64]:
        """Tile ids of the K nearest rows that a filter keeps; `kept` is ALL or one of COHORTS."""

    def choose(self, kept: str) -> str:
        """Settle how hard to look, on the first TUNED queries. Returns the settings, for the row."""
        raise NotImplementedError

    def tuned_recall(self, kept: str) -> float:
        near = self.bench.truths[f"near_{kept}"][:TUNED]
        return recall([self.ask(query, kept) for query in self.bench.queries[:TUNED]], near)


class Ours(Side):
    """Search as a notebook has it: the filter is SQL over the slides, the effort is the default."""

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

    def ask(self, query: NDArray[np.float32], kept: str) -> NDArray[np.int64]:
        config = SearchConfig(k=K, where=None if kept == ALL else f"cohort = '{kept}'")
        found = search(self.store, self.collection, vector_query(self.collection, query), config)
        return found.to_arrow().column("tile_id").to_numpy()

    def choose(self, kept: str) -> str:
        effort = EffortConfig()
        return f"defaults: probes {effort.probes}, refine {effort.refine}"

    def ask_index(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        """The same of all rows, without what `search` adds: the slides' metadata and the checks."""
        return nearest_tiles(self.collection, query, k=K).column("tile_id").to_numpy()


class Clock:
    """Wall and CPU seconds of this process since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def spent(self) -> dict[str, float]:
        return {"build_s": time.perf_counter() - self._wall, "build_cpu_s": time.process_time() - self._cpu}


def side_of(name: str, bench: Bench) -> Side:
    if name == "embedstore":
        return Ours(bench)
    from search_peers import PEERS  # the libraries are not the project's

    return PEERS[name](bench)
