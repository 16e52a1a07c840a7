"""The libraries that search is measured beside: faiss-cpu's HNSW and IVF-PQ with refining, and hnswlib.

All hold fp32 unit vectors in memory and compare inner products. Their settings at search are the cheapest of a grid
that reach the wanted recall on the tuning queries: 0.99 of all rows and 0.95 under a filter; where none does, the last
of the grid, and the row's recall says so.
"""

from typing import Any

import faiss
import hnswlib
import numpy as np
from numpy.typing import NDArray
from search_data import COHORTS, Bench, K
from search_side import ALL, Clock, Side

LINKS, BUILD_EF = 32, 100
EFFORTS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
WANTED = {ALL: 0.99, **dict.fromkeys(COHORTS, 0.95)}


class Peer(Side):
    """An index of positions in the table, with one file."""

    name = ""

    def __init__(self, bench: Bench):
        super().__init__(bench)
        self.path = bench.folder / f"{self.name}.index"
        self.effort: dict[str, Any] = {}

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
        faiss.omp_set_num_threads(1)  # a query has a thread; more clients have more
        self.index = faiss.read_index(str(self.path))
        self.ids = self.bench.truths["tile_id"]
        self.selectors = {c: faiss.IDSelectorBatch(self.kept_rows(c)) for c in COHORTS}
        self.effort[ALL] = self.efforts()[0]

    def kept_rows(self, cohort: str) -> NDArray[np.int64]:
        return np.flatnonzero(self.bench.truths[f"mask_{cohort}"]).astype(np.int64)

    def efforts(self) -> list[Any]:
        """Settings, cheapest first."""
        return list(EFFORTS)

    def choose(self, kept: str) -> str:
        for effort in self.efforts():
            self.effort[kept] = effort
            if self.tuned_recall(kept) >= WANTED[kept]:
                break
        return self.describe(self.effort[kept])

    def describe(self, effort: Any) -> str:
        return f"efSearch {effort}"

    def found(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
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

    def ask(self, query: NDArray[np.float32], kept: str) -> NDArray[np.int64]:
        how = faiss.SearchParametersHNSW(efSearch=self.effort[kept], sel=self.selectors.get(kept))
        _, labels = self.index.search((query / np.linalg.norm(query))[None], K, params=how)
        return self.found(labels[0])


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

    def efforts(self) -> list[tuple[int, int]]:
        lists = round(self.bench.rows**0.5)
        probes = [p for p in (4, 8, 16, 32, 64, 128, 256, 512, 1024) if p < lists] + [lists]
        return [(p, refine) for p in probes for refine in (4, 10, 40)]

    def describe(self, effort: tuple[int, int]) -> str:
        return f"nprobe {effort[0]}, k_factor {effort[1]}"

    def ask(self, query: NDArray[np.float32], kept: str) -> NDArray[np.int64]:
        probes, refine = self.effort[kept]
        base = faiss.SearchParametersIVF(nprobe=probes, sel=self.selectors.get(kept))
        how = faiss.IndexRefineSearchParameters(k_factor=refine, base_index_params=base)
        _, labels = self.index.search((query / np.linalg.norm(query))[None], K, params=how)
        return self.found(labels[0])


class HNSWLib(Peer):
    name = "hnswlib"

    def make(self, vectors: NDArray[np.float32]) -> Any:
        index = hnswlib.Index(space="ip", dim=vectors.shape[1])
        index.init_index(max_elements=len(vectors), ef_construction=BUILD_EF, M=LINKS)
        index.add_items(vectors)
        return index

    def about(self) -> str:
        return f"HNSW M {LINKS}, ef_construction {BUILD_EF}, fp32"

    def write(self, index: Any) -> None:
        index.save_index(str(self.path))

    def open(self) -> None:
        self.index = hnswlib.Index(space="ip", dim=self.bench.dim)
        self.index.load_index(str(self.path))
        self.index.set_num_threads(1)
        self.ids = self.bench.truths["tile_id"]
        self.keeps = {c: set(self.kept_rows(c).tolist()).__contains__ for c in COHORTS}
        self.effort[ALL] = EFFORTS[0]

    def describe(self, effort: int) -> str:
        return f"ef {effort}"

    def ask(self, query: NDArray[np.float32], kept: str) -> NDArray[np.int64]:
        self.index.set_ef(max(self.effort[kept], K))
        try:
            labels, _ = self.index.knn_query(
                query / np.linalg.norm(query), K, num_threads=1, filter=self.keeps.get(kept)
            )
        except RuntimeError:  # fewer than K rows that pass were met
            return np.empty(0, np.int64)
        return self.found(labels[0].astype(np.int64))


PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in (FaissHNSW, FaissIVFPQ, HNSWLib)}
