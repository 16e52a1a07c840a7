"""A collection: a table of the embeddings of one extractor under one tiling, and reads from it."""

import copy
from collections.abc import Iterable, Iterator, Sequence

import lance
import pyarrow as pa

from embedstore.config import TilingConfig
from embedstore.errors import (
    CollectionMismatchError,
    CollectionNotFoundError,
    StoreNotFoundError,
    VersionNotFoundError,
)
from embedstore.extractor_ref import ExtractorRef
from embedstore.store.collection_record import CollectionRecord
from embedstore.store.schema import check_collection_name, tiles_schema
from embedstore.store.sql import sql_in, sql_string
from embedstore.store.table import Caches, Table
from embedstore.store.tile import StoredTile

PREFIX = "tiles-"
#: Ids of tiles are smaller: they are signed integers of 64 bits, and Lance's SQL has no literal for the smallest.
LARGEST_TILE_ID = 1 << 63


class Collection:
    """One table of embeddings, for reading; `CollectionWriter` writes to it."""

    def __init__(self, store_uri: str, name: str, caches: Caches | None = None):
        self.name, self.store_uri = check_collection_name(name), store_uri
        self.table = Table(store_uri, PREFIX + name, caches)
        self._dim: tuple[lance.LanceDataset, int] | None = None

    @classmethod
    def create(cls, store_uri: str, name: str, record: CollectionRecord) -> "Collection":
        """Open the collection, or create it.

        Raises:
            CollectionMismatchError: it was made with another tiling, tissue configuration or extractor.
        """
        collection = cls(store_uri, name)
        collection.table.create(tiles_schema(record.extractor.ref.dim, record.schema_metadata()))
        collection.check_same(record)
        return collection

    def check_same(self, record: CollectionRecord) -> None:
        """Check that vectors of a record belong into this collection.

        Raises:
            CollectionMismatchError: they were made by another tiling, tissue configuration or extractor.
        """
        name, stored = self.name, self.record()
        differences = stored.differences(record)
        if differences:
            unknown = [each.extractor.ref for each in (stored, record) if not each.extractor.ref.is_known]
            if unknown and stored.extractor.ref.digest != record.extractor.ref.digest:
                raise CollectionMismatchError(
                    f"collection {name!r} has vectors of {stored.extractor.ref}, and those given are of "
                    f"{record.extractor.ref}; expected the same digest, which only --weights of `embedstore import` "
                    "says; import the folder into a new collection with the weights, or give the new vectors "
                    "one of their own with --collection"
                )
            raise CollectionMismatchError(
                f"collection {name!r} was made with another configuration: {'; '.join(differences)}; "
                "use the same, or give the new embeddings a collection of their own with --collection"
            )

    def dataset(self, version: int | None = None) -> lance.LanceDataset:
        """The table at a version; the newest when None.

        Raises:
            VersionNotFoundError: there is no such version, or none any more.
        """
        try:
            newest = self.table.open()
        except StoreNotFoundError as error:
            raise CollectionNotFoundError(
                f"the store has no collection {self.name!r} (looked at {self.table.uri}); "
                "`embedstore ls` names those it has"
            ) from error
        if version in (None, newest.version):
            return newest
        try:
            return newest.checkout_version(version)
        except OSError as error:
            if "not found" not in str(error).lower():
                raise
            raise VersionNotFoundError(
                f"collection {self.name!r} has no version {version} any more; its present one is {newest.version}; "
                "read it again from its beginning"
            ) from error

    def pinned(self, version: int | None = None) -> "Collection":
        """The collection at a version, its present one when None: later commits do not change what is read from it.

        Raises:
            VersionNotFoundError: there is no such version, or none any more.
        """
        collection = copy.copy(self)
        collection.table = self.table.pinned_at(self.dataset(version))
        return collection

    @property
    def schema(self) -> pa.Schema:
        return self.dataset().schema

    @property
    def dim(self) -> int:
        """Length of an embedding; another only where the collection was removed and made again."""
        try:
            dataset = self.table.opened()
        except StoreNotFoundError:
            dataset = self.dataset()  # whose error names the collection
        if self._dim is None or self._dim[0] is not dataset:  # Lance takes a while to tell it: a tenth of a fast search
            self._dim = dataset, int(dataset.schema.field("vector").type.list_size)
        return self._dim[1]

    def record(self) -> CollectionRecord:
        """The configuration and the extractor that made it."""
        return CollectionRecord.from_schema(self.schema, self.name)

    def tiling(self) -> TilingConfig:
        """How its slides were cut into tiles."""
        return self.record().tiling

    def extractor(self) -> ExtractorRef:
        """The extractor that made its vectors."""
        return self.record().extractor.ref

    def __len__(self) -> int:
        return self.dataset().count_rows()

    def slides(self) -> dict[str, int]:
        """{slide: number of its rows}; this alone says which slides are done."""
        self.dataset()
        return self.table.counts("slide_id")

    def tiles(
        self,
        *,
        where: str | None = None,
        columns: list[str] | None = None,
        offset: int | None = None,
        limit: int | None = None,
    ) -> pa.Table:
        """Rows as an Arrow table, in the order of slides and tiles."""
        return self.dataset().to_table(filter=where, columns=columns, offset=offset, limit=limit)

    def batches(
        self,
        *,
        slides: Sequence[str] | None = None,
        columns: list[str] | None = None,
        batch_size: int | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Rows of some slides, or of all when None, in the order of `tiles`, a batch at a time."""
        where = None if slides is None else sql_in("slide_id", slides) if slides else "false"
        yield from self.dataset().to_batches(filter=where, columns=columns, batch_size=batch_size)

    def tile(self, tile_id: int) -> StoredTile | None:
        """A tile by its id; None if it is not in the collection."""
        if abs(tile_id) >= LARGEST_TILE_ID:
            return None
        return next(iter(self._stored_tiles(f"tile_id = {int(tile_id)}", limit=1)), None)

    def first_tile(self, slide_id: str) -> StoredTile | None:
        """The first tile of a slide; None if the slide has no tile."""
        return next(iter(self._stored_tiles(f"slide_id = {sql_string(slide_id)}", limit=1)), None)

    def tile_at(self, slide_id: str, xy_l0: tuple[int, int]) -> StoredTile | None:
        """The tile of a slide that holds a level-0 pixel; if several do, the one with the nearest centre."""
        x, y = xy_l0
        if max(abs(x), abs(y)) >= 1 << 31:  # on no slide; Lance's SQL does not compare such numbers
            return None
        inside = f"x <= {x} AND x + edge_l0 > {x} AND y <= {y} AND y + edge_l0 > {y}"

        def off_centre(tile: StoredTile) -> int:
            at = tile.location
            return (2 * (x - at.x) - at.edge_l0) ** 2 + (2 * (y - at.y) - at.edge_l0) ** 2

        return min(self._stored_tiles(f"slide_id = {sql_string(slide_id)} AND {inside}"), key=off_centre, default=None)

    def _stored_tiles(self, where: str, *, limit: int | None = None) -> list[StoredTile]:
        rows = self.tiles(where=where, limit=limit).to_pylist()
        return [StoredTile.from_row(row, collection=self.name) for row in rows]

    def vectors_bytes(self) -> int:
        """Size of all vectors as float16, bytes."""
        return 2 * self.dim * len(self)


def collection_names(table_names: Iterable[str]) -> list[str]:
    return sorted(name.removeprefix(PREFIX) for name in table_names if name.startswith(PREFIX))
