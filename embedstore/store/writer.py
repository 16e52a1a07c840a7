"""How slides enter and leave a collection: whole, once, and by one writer."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable

import lance
from lance.fragment import FragmentMetadata

from embedstore.errors import CommitError
from embedstore.store.collection import Collection
from embedstore.store.fragments import SlideFragments
from embedstore.store.index import build_scalar_indexes, keep_index
from embedstore.store.sql import sql_in
from embedstore.store.views import Views

log = logging.getLogger(__name__)


class TableWriter(ABC):
    """Commits slides to a table, and is the only one that does; hold the lease of its collection while using it.

    Args:
        rows: An existing collection, or its views.
    """

    def __init__(self, rows: Collection | Views):
        self._rows = rows
        self._version = rows.dataset().version
        self._present = set(rows.slides())
        self.commits = 0

    @property
    def name(self) -> str:
        return self._rows.name

    @abstractmethod
    def _fragments(self, slide: SlideFragments) -> tuple[tuple[str, ...], int]:
        """A slide's fragments for this table, as JSON, and how many rows they hold."""

    @abstractmethod
    def compact(self, *, keep_s: float, purge: bool = False, busy: bool = False) -> None:
        """Merge small fragments and forget versions older than `keep_s` seconds: see `Table.tidy`."""

    def present(self) -> set[str]:
        """Slides whose rows are in the table."""
        self._refresh()
        return set(self._present)

    def _refresh(self) -> lance.LanceDataset:
        dataset = self._rows.dataset()
        if dataset.version != self._version:  # a deletion, or a predecessor's last commit
            self._present = set(self._rows.slides())
            self._version = dataset.version
        return dataset

    def commit(self, slides: Iterable[SlideFragments], *, replacing: frozenset[str] = frozenset()) -> list[str]:
        """Make the rows of several slides visible, all at once.

        A slide whose rows are already there is passed over, so that calling this again after a crash is safe. Slides in
        `replacing` take the place of their old rows, atomically.

        Returns:
            The slides that this call added.
        Raises:
            CommitError: a slide's fragments do not hold the rows that they should; nothing was committed.
        """
        dataset = self._refresh()
        fresh: dict[str, list[FragmentMetadata]] = {}
        for slide in slides:
            if slide.slide_id in replacing or slide.slide_id not in self._present:
                fresh[slide.slide_id] = self._check(slide)
            else:
                log.info("slide %s is already in %s; its fragments are passed over", slide.slide_id, self._rows.name)
        if not fresh:
            return []
        fragments = [fragment for made in fresh.values() for fragment in made]
        replaced = sorted(set(fresh) & set(replacing) & self._present)
        table = self._rows.table
        operation: lance.LanceOperation.BaseOperation = lance.LanceOperation.Append(fragments)
        if replaced:
            operation = table.replacement(sql_in("slide_id", replaced), fragments)
        committed = lance.LanceDataset.commit(table.uri, operation, read_version=dataset.version)
        self._version = committed.version
        self._present |= fresh.keys()
        self.commits += 1
        return list(fresh)

    def _check(self, slide: SlideFragments) -> list[FragmentMetadata]:
        texts, rows = self._fragments(slide)
        fragments = [FragmentMetadata.from_json(text) for text in texts]
        held = sum(fragment.physical_rows for fragment in fragments)
        if held != rows or held == 0:
            raise CommitError(
                f"slide {slide.slide_id!r}, {self._rows.name}: its fragments hold {held} rows; expected {rows} and "
                "at least 1; nothing was committed, ingest it again"
            )
        return fragments

    def remove(self, slide_ids: Iterable[str]) -> int:
        """Take slides out; gone from reads and searches at once, from the files after `compact`."""
        chosen = sorted(set(slide_ids) & self.present())
        if not chosen:
            return 0
        self._rows.table.delete(sql_in("slide_id", chosen))
        return len(chosen)


class CollectionWriter(TableWriter):
    """Commits tiles to a collection."""

    def __init__(self, collection: Collection):
        super().__init__(collection)
        self.collection = collection

    def _fragments(self, slide: SlideFragments) -> tuple[tuple[str, ...], int]:
        return slide.fragments, slide.rows

    def compact(self, *, keep_s: float, purge: bool = False, busy: bool = False) -> None:
        """Merge small fragments, keep the index up and forget versions older than `keep_s` seconds: see `Table.tidy`.

        Args:
            purge: Take the rows and names of removed slides out of files and indexes.
            busy: More slides are coming: the index is brought up to date only where many rows lack.
        """

        def keep() -> None:
            if purge:
                build_scalar_indexes(self.collection, rebuild=True)
            keep_index(self.collection, busy=busy)

        self.collection.table.tidy(keep_s=keep_s, purge=purge, keep_indexes=keep)
        self._version = self.collection.dataset().version


class ViewsWriter(TableWriter):
    """Commits views to the table of a collection's views."""

    def __init__(self, views: Views):
        super().__init__(views)
        self.views = views

    def _fragments(self, slide: SlideFragments) -> tuple[tuple[str, ...], int]:
        return slide.views, slide.view_rows

    def compact(self, *, keep_s: float, purge: bool = False, busy: bool = False) -> None:
        self.views.table.tidy(keep_s=keep_s, purge=purge)
        self._version = self.views.dataset().version
