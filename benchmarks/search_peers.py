"""The libraries that search is compared with: faiss-cpu's HNSW and IVF-PQ with re-ranking, and hnswlib.

All hold fp32 unit vectors in memory and compare inner products. Their search settings are the cheapest of a grid that
reach the target recall on the tuning queries: 0.99 over all rows and 0.95 under a filter. Where none does, the last of
the grid is used, and the row's recall shows it.
"""

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from search_data import COHORTS, Bench, K
from search_engine import ALL, Clock, Engine

LINKS, BUILD_EF = 32, 100
EF_GRID = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
TARGET_RECALL = {ALL: 0.99, **dict.fromkeys(COHORTS, 0.95)}


class Peer(Engine):
    """An index of positions in the table, with one file."""

    name = ""

    def __init__(self, bench: Bench):
        super().__init__(bench)
        self.path = bench.folder / f"{self.name}.index"
        self.settings: dict[str, Any] = {}

    def build(self) -> dict[str, Any]:
        vectors = self.bench.matrix()
        clock = Clock()
        index = self.make(vectors)
        spent = clock.spent()
        self.write(index)
        size = self.path.stat().st_size
        return {**spent, "index": self.about(), "index_bytes": size, "disk_bytes": size}

    def make(self, vectors: NDArray[np.float32]) -> Any:
        raise NotImplementedError

    def about(self) -> str:
        raise NotImplementedError

    def write(self, index: Any) -> None:
        faiss.write_index(index, str(self.path))

    def open(self) -> None:
        faiss.omp_set_num_threads(1)  # one thread a query, as each client has its own
        self.index = faiss.read_index(str(self.path))
        self.ids = self.bench.truths["tile_id"]
        self.selectors = {c: faiss.IDSelectorBatch(self.kept_rows(c)) for c in COHORTS}
        self.settings[ALL] = self.settings_grid()[0]

    def kept_rows(self, cohort: str) -> NDArray[np.int64]:
        return np.flatnonzero(self.bench.truths[f"mask_{cohort}"]).astype(np.int64)

    def settings_grid(self) -> list[Any]:
        """Settings, cheapest first."""
        return list(EF_GRID)

    def tune(self, kept: str) -> str:
        for settings in self.settings_grid():
            self.settings[kept] = settings
            if self.tuned_recall(kept) >= TARGET_RECALL[kept]:
                break
        return self.describe(self.settings[kept])

    def describe(self, settings: Any) -> str:
        return f"efSearch {settings}"

    def tile_ids(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.ids[labels[labels >= 0]]


class FaissHNSW(Peer):
    name = "faiss-hnsw"

    def make(self, vectors: NDArray[np.float32]) -> Any:
        index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = BUILD_EF
        index.add(vectors)
        return index

    def about(self) -> str:
        return f"HNSW M {LINKS}, efConstruction {BUILD_EF}, fp32"

    def search(self, query: NDArray[np.float32], kept: str) -> NDArray[np.int64]:
        parameters = faiss.SearchParametersHNSW(efSearch=self.settings[kept], sel=self.selectors.get(kept))
        _, labels = self.index.search((query / np.linalg.norm(query))[None], K, params=parameters)
        return self.tile_ids(labels[0])


class FaissIVFPQ(Peer):
    name = "faiss-ivfpq"

    def make(self, vectors: NDArray[np.float32]) -> Any:
        lists = max(4, round(len(vectors) ** 0.5))
        index = faiss.index_factory(
            vectors.shape[1], f"IVF{lists},PQ{vectors.shape[1] // 8},RFlat", faiss.METRIC_INNER_PRODUCT
        )
        index.train(vectors)
        index.add(vectors)
        return index

    def about(self) -> str:
        return f"IVF{round(self.bench.rows**0.5)},PQ{self.bench.dim // 8},RFlat, fp32"

    def settings_grid(self) -> list[tuple[int, int]]:
        lists = round(self.bench.rows**0.5)
        nprobes = [p for p in (4, 8, 16, 32, 64, 128, 256, 512, 1024) if p < lists] + [lists]
        return [(p, refine) for p in nprobes for refine in (4, 10, 40)]

    def describe(self, settings: tuple[int, int]) -> str:
        return f"nprobe {settings[0]}, k_factor {settings[1]}"

    def search(self, query: NDArray[np.float32], kept: str) -> NDArray[np.int64]:
        nprobe, k_factor = self.settings[kept]
        base = faiss.SearchParametersIVF(nprobe=nprobe, sel=self.selectors.get(kept))
        parameters = faiss.IndexRefineSearchParameters(k_factor=k_factor, base_index_params=base)
        _, labels = self.index.search((query / np.linalg.norm(query))[None], K, params=parameters)
        return self.tile_ids(labels[0])


class HNSWLib(Peer):
    name = "hnswlib"

    def make(self, vectors: NDArray[np.float32]) -> Any:
        import hnswlib  # here, so that the others run without it

        index = hnswlib.Index(space="ip", dim=vectors.shape[1])
        index.init_index(max_elements=len(vectors), ef_construction=BUILD_EF, M=LINKS)
        index.add_items(vectors)
        return index

    def about(self) -> str:
        return f"HNSW M {LINKS}, ef_construction {BUILD_EF}, fp32"

    def write(self, index: Any) -> None:
        index.save_index(str(self.path))

    def open(self) -> None:
        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=self.bench.dim)
        self.index.load_index(str(self.path))
        self.index.set_num_threads(1)
        self.ids = self.bench.truths["tile_id"]
        self.keeps = {c: set(self.kept_rows(c).tolist()).__contains__ for c in COHORTS}
        self.settings[ALL] = EF_GRID[0]

    def describe(self, settings: int) -> str:
        return f"ef {settings}"

    def search(self, query: NDArray[np.float32], kept: str) -> NDArray[np.int64]:
        self.index.set_ef(max(self.settings[kept], K))
        try:
            labels, _ = self.index.knn_query(
                query / np.linalg.norm(query), K, num_threads=1, filter=self.keeps.get(kept)
            )
        except RuntimeError:  # fewer than K rows passed the filter
            return np.empty(0, np.int64)
        return self.tile_ids(labels[0].astype(np.int64))


PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in (FaissHNSW, FaissIVFPQ, HNSWLib)}
