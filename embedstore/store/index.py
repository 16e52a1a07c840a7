"""The vector index of a collection: build it from a certain size on, update it with new rows, drop it.

It is LanceDB's IVF_RQ: vectors are put into partitions and quantised to one bit a dimension, and the best candidates
are compared again by their stored vectors. Lance's own build takes 384 s for 1,000,000 x 768 on two cores, almost all
of it to find the partition of each float16 vector. Here Lance trains the partitions on a float32 sample, NumPy finds
the partition of each vector by matrix products, and Lance does the rest: 26 s, with the same recall. IVF_RQ needs a
multiple of 8 dimensions. Other vectors, such as the built-in features, get LanceDB's IVF_FLAT: the same partitions,
with vectors that are not quantised.
"""

import dataclasses
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import lance
import numpy as np
import pyarrow as pa
from lance.indices import IndicesBuilder
from numpy.typing import NDArray

from embedstore.progress import OnProgress, Progress, no_progress
from embedstore.search_config import IndexConfig
from embedstore.store.collection import Collection
from embedstore.store.vectors import matrix
from embedstore.temporary_folder import temporary_folder

log = logging.getLogger(__name__)

# The statistics of an index are read often; with its centroids they are megabytes of JSON.
os.environ.setdefault("LANCE_INCLUDE_VECTOR_CENTROIDS", "false")

VECTOR_INDEX = "vector_idx"
FLAT = "flat"
#: Key in the table's configuration under which the user's choice of an index is stored.
CHOICE_KEY = "embedstore.index"
#: For exact lookups: among 1,000,000 rows, those of a slide take 9 ms with a bitmap, that of a tile 1 ms with a B-tree.
SCALAR_INDEXES: dict[str, Literal["BITMAP", "BTREE"]] = {"slide_id": "BITMAP", "tile_id": "BTREE"}
#: IVF_RQ packs one bit a dimension into bytes, so it needs a multiple of this many dimensions.
CODED_DIMENSIONS = 8
#: A sample is read in runs of this many consecutive rows: fetching a run takes as long as fetching one row.
RUN_ROWS = 16
#: Rows of the sample that are read at once: more would be in memory twice.
SAMPLE_BATCH = 4096
#: Lance reads so far ahead of the search for partitions, which is slower; by default, 0.5 GB.
BATCHES_AHEAD, BYTES_AHEAD = 2, 64 << 20
#: Scores that are computed at once (rows x partitions): 32 MB of float32.
SCORES = 8 << 20
#: Adding a row to the index takes Lance 0.37 ms (at 1,000 partitions), a new build 0.05 ms a row. So an index that
#: lacks more than this share of the rows is rebuilt.
REBUILD_SHARE = 0.125
#: Up to this many new rows stay out of the index: comparing 2,000 vectors one by one takes a millisecond.
LEFT_ROWS = 2_000
#: While slides are still being added, the index is updated only if it lacks more than this share of the rows.
BUSY_SHARE = 0.3


@dataclass(frozen=True, kw_only=True)
class IndexFacts:
    """The state of a collection's index.

    Attributes:
        kind: `IVF_RQ` or `IVF_FLAT`; `flat` if there is no index and every vector is compared.
        rows: Rows of the collection.
        indexed: Rows in the index; the others are compared one by one.
        partitions: Partitions of the index; 0 without an index.
        bits: Bits a dimension of an IVF_RQ; 0 for other kinds.
        parts: Segments of the index, which are searched one after the other.
        size_bytes: Size of the index on disk.
    """

    kind: str
    rows: int
    indexed: int = 0
    partitions: int = 0
    bits: int = 0
    parts: int = 0
    size_bytes: int = 0


