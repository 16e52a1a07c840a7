"""A collection: the embeddings of one extractor under one tiling, and how slides enter and leave it."""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import lance
import pyarrow as pa
from lance.fragment import FragmentMetadata

from embedstore.errors import CollectionMismatchError, CollectionNotFoundError, CommitError, StoreNotFoundError
from embedstore.store.fragments import Delivery
from embedstore.store.schema import check_collection_name, read_record, tiles_schema
from embedstore.store.table import Table, sql_in

log = logging.getLogger(__name__)

PREFIX = "tiles-"
#: What of a collection's record says that its rows mean the same.
IDENTITY = ("tiling", "tissue", "extractor")


class Collection:
    """One table of embeddings, open for reading; `CollectionWriter` is what writes."""

    def __init__(self, store_uri: str, name: str):
        self.name = check_collection_name(name)
        self.table = Table(store_uri, PREFIX + name)

    @classmethod
    def create(cls, store_uri: str, name: str, *, dim: int, record: dict[str, Any]) -> "Collection":
        """Open the collection, or make it.

        Raises:
            CollectionMismatchError: it was made with another tiling, tissue configuration or extractor.
        """
        collection = cls(store_uri, name)
        collection.table.create(tiles_schema(dim, record))
        differences = list(_differences(collection.record(), record, IDENTITY))
        if differences:
            raise CollectionMismatchError(
                f"collection {name!r} was made with another configuration: {'; '.join(differences)}; "
                "use the same, or give the new embeddings a collection of their own with --collection"
            )
        return collection

    def dataset(self, version: int | None = None) -> lance.LanceDataset:
        """The table at a version; the newest when None."""
        try:
            newest = self.table.open()
            return newest if version in (None, newest.version) else newest.checkout_version(version)
        except StoreNotFoundError as error:
            raise CollectionNotFoundError(
                f"the store has no collection {self.name!r} (looked at {self.table.uri}); "
                "`embedstore ls` names those it has"
            ) from error

    @property
    def schema(self) -> pa.Schema:
        return self.dataset().schema

    @property
    def dim(self) -> int:
        return self.schema.field("vector").type.list_size

    def record(self) -> dict[str, Any]:
        """The configuration and the extractor that made it."""
        return read_record(self.schema, self.name)

    def __len__(self) -> int:
        return self.dataset().count_rows()

    def slides(self) -> dict[str, int]:
        """Rows of each slide that is in the collection: the only word on which slides are done."""
        self.dataset()
        return self.table.counts("slide_id")

    def tiles(
        self, *, where: str | None = None, columns: list[str] | None = None, limit: int | None = None
    ) -> pa.Table:
        """Rows as an Arrow table, in the order of slides and tiles."""
        return self.dataset().to_table(filter=where, columns=columns, limit=limit)

    def batches(
        self, *, slides: Sequence[str] | None = None, columns: list[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Rows of all slides, or of some, in the order of `tiles`, a batch at a time."""
        where = None if slides is None else sql_in("slide_id", slides) if slides else "false"
        yield from self.dataset().to_batches(filter=where, columns=columns)

    def vectors_bytes(self) -> int:
        return 2 * self.dim * len(self)


def _differences(stored: dict[str, Any], asked: dict[str, Any], keys: Sequence[str], path: str = "") -> Iterator[str]:
    for key in keys:
        old, new = stored.get(key), asked.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            if "digest" in old and old["digest"] == new.get("digest"):
                continue  # the same network and preprocessing, however it was named or loaded
            yield from _differences(old, new, sorted(old.keys() | new.keys()), f"{path}{key}.")
        elif json.dumps(old) != json.dumps(new):
            yield f"{path}{key} is {old!r} there and {new!r} here"


class CollectionWriter:
    """The only one who commits to a collection; hold its lease while using it.

    Args:
        collection: An existing collection.
    """

    def __init__(self, collection: Collection):
        self.collection = collection
        dataset = collection.dataset()
        self._version = dataset.version
        self._present = set(collection.slides())
        self.commits = 0

    def present(self) -> set[str]:
        """Slides whose rows are in the table."""
        self._refresh()
        return set(self._present)

    def _refresh(self) -> lance.LanceDataset:
        dataset = self.collection.dataset()
        if dataset.version != self._version:  # a deletion, or a predecessor's last commit
            self._present = set(self.collection.slides())
            self._version = dataset.version
        return dataset

    def commit(self, deliveries: Iterable[Delivery], *, replacing: frozenset[str] = frozenset()) -> list[str]:
        """Make the rows of several slides visible, all at once.

        A delivery of a slide that is already there is taken as a second delivery and left alone, so that calling
        this again after a crash is safe. Slides in `replacing` take the place of their old rows, atomically.

        Returns:
            The slides that this call added.
        Raises:
            CommitError: a delivery does not hold the rows it says; nothing was committed.
        """
        dataset = self._refresh()
        fresh: dict[str, tuple[Delivery, list[FragmentMetadata]]] = {}
        for delivery in deliveries:
            if delivery.slide_id in replacing or delivery.slide_id not in self._present:
                fresh[delivery.slide_id] = (delivery, _check(delivery))
            else:
                log.info(
                    "slide %s is already in %s; its second delivery is left", delivery.slide_id, self.collection.name
                )
        if not fresh:
            return []
        fragments = [fragment for _, made in fresh.values() for fragment in made]
        replaced = sorted(set(fresh) & set(replacing) & self._present)
        table = self.collection.table
        operation: lance.LanceOperation.BaseOperation = lance.LanceOperation.Append(fragments)
        if replaced:
            operation = table.replacement(sql_in("slide_id", replaced), fragments)
        committed = lance.LanceDataset.commit(table.uri, operation, read_version=dataset.version)
        self._version = committed.version
        self._present |= fresh.keys()
        self.commits += 1
        return list(fresh)

    def remove(self, slide_ids: Iterable[str]) -> int:
        """Take slides out; gone from reads and searches at once, from the files after `compact`."""
        chosen = sorted(set(slide_ids) & self.present())
        if not chosen:
            return 0
        self.collection.table.delete(sql_in("slide_id", chosen))
        return len(chosen)

    def compact(self, *, keep_s: float, purge: bool = False) -> None:
        """Merge small fragments and forget versions older than `keep_s` seconds: see `Table.tidy`."""
        self.collection.table.tidy(keep_s=keep_s, purge=purge)
        self._version = self.collection.dataset().version


def _check(delivery: Delivery) -> list[FragmentMetadata]:
    fragments = [FragmentMetadata.from_json(text) for text in delivery.fragments]
    held = sum(fragment.physical_rows for fragment in fragments)
    if held != delivery.rows or held == 0:
        raise CommitError(
            f"slide {delivery.slide_id!r}, collection {delivery.collection!r}: its fragments hold {held} rows; "
            f"expected {delivery.rows} and at least 1; nothing was committed, ingest it again"
        )
    return fragments


def collection_names(table_names: Iterable[str]) -> list[str]:
    return sorted(name.removeprefix(PREFIX) for name in table_names if name.startswith(PREFIX))
