"""How slides enter and leave a collection: whole, once, and by one writer."""

import logging
from collections.abc import Iterable

import lance
from lance.fragment import FragmentMetadata

from embedstore.errors import CommitError
from embedstore.store.collection import Collection
from embedstore.store.fragments import Delivery
from embedstore.store.index import build_scalar_indexes, keep_index
from embedstore.store.table import sql_in

log = logging.getLogger(__name__)


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

    def compact(self, *, keep_s: float, purge: bool = False, busy: bool = False) -> None:
        """Merge small fragments, keep the index up and forget versions older than `keep_s` seconds: see `Table.tidy`.

        Args:
            purge: Take the rows and names of removed slides out of files and indexes.
            busy: More slides are coming: the index is brought up to date only where many rows lack.
        """

        def keep() -> None:
            if purge:
                build_scalar_indexes(self.collection, anew=True)
            keep_index(self.collection, busy=busy)

        self.collection.table.tidy(keep_s=keep_s, purge=purge, keep_indexes=keep)
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
