"""Stored views: the embeddings of augmented copies of a collection's tiles, in a table of their own."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedstore.config import ViewConfig
from embedstore.errors import CollectionMismatchError, StoreNotFoundError, VectorError, ViewsNotFoundError
from embedstore.sorted_ids import positions_in
from embedstore.store.collection_record import CollectionRecord
from embedstore.store.schema import batch_rows, check_collection_name, views_schema
from embedstore.store.table import Table
from embedstore.store.vectors import TAKE_SHARE, bad_rows, matrix, room_for
from embedstore.views import PARAMETERS

PREFIX = "views-"


class Views:
    """The views of one collection; there may be none."""

    def __init__(self, store_uri: str, collection: str):
        self.collection = check_collection_name(collection)
        self.table = Table(store_uri, PREFIX + collection)

    @property
    def name(self) -> str:
        return f"views of {self.collection}"

    def create(self, record: CollectionRecord) -> None:
        """Create the table, or check that the existing one was made with the same configuration.

        Args:
            record: The record of the views; see `CollectionRecord.of_views`.
        Raises:
            CollectionMismatchError: it holds other views, or those of another tiling or extractor.
        """
        self.table.create(views_schema(record.extractor.ref.dim, record.schema_metadata()))
        differences = self.record().differences(record)
        if differences:
            raise CollectionMismatchError(
                f"the views of collection {self.collection!r} were made with another configuration: "
                f"{'; '.join(differences)}; use the same, or remove them with "
                f"`embedstore rm --views {self.collection}` and make them again"
            )

    def exists(self) -> bool:
        return self.table.exists()

    def dataset(self, version: int | None = None) -> lance.LanceDataset:
        """The table at a version; the newest when None.

        Raises:
            ViewsNotFoundError: there is no such table.
        """
        try:
            newest = self.table.open()
        except StoreNotFoundError as error:
            raise ViewsNotFoundError(
                f"collection {self.collection!r} has no stored views; `embedstore ingest … --views 4` makes them"
            ) from error
        return newest if version in (None, newest.version) else newest.checkout_version(version)

    @property
    def schema(self) -> pa.Schema:
        return self.dataset().schema

    @property
    def dim(self) -> int:
        return self.schema.field("vector").type.list_size

    def record(self) -> CollectionRecord:
        """The configuration and the extractor that made them."""
        return CollectionRecord.from_schema(self.schema, self.name)

    def config(self) -> ViewConfig:
        """How the views of each tile were drawn."""
        config = self.record().views
        assert config is not None, f"the record of the {self.name} does not say how they were made"
        return config

    def __len__(self) -> int:
        return self.dataset().count_rows()

    def slides(self) -> dict[str, int]:
        """{slide: number of its rows}, of slides that have views."""
        return self.table.counts("slide_id") if self.exists() else {}


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredViews:
    """Views of n tiles.

    Attributes:
        vectors: (n, count, dim) float16.
        parameters: (n, count, parameters) float32, the augmentation of each view.
        found: (n,) whether all views of a tile are stored; if not, its vectors and parameters are zeros.
        version: Version of the table.
    """

    vectors: NDArray[np.float16]
    parameters: NDArray[np.float32]
    found: NDArray[np.bool_]
    version: int


def read_views(
    views: Views, tile_ids: NDArray[np.int64], *, version: int | None = None, memory_map: Path | None = None
) -> StoredViews:
    """Read the views of some tiles: by one scan of the table or, for few tiles, of its ids.

    Args:
        tile_ids: (n,), without duplicates.
        version: Version of the table; the newest when None.
        memory_map: A file that holds the vectors instead of memory; its directory must exist.
    Raises:
        ViewsNotFoundError: the collection has no views.
        VectorError: a vector holds NaN or infinity; the message names the tile and the view.
    """
    dataset = views.dataset(version)
    count, dim = views.config().count, views.dim
    vectors = room_for((len(tile_ids), count, dim), memory_map)
    parameters = np.zeros((len(tile_ids), count, len(PARAMETERS)), np.float32)
    stored = np.zeros((len(tile_ids), count), bool)
    order = np.argsort(tile_ids)
    known = tile_ids[order]
    for batch in _batches(dataset, known, count, dim):
        of_tile = batch.column("tile_id").to_numpy()
        at = positions_in(known, of_tile)
        rows = np.flatnonzero(at >= 0)
        if not len(rows):
            continue
        tile, view = order[at[rows]], batch.column("view").to_numpy()[rows] - 1
        block = matrix(batch.column("vector"), dim)[rows]
        bad = bad_rows(block)
        if len(bad):
            first = bad[0]
            raise VectorError(
                f"{views.name}: view {int(view[first]) + 1} of tile {int(of_tile[rows[first]])} holds NaN or infinity "
                f"({len(bad)} such in its batch); expected finite float16; the extractor overflows half precision "
                f"there: remove the views with `embedstore rm --views {views.collection}`"
            )
        vectors[tile, view] = block
        parameters[tile, view] = np.stack([batch.column(name).to_numpy()[rows] for name in PARAMETERS], axis=1)
        stored[tile, view] = True
    found: NDArray[np.bool_] = np.asarray(stored.all(axis=1))
    vectors[~found], parameters[~found] = 0, 0
    return StoredViews(vectors=vectors, parameters=parameters, found=found, version=dataset.version)


def _batches(dataset: lance.LanceDataset, known: NDArray[np.int64], count: int, dim: int) -> Iterator[pa.RecordBatch]:
    """Batches with all rows of some tiles, and perhaps others: few rows are taken by offset, many by a scan."""
    columns, size = ["tile_id", "view", *PARAMETERS, "vector"], batch_rows(dim)
    if not len(known):
        return
    if len(known) * count >= TAKE_SHARE * dataset.count_rows():
        yield from dataset.to_batches(columns=columns, batch_size=size)
        return
    passed, found = 0, []
    for batch in dataset.to_batches(columns=["tile_id"]):
        found.append(passed + np.flatnonzero(positions_in(known, batch.column("tile_id").to_numpy()) >= 0))
        passed += batch.num_rows
    rows = np.concatenate(found) if found else np.empty(0, np.intp)
    for start in range(0, len(rows), size):
        taken = dataset.take(rows[start : start + size].tolist(), columns=columns)
        yield from taken.combine_chunks().to_batches()