def index_facts(collection: Collection) -> IndexFacts:
    """The state of a collection's index."""
    dataset = collection.dataset()
    rows = dataset.count_rows()
    found = next((each for each in dataset.describe_indices() if each.name == VECTOR_INDEX), None)
    if found is None:
        return IndexFacts(kind=FLAT, rows=rows)
    details = dataset.stats.index_stats(VECTOR_INDEX)
    parts = details["indices"]
    return IndexFacts(
        kind=details["index_type"],
        rows=rows,
        indexed=details["num_indexed_rows"],
        partitions=parts[0]["num_partitions"],
        bits=parts[0].get("sub_index", {}).get("num_bits", 1) if details["index_type"] == "IVF_RQ" else 0,
        parts=len(parts),
        size_bytes=found.total_size_bytes or 0,
    )


def index_choice(collection: Collection) -> IndexConfig:
    """The index that the user chose for a collection, or the defaults."""
    kept = collection.dataset().config().get(CHOICE_KEY)
    return IndexConfig(**json.loads(kept)) if kept else IndexConfig()


def choose_index(collection: Collection, config: IndexConfig, *, on_progress: OnProgress = no_progress) -> IndexFacts:
    """Choose the index of a collection, now and for later runs; the caller holds its lease."""
    collection.table.open_for_writing().update_config({CHOICE_KEY: json.dumps(dataclasses.asdict(config))})
    if config.wants_index(len(collection)):
        return build_index(collection, config, on_progress=on_progress)
    drop_index(collection)
    return index_facts(collection)


def build_index(
    collection: Collection, config: IndexConfig | None = None, *, on_progress: OnProgress = no_progress
) -> IndexFacts:
    """Rebuild the index of a collection, whatever its size; the caller holds its lease.

    Searches use the old index until the new one is complete. An empty collection gets none.

    Args:
        config: Which index; the one that the user chose when None.
    """
    config = config or index_choice(collection)
    build_scalar_indexes(collection)
    # The whole build uses one version: a row added meanwhile would have no partition, and would not be indexed.
    dataset = collection.table.open_for_writing()
    rows = dataset.count_rows()
    partitions = config.partitions_for(rows)
    centroids = _train(dataset, partitions, config.sample_rows, collection.dim)
    if centroids is None:
        log.info("collection %s has no vector that is finite and not zero: no index was built", collection.name)
        return index_facts(collection)
    log.info("collection %s: building an index of %d partitions over %d rows", collection.name, partitions, rows)
    # Lance reads the partitions in its own threads and reports no progress.
    on_progress(
        Progress(stage="index", message=f"{partitions:,} partitions over {rows:,} tiles", total=rows, unit="tiles")
    )
    with temporary_folder("index") as folder:
        assigned = f"{folder}/partitions.lance"
        batches = pa.RecordBatchReader.from_batches(_ASSIGNED, _assign(dataset, centroids, collection.dim))
        lance.write_dataset(batches, assigned, schema=_ASSIGNED, max_rows_per_file=1 << 31)
        dataset.create_index(
            "vector",
            "IVF_RQ" if collection.dim % CODED_DIMENSIONS == 0 else "IVF_FLAT",
            name=VECTOR_INDEX,
            metric="cosine",
            replace=True,
            num_partitions=len(centroids),
            num_bits=config.bits_for(collection.dim),  # ignored by IVF_FLAT
            ivf_centroids=centroids.astype(np.float16),
            precomputed_partition_dataset=assigned,
        )
    on_progress(Progress(stage="index", done=rows, total=rows, unit="tiles"))
    return index_facts(collection)


def keep_index(collection: Collection, *, busy: bool = False, on_progress: OnProgress = no_progress) -> IndexFacts:
    """Build the index that suits a collection's size, or update it; the caller holds its lease.

    Args:
        busy: Slides are still being added: update the index only if it lacks many rows.
    """
    config, facts = index_choice(collection), index_facts(collection)
    wanted, lacking = config.wants_index(facts.rows), facts.rows - facts.indexed
    if wanted and (facts.kind == FLAT or lacking > (BUSY_SHARE if busy else REBUILD_SHARE) * facts.rows):
        return build_index(collection, config, on_progress=on_progress)
    build_scalar_indexes(collection)
    if not wanted or busy or lacking <= LEFT_ROWS:
        return facts
    collection.table.open_for_writing().optimize.optimize_indices(index_names=[VECTOR_INDEX])
    return index_facts(collection)


