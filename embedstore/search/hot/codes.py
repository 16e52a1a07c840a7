"""Short codes of vectors in memory, searched by faiss: which rows may be nearest to a query."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedstore.errors import ConfigError

#: Up to so many rows, vectors themselves are kept as float16: comparing 20,000 x 768 takes 0.7 ms.
FLAT_ROWS = 20_000
#: Rows per partition that k-means is trained on, and its rounds.
TRAINED_ROWS, ROUNDS = 64, 10
MAX_PARTITIONS = 4096
#: From so many dimensions on, four share a code of 4 bits; below, two.
LONG_DIM = 128
SEED = 0
_local = threading.local()


def load_faiss() -> Any:
    """The package faiss.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise ConfigError(
            "a warm collection needs the package faiss-cpu, which is not installed; "
            'pip install "embedstore[fast-search]", or search without, as before'
        ) from error
    if not hasattr(faiss, "ZeroCopyIOReader"):
        raise ConfigError(
            f"faiss {faiss.__version__} is too old for a warm collection; expected 1.12 or newer: "
            'pip install --upgrade "embedstore[fast-search]"'
        )
    return faiss


class Codes:
    """An index of unit vectors by row; never changed once it is made, so that threads may search it."""

    def __init__(self, index: Any):
        self._index = index
        inner = load_faiss().try_extract_index_ivf(index)
        self.partitions = 0 if inner is None else int(inner.nlist)

    @classmethod
    def trained(
        cls, sample: NDArray[np.float32], *, rows: int, threads: int, step: Callable[[], None] = lambda: None
    ) -> "Codes":
        """Empty codes for vectors like these.

        Args:
            sample: (m, dim) unit vectors; `training_rows` says how many, which may be none.
            rows: Number of vectors that are to be added.
            threads: Of faiss.
            step: Called between the rounds of the training; what it raises ends it.
        """
        faiss, dim = load_faiss(), sample.shape[1]
        if uses_flat_codes(rows):
            flat = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
            return cls(faiss.IndexIDMap(flat))
        partitions = partitions_for(rows)
        _use_threads(threads)
        means = faiss.Kmeans(
            dim, partitions, niter=1, spherical=True, seed=SEED, min_points_per_centroid=1,
            max_points_per_centroid=TRAINED_ROWS,
        )  # fmt: skip
        for _ in range(ROUNDS):
            means.train(sample, init_centroids=means.centroids)
            step()
        coarse = faiss.IndexFlatIP(dim)
        coarse.add(means.centroids)
        index = faiss.IndexIVFPQFastScan(coarse, dim, partitions, _parts(dim), 4, faiss.METRIC_INNER_PRODUCT)
        index.pq.cp.min_points_per_centroid = 1
        index.train(sample)
        return cls(index)

    def changed(
        self,
        *,
        removed: NDArray[np.int64],
        added: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]],
        threads: int,
    ) -> "Codes":
        """A copy without some rows and with others.

        Args:
            removed: (n,) rows.
            added: Rows, (m,), and their unit vectors, (m, dim).
            threads: Of faiss.
        """
        faiss = load_faiss()
        _use_threads(threads)
        index = faiss.clone_index(self._index)  # 50 ms for 1,000,000 rows; those who search the old one go on
        if len(removed):
            index.remove_ids(faiss.IDSelectorBatch(removed))
        for rows, vectors in added:
            index.add_with_ids(vectors, rows)
        return Codes(index)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def nbytes(self) -> int:
        """About: of each row its code and its number."""
        faiss = load_faiss()
        inner = faiss.try_extract_index_ivf(self._index)
        coded = faiss.downcast_index(self._index.index).sa_code_size() if inner is None else inner.code_size
        return len(self) * (coded + 8)

    def search(
        self,
        queries: NDArray[np.float32],
        n: int,
        *,
        probes: int,
        passing: NDArray[np.uint8] | None = None,
        threads: int = 1,
    ) -> NDArray[np.int64]:
        """Rows that are probably nearest to unit vectors, those of each nearest first.

        Args:
            queries: (q, dim).
            n: Rows for each query.
            probes: Partitions that are searched.
            passing: Bits, the lowest first, of the rows that may be found; all when None.
            threads: Of faiss; one for a query, as each client has a thread of its own.
        Returns:
            (q, n), -1 where there are no more.
        """
        faiss = load_faiss()
        _use_threads(threads)
        selector = None if passing is None else faiss.IDSelectorBitmap(passing)
        if self.partitions:
            settings = faiss.SearchParametersIVF(nprobe=min(probes, self.partitions), sel=selector)
        else:
            settings = None if selector is None else faiss.SearchParameters(sel=selector)
        return self._index.search(queries, n, params=settings)[1]

    def save(self, path: Path) -> None:
        load_faiss().write_index(self._index, str(path))

    @classmethod
    def load(cls, path: Path) -> "Codes":
        return cls(load_faiss().read_index(str(path)))


def _use_threads(threads: int) -> None:
    """How many threads faiss has for what this thread asks; OpenMP keeps it for each thread."""
    if getattr(_local, "threads", None) != threads:
        load_faiss().omp_set_num_threads(threads)
        _local.threads = threads


def uses_flat_codes(rows: int) -> bool:
    """Whether vectors themselves are kept for so many rows."""
    return rows <= FLAT_ROWS


def partitions_for(rows: int) -> int:
    return min(max(round(rows**0.5), 16), MAX_PARTITIONS)


def training_rows(rows: int) -> int:
    """How many of so many rows are trained on."""
    return 0 if uses_flat_codes(rows) else min(rows, TRAINED_ROWS * partitions_for(rows))


def _parts(dim: int) -> int:
    """Parts that a vector is cut into, of 4 bits each."""
    widths = (4, 3, 2, 1) if dim >= LONG_DIM else (2, 1)
    return dim // next(width for width in widths if dim % width == 0)


class Comparison:
    """Inner products of a query with many float16 vectors, 10 times as fast as NumPy, which widens them first.

    faiss reads an index from memory without a copy, and such an index is a header with the vectors behind it.
    """

    BLOCK_ROWS = 1000  # 1.5 MB at 768 dimensions, which stay in a core's cache

    def __init__(self, dim: int):
        faiss = load_faiss()
        one = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        one.add(np.ones((1, dim), np.float32))
        whole = faiss.serialize_index(one)
        self._dim, self._row_bytes = dim, 2 * dim
        self._header = whole[: len(whole) - self._row_bytes].copy()

    def products(
        self, vectors: NDArray[np.float16], rows: NDArray[np.int64], query: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """(n,) inner products of a query, (dim,), with some rows of the vectors."""
        _use_threads(1)
        out = np.empty(len(rows), np.float32)
        head = len(self._header)
        buffer = np.empty(head + min(len(rows), self.BLOCK_ROWS) * self._row_bytes, np.uint8)
        place = buffer[head:].view(np.float16).reshape(-1, self._dim)
        for start in range(0, len(rows), self.BLOCK_ROWS):
            chosen = rows[start : start + self.BLOCK_ROWS]
            np.take(vectors, chosen, axis=0, out=place[: len(chosen)], mode="clip")
            found, at = self._index(buffer, len(chosen)).search(query[None], len(chosen))
            out[start + at[0]] = found[0]
        return out

    def _index(self, buffer: NDArray[np.uint8], rows: int) -> Any:
        faiss = load_faiss()
        buffer[: len(self._header)] = self._header
        buffer[8:16].view(np.int64)[0] = rows  # the header counts rows there, and bytes at its end
        buffer[len(self._header) - 8 : len(self._header)].view(np.int64)[0] = rows * self._row_bytes
        return faiss.read_index(
            faiss.ZeroCopyIOReader(faiss.swig_ptr(buffer), len(self._header) + rows * self._row_bytes)
        )