def drop_index(collection: Collection) -> None:
    """Drop the vector index, if there is one; the caller holds the lease."""
    dataset = collection.table.open_for_writing()
    if any(each.name == VECTOR_INDEX for each in dataset.describe_indices()):
        dataset.drop_index(VECTOR_INDEX)


def build_scalar_indexes(collection: Collection, *, rebuild: bool = False) -> None:
    """Build or update the indexes on slide_id and tile_id; the caller holds the lease.

    Args:
        rebuild: Build them anew: an updated index still holds the ids of removed slides.
    """
    present = {each.name for each in collection.dataset().describe_indices()}
    for column, kind in SCALAR_INDEXES.items():
        name = f"{column}_idx"
        dataset = collection.table.open_for_writing()
        if rebuild or name not in present:
            dataset.create_scalar_index(column, kind, name=name, replace=True)
        else:
            dataset.optimize.optimize_indices(index_names=[name])


_ASSIGNED = pa.schema([pa.field("row_id", pa.uint64()), pa.field("partition", pa.uint32())])


def _train(dataset: lance.LanceDataset, partitions: int, sample_rows: int, dim: int) -> NDArray[np.float32] | None:
    """Centroids, (partitions, dim), by Lance's k-means on a sample; None if all vectors are zero or not finite."""
    total = dataset.count_rows()
    runs = max(min(partitions * sample_rows, total) // RUN_ROWS, 1)
    starts = np.linspace(0, max(total - RUN_ROWS, 0), runs).astype(np.int64)
    rows = np.unique(starts[:, None] + np.arange(min(RUN_ROWS, total)))
    schema = pa.schema([pa.field("vector", pa.list_(pa.float32(), dim))])
    batches = pa.RecordBatchReader.from_batches(schema, _usable(dataset, rows, schema))
    with temporary_folder("index") as folder:  # in memory, it would be there twice
        sample = lance.write_dataset(batches, f"{folder}/sample.lance", schema=schema)
        usable = sample.count_rows()
        if not usable:
            return None
        partitions = min(partitions, usable)
        model = IndicesBuilder(sample, "vector").train_ivf(
            partitions, distance_type="cosine", sample_rate=max(usable // partitions, 2)
        )
    return model.centroids.flatten().to_numpy().reshape(-1, dim).astype(np.float16).astype(np.float32)


def _usable(dataset: lance.LanceDataset, rows: NDArray[np.int64], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The vectors of some rows that are finite and not zero, as float32; a batch at a time."""
    dim = schema.field("vector").type.list_size
    for start in range(0, len(rows), SAMPLE_BATCH):
        taken = dataset.take(rows[start : start + SAMPLE_BATCH].tolist(), columns=["vector"]).column(0)
        vectors = matrix(taken.combine_chunks(), dim).astype(np.float32)
        vectors = vectors[np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)]
        yield pa.record_batch([pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dim)], schema=schema)


def _assign(dataset: lance.LanceDataset, centroids: NDArray[np.float32], dim: int) -> Iterator[pa.RecordBatch]:
    """The partition of each row: the centroid nearest to its unit vector; a batch at a time."""
    half = (centroids**2).sum(axis=1) / 2
    batch_rows = max(SCORES // len(centroids), 1)
    batches = dataset.to_batches(
        columns=["vector"],
        with_row_id=True,
        batch_size=batch_rows,
        batch_readahead=BATCHES_AHEAD,
        fragment_readahead=1,
        io_buffer_size=BYTES_AHEAD,
    )
    for batch in batches:
        vectors = matrix(batch.column("vector"), dim).astype(np.float32)
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[~np.isfinite(length[:, 0])] = 0  # like zero vectors, these are never found
        vectors /= np.where(np.isfinite(length) & (length > 0), length, 1)
        nearest = (vectors @ centroids.T - half).argmax(axis=1).astype(np.uint32)
        yield pa.record_batch([batch.column("_rowid"), pa.array(nearest)], schema=_ASSIGNED)
